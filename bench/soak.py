"""``make soak``: mixed traffic for a long time through a real proxy, whose brokers are killed and which is reloaded.

It fails when a byte was lost, a tunnel was cut without a cause, the access log says otherwise than the clients, a
descriptor stayed open, or memory grew. Linux only.
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
from pathlib import Path
from statistics import median
from threading import Event, Lock, Thread

from attrs import define, evolve, field

from bench.soakload import Cut, Lost, Plan, Tunnel, client_hello, run_client
from bench.soakproxy import PATIENCE, Proxy

ROOT = Path(__file__).parent.parent
NAME = "broker-1.pulsar.test"
MOST_GROWTH = 1.1, 2.0
"""Memory in the last quarter may be that many times the second quarter's, or that many MB above it."""

MOST_KEPT = 16
"""Descriptors that may be open at the end and were not at the beginning: pipes are kept for later."""

ON_THEIR_WAY = 5.0
"""Seconds after which no byte of a client that is done is still inside the proxy."""


@define
class Record:
    """What the clients saw. ``lost``: texts, one for each; ``killed``: tunnels that a killed broker cut."""

    tunnels: list[Tunnel] = field(factory=list)
    lost: list[str] = field(factory=list)
    killed: int = 0


class Backend:
    """The broker's place: a process that can be killed; its socket stays, so that who comes meanwhile waits."""

    def __init__(self, hello: int, told: Callable[[str], None]) -> None:
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
            [sys.executable, "-m", "bench.soakload", str(number), str(self._hello)],
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
        """All its tunnels are cut."""
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
    """Clients, each with one tunnel after the other, until they are told to stop."""

    def __init__(self, proxy: Proxy, backend: Backend, hello: bytes, record: Record, seed: int) -> None:
        self._proxy, self._backend = proxy, backend
        self._hello = hello
        self._record = record
        self._chance = random.Random(seed)
        self._lock = Lock()
        self._stop = Event()
        self._threads: list[Thread] = []

    def start(self, count: int) -> None:
        """So many clients."""
        self._threads = [Thread(target=self._client, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Each ends the tunnel that it has first."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                plan = Plan.draw(self._chance)
            self.one(plan)

    def one(self, plan: Plan) -> None:
        """One tunnel, noted."""
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
    """Where the access log says otherwise than the clients that came to a whole end.

    A client may be done while its last bytes are on their way: to a backend that was killed then, some never come.
    """
    logged = defaultdict(list)
    for line in lines:
        entry = json.loads(line)
        if entry["server_name"]:
            logged[int(entry["client"].rpartition(":")[2])].append(entry)
    wrong = []
    for tunnel in tunnels:
        after = bisect(kills, tunnel.ended)
        if not tunnel.whole or (after < len(kills) and kills[after] < tunnel.ended + ON_THEIR_WAY):
            continue
        told = [(entry["result"], entry["bytes_up"], entry["bytes_down"]) for entry in logged[tunnel.port]]
        if ("ok", tunnel.up, tunnel.down) not in told:
            wrong.append(f"{tunnel}: the access log has {told or 'nothing'}")
    return wrong


def grown(memory: Sequence[float]) -> str | None:
    """What memory did, when it is not flat: of samples over the whole time the second quarter is the yardstick."""
    quarter = len(memory) // 4
    if not quarter:
        return None
    before, after = median(memory[quarter : 2 * quarter]), median(memory[-quarter:])
    if after > max(before * MOST_GROWTH[0], before + MOST_GROWTH[1]):
        return f"memory grew from {before:.1f} to {after:.1f} MB"
    return None


def soak(folder: Path, seconds: float, clients: int, relay: str | None, seed: int) -> list[str]:
    """What went wrong: nothing, when all is well. ``clients``: tunnels at once."""
    record = Record()
    hello = client_hello(NAME)
    backend = Backend(len(hello), record.lost.append)
    try:
        proxy = Proxy(folder, {NAME: backend.port}, relay)
    except SystemExit:
        backend.stop()
        raise
    load = Load(proxy, backend, hello, record, seed)
    try:
        for kind in ("both", "reply"):
            load.one(Plan(kind, 1, 1 << 20, 1 << 20))
        wait_until(lambda: len(proxy.log.read_text().splitlines()) >= 2)
        first = proxy.descriptors
        memory: list[float] = []
        load.start(clients)
        _go_on(seconds, proxy, backend, record, memory)
        load.stop()
        wait_until(lambda: proxy.descriptors <= first + MOST_KEPT)
        last = proxy.descriptors
        leaving = [Thread(target=load.one, args=(Plan("idle", i, 200, 128),)) for i in range(8)]
        for thread in leaving:
            thread.start()
        wait_until(lambda: proxy.descriptors >= last + 2 * len(leaving))
        proxy.terminate()
        for thread in leaving:
            thread.join()
        proxy.wait()
    finally:
        proxy.stop()
        backend.stop()
    wrong = list(record.lost)
    with proxy.log.open() as lines:
        wrong += compare(record.tunnels, list(lines), backend.kills)
    if last > first + MOST_KEPT:
        wrong.append(f"{last} descriptors are open, {first} were before")
    if more := grown(memory):
        wrong.append(more)
    if "Traceback" in (said := proxy.said.read_text()):
        wrong.append(f"the proxy's log has a traceback:\n{said[said.index('Traceback') :][:4000]}")
    print(_so_far(record), f"descriptors {first} -> {last}, memory {memory[0]:.1f} -> {memory[-1]:.1f} MB")
    return wrong


def _go_on(seconds: float, proxy: Proxy, backend: Backend, record: Record, memory: list[float]) -> None:
    """The time in 90 parts: memory is looked at in each, reloads and kills take turns in each third one."""
    began = time.monotonic()
    for part in range(90):
        left = began + (part + 1) * seconds / 90 - time.monotonic()
        Event().wait(max(0.0, left))
        memory.append(proxy.memory)
        if part % 3 == 1:
            proxy.reload()
        elif part % 3 == 2:
            backend.kill_and_start()
            now = f"{proxy.descriptors} descriptors, {memory[-1]:.1f} MB"
            print(f"{(part + 1) / 90:4.0%}  {_so_far(record)}, {now}", flush=True)


def _so_far(record: Record) -> str:
    size = sum(tunnel.up + tunnel.down for tunnel in record.tunnels) / 1e9
    return f"{len(record.tunnels):,} tunnels, {size:.1f} GB, {record.killed} cut by kills, {len(record.lost)} wrong"


def wait_until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Or until the seconds have passed: who asks looks at it again."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        Event().wait(0.05)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Status 0: nothing went wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=24, help="tunnels at once")
    parser.add_argument("--relay", help="the configuration's `relay`; default: its default")
    parser.add_argument("--seed", type=int, default=60, help="of sizes and kinds")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="sniproxy-soak-") as folder:
        wrong = soak(Path(folder), options.minutes * 60, options.clients, options.relay, options.seed)
    for text in wrong[:20]:
        print(f"wrong: {text}")
    print(f"{options.minutes:g} minutes: {f'{len(wrong)} things went wrong' if wrong else 'all is well'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
