"""The soak test, ``make soak``: long mixed traffic through a real proxy, with reloads and killed backends.

It fails if a byte is lost, a tunnel is cut without a cause, the access log disagrees with the clients, a descriptor
stays open, or memory grows. Linux only.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from threading import Event, Lock, Thread

from attrs import define, evolve, field

from bench.clients import raise_limit
from bench.soakload import Cut, Lost, Plan, Tunnel, client_hello, run_client
from bench.soakopen import Opened
from bench.soakproxy import TIMEOUT_S, Proxy

ROOT = Path(__file__).parent.parent
NAME, OPEN_NAME = "broker-1.pulsar.test", "open.pulsar.test"
MAX_GROWTH = 1.1, 2.0
"""Memory in the last quarter may be 1.1 times that of the second quarter, or 2 MB above it."""

MAX_KEPT = 16
"""Descriptors by which the end may exceed the start, because the proxy keeps spare pipes."""

LINGER_S = 5.0
"""Seconds for the last sockets and spare pipes to close, before new tunnels are counted by their descriptors."""

OPEN_TIMEOUT_S = 30.0
"""Seconds for the tunnels that are open at the stop. Spare pipes that close meanwhile may hide some of them."""

_FOR_ALL_ELSE = 256
"""Open files of the proxy other than tunnels' sockets, with a margin."""

IN_FLIGHT_S = 5.0
"""Seconds after a client's end until all its bytes have left the proxy."""


@define
class Record:
    """What the clients saw. ``lost``: a message for each fault; ``killed``: tunnels that a killed backend cut."""

    tunnels: list[Tunnel] = field(factory=list)
    lost: list[str] = field(factory=list)
    killed: int = 0


class Backend:
    """A backend process that can be killed. Its listening socket stays open, so that clients wait meanwhile.

    ``program``: the module to run, with the socket and the length of hellos. ``told``: called with its lines.
    """

    def __init__(self, program: str, hello: int, told: Callable[[str], None]) -> None:
        self._program = program
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._hello = hello
        self._told = told
        self.port: int = self._listening.getsockname()[1]
        self.generation = 0
        self.kills: list[float] = []
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        number = self._listening.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", self._program, str(number), str(self._hello)],
            cwd=ROOT, pass_fds=[number], stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._told(line.rstrip())

    def kill_and_start(self) -> None:
        """Kill the process, which cuts its tunnels, and start another one."""
        self.generation += 1
        self.kills.append(time.monotonic())
        self.stop()
        self._process = self._start()
        self.generation += 1

    def stop(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.wait()


class Load:
    """Clients that open one tunnel after the other until `stop`."""

    def __init__(self, proxy: Proxy, backend: Backend, hello: bytes, record: Record, seed: int) -> None:
        self._proxy, self._backend = proxy, backend
        self._hello = hello
        self._record = record
        self._chance = random.Random(seed)
        self._lock = Lock()
        self._stop = Event()
        self._threads: list[Thread] = []

    def start(self, count: int) -> None:
        """Start ``count`` clients."""
        self._threads = [Thread(target=self._client, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the clients after their current tunnels."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                plan = Plan.draw(self._chance)
            self.one(plan)

    def one(self, plan: Plan) -> None:
        """Run one tunnel, and record it."""
        before = self._backend.generation
        try:
            tunnel = run_client(self._proxy.port, self._hello, plan)
        except Lost as error:
            self._note(f"client: {plan}: {error}")
        except Cut as error:
            if self._backend.generation == before and not before % 2:
                self._note(f"client: {plan}: {error}")
            else:
                with self._lock:
                    self._record.killed += 1
        else:
            if self._backend.generation != before:
                tunnel = evolve(tunnel, whole=False)
            with self._lock:
                self._record.tunnels.append(tunnel)

    def _note(self, text: str) -> None:
        with self._lock:
            self._record.lost.append(text)


def compare(tunnels: Sequence[Tunnel], lines: Sequence[str], kills: Sequence[float]) -> list[str]:
    """Differences between the access log and the clients whose tunnels ended as planned.

    A client can end while its last bytes are in flight; a backend that is killed then misses some of them.
    """
    logged = defaultdict(list)
    for line in lines:
        entry = json.loads(line)
        if entry["server_name"]:
            logged[int(entry["client"].rpartition(":")[2])].append(entry)
    wrong = []
    for tunnel in tunnels:
        after = bisect(kills, tunnel.ended)
        if not tunnel.whole or (after < len(kills) and kills[after] < tunnel.ended + IN_FLIGHT_S):
            continue
        told = [(entry["result"], entry["bytes_up"], entry["bytes_down"]) for entry in logged[tunnel.port]]
        if ("ok", tunnel.up, tunnel.down) not in told:
            wrong.append(f"{tunnel}: the access log has {told or 'nothing'}")
    return wrong


def grown(memory: Sequence[float]) -> str | None:
    """How memory grew, if it did: the last quarter of the samples against the second."""
    quarter = len(memory) // 4
    if not quarter:
        return None
    before, after = median(memory[quarter : 2 * quarter]), median(memory[-quarter:])
    if after > max(before * MAX_GROWTH[0], before + MAX_GROWTH[1]):
        return f"memory grew from {before:.1f} to {after:.1f} MB"
    return None


def soak(folder: Path, seconds: float, clients: int, relay: str | None, seed: int, stay: int = 0) -> list[str]:
    """Run the soak test. Returns the faults. ``clients``: tunnels at once; ``stay``: tunnels that stay open."""
    record = Record()
    hello, hello_open = client_hello(NAME), client_hello(OPEN_NAME)
    with ExitStack() as stack:
        backend = Backend("bench.soakload", len(hello), record.lost.append)
        stack.callback(backend.stop)
        echoing = Backend("bench.soakopen", len(hello_open), record.lost.append)
        stack.callback(echoing.stop)
        proxy = Proxy(folder, {NAME: backend.port, OPEN_NAME: echoing.port}, relay)
        stack.callback(proxy.stop)
        load = Load(proxy, backend, hello, record, seed)
        opened = Opened(proxy.port, hello_open, stay, echoing, record.lost.append)
        for kind in ("both", "reply"):
            load.one(Plan(kind, 1, 1 << 20, 1 << 20))
        wait_until(lambda: len(proxy.log.read_text().splitlines()) >= 2)
        first = proxy.descriptors
        memory: list[float] = []
        opened.start()
        wait_until(lambda: opened.alive == stay)
        load.start(clients)
        _go_on(seconds, proxy, backend, echoing, opened, record, memory)
        load.stop()
        stayed = opened.stop()
        wait_until(lambda: proxy.descriptors <= first + MAX_KEPT)
        # The sockets of the last tunnels may linger: they would be missing in the count below.
        wait_until(lambda: proxy.descriptors <= first, LINGER_S)
        last = proxy.descriptors
        leaving = [Thread(target=load.one, args=(Plan("idle", i, 200, 128),)) for i in range(8)]
        for thread in leaving:
            thread.start()
        wait_until(lambda: proxy.descriptors >= last + 2 * len(leaving), OPEN_TIMEOUT_S)
        proxy.terminate()
        for thread in leaving:
            thread.join()
        proxy.wait()
    wrong = list(record.lost)
    with proxy.log.open() as lines:
        logged = list(lines)
    wrong += compare(record.tunnels, logged, backend.kills) + compare(stayed, logged, echoing.kills)
    if len(stayed) != stay:
        wrong.append(f"{len(stayed)} of {stay} tunnels were open to the end")
    if last > first + MAX_KEPT:
        wrong.append(f"{last} descriptors are open, {first} were before")
    if more := grown(memory):
        wrong.append(more)
    if "Traceback" in (said := proxy.said.read_text()):
        wrong.append(f"the proxy's log has a traceback:\n{said[said.index('Traceback') :][:4000]}")
    print(
        _so_far(record) + _open(len(stayed), opened),
        f"descriptors {first} -> {last}, memory {memory[0]:.1f} -> {memory[-1]:.1f} MB",
    )
    return wrong


def _go_on(
    seconds: float,
    proxy: Proxy,
    backend: Backend,
    echoing: Backend,
    opened: Opened,
    record: Record,
    memory: list[float],
) -> None:
    """Run for the time in 90 parts. Each part samples memory; every third one has a reload or a kill, in turn.

    Every fifteenth part cuts the tunnels that stay open, so that these get old.
    """
    began = time.monotonic()
    for part in range(90):
        left = began + (part + 1) * seconds / 90 - time.monotonic()
        Event().wait(max(0.0, left))
        memory.append(proxy.memory)
        if opened.count and part % 15 == 7:
            echoing.kill_and_start()
        if part % 3 == 1:
            proxy.reload()
        elif part % 3 == 2:
            backend.kill_and_start()
            now = f"{proxy.descriptors} descriptors, {memory[-1]:.1f} MB"
            print(f"{(part + 1) / 90:4.0%}  {_so_far(record)}{_open(opened.alive, opened)}, {now}", flush=True)


def _so_far(record: Record) -> str:
    size = sum(tunnel.up + tunnel.down for tunnel in record.tunnels) / 1e9
    return f"{len(record.tunnels):,} tunnels, {size:.1f} GB, {record.killed} cut by kills, {len(record.lost)} wrong"


def _open(count: int, opened: Opened) -> str:
    """The progress line's text about tunnels that stay open. Empty if there are none."""
    return f", {count:,} stay open ({opened.cut:,} cut by kills)" if opened.count else ""


def wait_until(true: Callable[[], bool], seconds: float = TIMEOUT_S) -> None:
    """Wait until a condition holds or the time has passed. The caller checks the condition again."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        Event().wait(0.05)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0 without faults."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=24, help="tunnels at once")
    parser.add_argument("--relay", help="the configuration's `relay`; default: its default")
    parser.add_argument("--seed", type=int, default=60, help="of sizes and kinds")
    parser.add_argument(
        "--open", type=int, default=0, help="tunnels beside them that stay open, with a byte now and then"
    )
    options = parser.parse_args(argv)
    if (most := raise_limit()) < (needed := 2 * (options.open + options.clients) + _FOR_ALL_ELSE):
        parser.error(f"--open {options.open} needs {needed} open files; this machine allows {most} (ulimit -Hn)")
    with tempfile.TemporaryDirectory(prefix="sniproxy-soak-") as folder:
        wrong = soak(Path(folder), options.minutes * 60, options.clients, options.relay, options.seed, options.open)
    for text in wrong[:20]:
        print(f"wrong: {text}")
    print(f"{options.minutes:g} minutes: {f'{len(wrong)} faults' if wrong else 'no faults'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
