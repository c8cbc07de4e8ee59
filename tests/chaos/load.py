"""Clients that open tunnels, and the targets that these lead to: both in this process, which knows what each sends."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Condition, Lock, Thread

from attrs import define, field, frozen
from OpenSSL import SSL

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, write
from sniproxy.pulsar.frames import FrameReader
from tests.chaos.ends import Wrong, run_end
from tests.chaos.plan import CLIENT, TARGET, Plan, draw
from tests.chaos.streams import Ended, Late, PlainStream, Stream, TLSStream, read_exactly, send_all
from tests.chaos.wire import CLIENTS, PROXIES
from tests.support.hellos import TLS13, hello, padding

TLS, BRIDGE, PASS = "tls", "bridge", "pass"
"""What a proxy does with TLS: ends it, begins it for clients without it, or passes it."""

TARGET_PORTS = {PASS: 6651, TLS: 6652, BRIDGE: 6653}
"""Ports of the targets for each kind of proxy."""

OPENED = {PASS: b"!", TLS: b"!", BRIDGE: write(pb.CommandConnected(server_version="chaos", protocol_version=21))}
"""What a target says first. A client that ends before its tunnel is open would count as leaving."""

SMALL_BUFFER_BYTES = 4096
WRONG = "wrong: "

_NUMBER_BYTES = 4
_RECORD_HEADER_BYTES = 5


@frozen
class Door:
    """Where clients of a proxy connect. ``name``: of the proxy; ``kind``: `TLS`, `BRIDGE` or `PASS`."""

    name: str
    port: int
    kind: str
    server_name: str


@define
class Outcome:
    """What became of a tunnel, as its two ends saw it.

    ``port``: the client's own, 0 if it never connected. ``began``, ``ended``: by `time.monotonic`. ``setup_s``: from
    connect to `OPENED`; ``transfer_s``: from then to the end. ``up``, ``down``: bytes that its record must have, if the
    tunnel finishes; None if it was never open. ``faults``: why it did not finish, by the end that saw it. ``wrong``:
    what is said of bytes that were.
    """

    door: Door
    number: int
    began: float
    port: int = 0
    ended: float = 0.0
    setup_s: float | None = None
    transfer_s: float | None = None
    up: int | None = None
    down: int | None = None
    faults: dict[str, str] = field(factory=dict)
    wrong: list[str] = field(factory=list)

    @property
    def finished(self) -> bool:
        """Both ends have all bytes and both ends of the other."""
        return self.transfer_s is not None and not self.faults and not self.wrong


@define
class Load:
    """All clients and targets.

    ``limit_s``: of a tunnel. ``client_tls``, ``server_tls``: for the ends of TLS.
    """

    doors: Sequence[Door]
    seed: int
    limit_s: float
    client_tls: SSL.Context
    server_tls: SSL.Context
    outcomes: dict[int, Outcome] = field(factory=dict)
    _lock: Lock = field(factory=Lock)
    _targets: dict[int, str | None] = field(factory=dict)
    _changed: Condition = field(factory=Condition)

    def run(self, at_once: int, more: Callable[[int], bool]) -> list[Outcome]:
        """Open tunnels while `more` says so of the next number, and wait for their ends, for `limit_s` at most."""
        for kind, port in TARGET_PORTS.items():
            listener = socket.create_server((CLIENTS, port), backlog=1024)
            Thread(target=self._accept, args=(listener, kind), daemon=True).start()
        numbers = count()

        def clients() -> None:
            while True:
                with self._lock:
                    number = next(numbers)
                if not more(number):
                    return
                self.outcomes[number] = self._client(number)

        with ThreadPoolExecutor(at_once) as pool:
            for running in [pool.submit(clients) for _ in range(at_once)]:
                running.result()
        finished = {number for number, outcome in self.outcomes.items() if outcome.finished}
        with self._changed:  # the last bytes to the targets may still be on their way
            self._changed.wait_for(lambda: finished <= self._targets.keys(), self.limit_s)
            ended = {**dict.fromkeys(finished, "late"), **self._targets}
        for number, fault in ended.items():
            if fault is not None and fault.startswith(WRONG):
                self.outcomes[number].wrong.append(fault)
            elif fault is not None:
                self.outcomes[number].faults[TARGET] = fault
        return [self.outcomes[number] for number in sorted(self.outcomes)]

    def plan(self, number: int) -> Plan:
        """The plan of a tunnel."""
        return draw(self.seed, number, self.door(number).kind == BRIDGE)

    def door(self, number: int) -> Door:
        """The proxy that a tunnel uses: each in turn, so that all see the same line."""
        return self.doors[number % len(self.doors)]

    def _client(self, number: int) -> Outcome:
        door, plan = self.door(number), self.plan(number)
        outcome = Outcome(door, number, time.monotonic())
        until = outcome.began + self.limit_s
        manner = plan.manners[CLIENT]
        with socket.socket() as sock:
            if manner.small_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
            try:
                sock.settimeout(self.limit_s)
                keep_alive(sock)
                sock.connect((PROXIES, door.port))
                outcome.port = sock.getsockname()[1]
                stream, first, answer = self._open(sock, door, plan, until)
                outcome.setup_s = time.monotonic() - outcome.began
                outcome.up = first + len(plan.data[CLIENT])
                outcome.down = answer + len(plan.data[TARGET])
                run_end(stream, plan.data[CLIENT], plan.data[TARGET], manner, until)
                outcome.transfer_s = time.monotonic() - outcome.began - outcome.setup_s
            except Wrong as error:
                outcome.wrong.append(f"{WRONG}{error}")
            except (Late, TimeoutError):
                outcome.faults[CLIENT] = "late"
            except Ended as error:
                outcome.faults[CLIENT] = str(error)
            except OSError as error:
                outcome.faults[CLIENT] = f"connect: {error.strerror}"
        outcome.ended = time.monotonic()
        return outcome

    def _open(self, sock: socket.socket, door: Door, plan: Plan, until: float) -> tuple[Stream, int, int]:
        """Begin a tunnel. @return: its stream, and the bytes so far that a record counts, each way."""
        stream: Stream = PlainStream(sock)
        if door.kind == TLS:
            stream = shaken = TLSStream(sock, self.client_tls, door.server_name)
            shaken.shake(until)
        first = first_bytes(door, plan)
        send_all(stream, first, until)
        opened = OPENED[door.kind]
        if read_exactly(stream, len(opened), until) != opened:
            raise Wrong("the first bytes are not the target's")
        return stream, len(first), len(opened)

    def _accept(self, listener: socket.socket, kind: str) -> None:
        while True:
            sock, _ = listener.accept()
            keep_alive(sock)
            Thread(target=self._target, args=(sock, kind), daemon=True).start()

    def _target(self, sock: socket.socket, kind: str) -> None:
        until = time.monotonic() + self.limit_s
        number: int | None = None
        fault: str | None = None
        with sock:
            try:
                stream, number, came = self._greet(sock, kind, until)
                plan = self.plan(number)
                if came != first_bytes(self.door(number), plan):
                    raise Wrong("the first bytes are not the client's")
                send_all(stream, OPENED[kind], until)
                manner = plan.manners[TARGET]
                if manner.small_buffer:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
                run_end(stream, plan.data[TARGET], plan.data[CLIENT], manner, until)
            except Wrong as error:
                fault = f"{WRONG}{error}"
            except Late:
                fault = "late"
            except Ended as error:
                fault = str(error)
        if number is not None:  # otherwise the client sees it
            with self._changed:
                self._targets[number] = fault
                self._changed.notify_all()

    def _greet(self, sock: socket.socket, kind: str, until: float) -> tuple[Stream, int, bytes]:
        """Read what precedes a tunnel's own bytes. @return: its stream, its number, and what was read."""
        came = b""
        if kind == PASS:
            stream: Stream = PlainStream(sock)
            header = read_exactly(stream, _RECORD_HEADER_BYTES, until)
            came = header + read_exactly(stream, int.from_bytes(header[3:], "big"), until)
        else:
            stream = shaken = TLSStream(sock, self.server_tls, None)
            shaken.shake(until)
        if kind == BRIDGE:
            size = read_exactly(stream, _NUMBER_BYTES, until)
            came = size + read_exactly(stream, int.from_bytes(size, "big"), until)
            (frame,) = FrameReader().feed(came)
            return stream, int(read(frame.command).connect.client_version), came
        number = read_exactly(stream, _NUMBER_BYTES, until)
        return stream, int.from_bytes(number, "big"), came + number


def keep_alive(sock: socket.socket) -> None:
    """Notice within half a minute that the other side is gone, as after a kill whose reset was lost."""
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 10),
    ):  # fmt: skip
        sock.setsockopt(level, option, value)


def first_bytes(door: Door, plan: Plan) -> bytes:
    """What a client sends first: its hello or CONNECT, and the number of the tunnel."""
    number = plan.number.to_bytes(_NUMBER_BYTES, "big")
    if door.kind == TLS:
        return number
    if door.kind == BRIDGE:
        connect = pb.CommandConnect(client_version=f"{plan.number}", protocol_version=21)
        connect.proxy_to_broker_url = f"{door.server_name}:{TARGET_PORTS[BRIDGE]}"
        return write(connect)
    more = (padding(plan.hello_bytes),) if plan.hello_bytes else ()
    return hello(name=door.server_name, extensions=(*TLS13, *more)) + number
