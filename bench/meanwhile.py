"""Measures an echo on a plain tunnel while the proxy's Python does other work: the length of the turns, in ms.

The echo's client and its target are processes of their own, so what delays a turn is the proxy or the machine.
*Nothing* is the same echo without other work; the echo without a proxy shows the machine's share.

The client sends its next message when the last one has returned. A proxy that stops for a second would thus delay one
message of thousands, and its 99th percentile would not show it. So the percentiles also count the messages that a
client with a steady rate would have sent meanwhile (*coordinated omission*; HdrHistogram corrects it in the same way).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from attrs import evolve

from bench import busy
from bench.childprocess import LoadError
from bench.clients import Destination, Sample
from bench.load import Broker, send
from bench.ours import our_log, with_toml
from bench.peer import Peer, Plan
from bench.peers import PEERS
from bench.running import free_port
from bench.targets import client_hello
from bench.traffic import produce

if TYPE_CHECKING:
    from bench.cases import Lengths, TestBed

_TIMEOUT_S = 60.0
_WARM_TURNS = 200
_MESSAGE = bytes(64)
_POLL_INTERVAL_S = 0.01
_SETTLE_S = 0.5
"""Seconds for what follows a reload: the proxy frees the configuration before."""

_CYCLE_BYTES = 2_000_000
_RUN, _END = 1, 2
_context = multiprocessing.get_context("spawn")

_LISTENER = """
[admin]
endpoint = "tcp:{admin}:interface=127.0.0.1"
[[listener]]
endpoint = "tcp:{port}:interface=127.0.0.1"
name = "inspected"
plaintext = true
inspect = "pulsar"
target = "127.0.0.1:{broker}"
[inspect_log]
path = "/dev/null"
"""


class Probe:
    """One connection that exchanges messages without a pause, in a process of its own, until `stop`."""

    def __init__(self, destination: Destination) -> None:
        self._order = _context.RawValue("b", 0)
        self._pipe, theirs = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_probe, args=(theirs, self._order, destination), daemon=True)
        self._process.start()
        theirs.close()
        self._take("start")

    def begin(self) -> None:
        """Measure from now on."""
        self._order.value = _RUN

    def end(self) -> Sample:
        """Stop, and return the figures of the turns since `begin`, at least two. Raises `LoadError`."""
        self._order.value = _END
        turns = self._take("return")
        self._process.join()
        p99 = quantiles(with_omitted(turns), n=100, method="inclusive")[98]
        return {"p50, ms": 1e3 * median(turns), "p99, ms": 1e3 * p99, "longest, ms": 1e3 * max(turns)}

    def stop(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _take(self, what: str) -> Any:
        try:
            if self._pipe.poll(_TIMEOUT_S) and not isinstance(told := self._pipe.recv(), str):
                return told
        except EOFError:
            pass
        raise LoadError(f"the echo did not {what}")


def with_omitted(turns: Sequence[float]) -> list[float]:
    """The turns, and those of the messages that were due during long ones, if one was due in each median turn."""
    pace = median(turns)
    found = list(turns)
    for one in turns:
        found.extend(one - pace * number for number in range(1, int(one / pace)))
    return found


def turn(sock: socket.socket) -> float:
    """Seconds of a round trip. Raises `LoadError` if the connection ends."""
    began = time.perf_counter()
    sock.sendall(_MESSAGE)
    missing = len(_MESSAGE)
    while missing:
        taken = len(sock.recv(missing))
        if not taken:
            raise LoadError("the connection ended")
        missing -= taken
    return time.perf_counter() - began


def _probe(pipe: Any, order: Any, destination: Destination) -> None:
    try:
        with destination.connect() as sock:
            for _ in range(_WARM_TURNS):
                turn(sock)
            pipe.send([])
            found: list[float] = []
            while order.value != _END or len(found) < 2:
                took = turn(sock)
                if order.value:  # also a turn that `begin` found on its way: it may be the one that is held up
                    found.append(took)
        pipe.send(found)
    except (OSError, LoadError) as error:
        pipe.send(str(error))


def meanwhile(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    """The echo while each of several works is done, beside idle tunnels. Raises `LoadError`.

    ``peer``: None: our proxy does the works, and the echo goes to its target without a proxy.
    """
    traffic = produce(1_000, _CYCLE_BYTES)
    found: Sample = {}
    with ExitStack() as stack:
        broker = Broker(traffic)
        stack.callback(broker.stop)
        port, admin = free_port(), free_port()
        more = _LISTENER.format(admin=admin, port=port, broker=broker.port) + busy.TOML
        running = stack.enter_context(bed.running(_busy(_ours_only(peer or PEERS["ours"]), more)))
        assert running is not None
        first = bed.through(running, "first")
        for _ in range(lengths.beside):
            sock = stack.enter_context(first.connect())
            if not sock.recv(1):
                raise LoadError("an idle tunnel ended")
        works: Sequence[tuple[str, Callable[[], object]]] = (
            ("nothing", lambda: time.sleep(0.05)),
            ("/metrics", partial(_get, admin, "/metrics")),
            ("/status", partial(_get, admin, "/status")),
            ("collector", partial(_ask, running.port, busy.COLLECTS)),
            ("inspected client", lambda: send(traffic, 2, port)),
            ("blocking plugin", partial(_ask, running.port, busy.BLOCKS)),
        )
        for name, work in works:
            with _probing(bed.through(running if peer else None, "echo")) as probe:
                until = time.perf_counter() + lengths.seconds
                probe.begin()
                while time.perf_counter() < until:
                    work()
                found.update({f"{name}: {figure}": value for figure, value in probe.end().items()})
    return found


def reload(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    """The echo while the proxy reloads a file with many routes, and the reload's seconds. Raises `LoadError`.

    ``peer``: None: our proxy reloads, and the echo goes to its target without a proxy.
    """
    found: Sample = {}
    for count in lengths.starts:
        names = [f"broker-{number}.names.bench.test" for number in range(count)]
        with bed.running(_ours_only(peer or PEERS["ours"]), names) as running:
            assert running is not None
            with _probing(bed.through(running if peer else None, "echo")) as probe:
                before = our_log(running.folder).count(_RELOADED)
                began = time.perf_counter()
                probe.begin()
                os.kill(running.pids[0], signal.SIGHUP)
                while our_log(running.folder).count(_RELOADED) == before:
                    if time.perf_counter() > began + _TIMEOUT_S:
                        raise LoadError("the proxy did not reload")
                    time.sleep(_POLL_INTERVAL_S)
                seconds = time.perf_counter() - began
                time.sleep(_SETTLE_S)
                sample = {**probe.end(), "s": seconds}
            found.update({f"{count:,} routes: {figure}": value for figure, value in sample.items()})
    return found


_RELOADED = " reloaded "


@contextmanager
def _probing(destination: Destination) -> Iterator[Probe]:
    probe = Probe(destination)
    try:
        yield probe
    finally:
        probe.stop()


def _ours_only(peer: Peer | None) -> Peer:
    if peer is None or not peer.name.startswith("ours"):
        raise LoadError("skipped: measured for our proxy only")
    return peer


def _busy(peer: Peer, more: str) -> Peer:
    """The peer with more TOML, and with the plugins of `busy`."""
    extended = with_toml(peer, more=more)

    def start(program: str, plan: Plan) -> list[str]:
        busy.install(plan.folder)
        return extended.start(program, plan)

    return evolve(extended, start=start)


def _ask(port: int, name: str) -> None:
    """Ask for a server name that is refused, and wait for the end."""
    try:
        with Destination(port, client_hello(name), ()).connect() as sock:
            while sock.recv(64):
                pass
    except ConnectionResetError:
        pass


def _get(port: int, path: str) -> None:
    """Read a page of the admin endpoint. Raises `LoadError` unless it succeeds."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        head = sock.recv(65_536)
        while sock.recv(65_536):
            pass
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise LoadError(f"{path}: {head[:80]!r}")
