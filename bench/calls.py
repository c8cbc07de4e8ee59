"""Time per system call of a proxy: ``python -m bench.calls [--write]``. Needs ``perf``, root and x86-64.

perf records when each system call of the proxy's process is entered and left, while a client sends small messages, and
while clients come and go. Time between two calls is the program's own; time inside a call is the kernel's, or waiting.
Sums are of medians. The recording itself takes about 0.3 µs a call, which is not subtracted.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from attrs import Factory, define

from bench.cases import TestBed
from bench.childprocess import LoadError
from bench.clients import Destination, Sample, echo, tunnels
from bench.measure import environment, thread_seconds
from bench.peers import PEERS
from bench.report import DOCUMENT
from bench.table import markdown, write_into

SHOWN = ("ours", "haproxy", "nginx")
LOAD_S = 3.0
RECORDED_S = 1.0
"""Seconds that perf records, in the middle of the load."""

_WAITS = ("epoll_wait", "epoll_pwait")
_SENDS = ("sendto", "sendmsg", "write", "writev")
_NAMES = {
    0: "read", 1: "write", 3: "close", 16: "ioctl", 20: "writev", 41: "socket", 42: "connect", 44: "sendto",
    45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 48: "shutdown", 51: "getsockname", 52: "getpeername",
    54: "setsockopt", 55: "getsockopt", 72: "fcntl", 228: "clock_gettime", 232: "epoll_wait", 233: "epoll_ctl",
    275: "splice", 281: "epoll_pwait", 288: "accept4", 293: "pipe2",
}  # fmt: skip
_LINE = re.compile(r"\s*(\d+\.\d+):\s+raw_syscalls:sys_(enter|exit):\s+NR (\d+)")


@define
class Calls:
    """Recorded times in µs. ``inside``: of each call, by name. ``between``: from one call's end to the next call."""

    inside: dict[str, list[float]] = Factory(lambda: defaultdict(list))
    between: dict[tuple[str, str], list[float]] = Factory(lambda: defaultdict(list))

    def count(self, *names: str) -> int:
        """Number of calls with these names, or of all calls."""
        return sum(len(self.inside.get(name, ())) for name in names or tuple(self.inside))

    @property
    def program(self) -> float:
        """Time between calls."""
        return _usual(self.between)

    @property
    def kernel(self) -> float:
        """Time in calls, without those that wait."""
        return _usual({name: times for name, times in self.inside.items() if name not in _WAITS})


def _usual(times: Mapping[Any, Sequence[float]]) -> float:
    """Sum of counts times medians, so that a moment without CPU does not distort it."""
    return sum(len(each) * median(each) for each in times.values())


def noted(lines: Iterable[str]) -> Calls:
    """Parse the output of ``perf script -F time,event,trace --ns`` for one thread. Incomplete calls are skipped."""
    found = Calls()
    at, kind, name = 0.0, "", ""
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        before = at, kind, name
        at, kind, name = float(match[1]) * 1e6, match[2], _NAMES.get(int(match[3]), match[3])
        if before[1:] == ("enter", name) and kind == "exit":
            found.inside[name].append(at - before[0])
        elif before[1] == "exit" and kind == "enter":
            found.between[before[2], name].append(at - before[0])
    return found


def busiest(before: Mapping[int, float], after: Mapping[int, float]) -> int:
    """The thread with the most CPU time in between. The engine relays in a thread of its own."""
    return max(after, key=lambda thread: after[thread] - before.get(thread, 0.0))


def _recorded(pid: int, load: Callable[[], Sample]) -> Calls:
    """Record the calls of a process's busiest thread during a load. Raises `LoadError`."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        events = ["-e", "raw_syscalls:sys_enter", "-e", "raw_syscalls:sys_exit"]
        record = ["perf", "record", "-q", "-m", "4096", "-o", data, *events]
        before = thread_seconds(pid)

        def run() -> None:
            command = [*record, "-t", str(busiest(before, thread_seconds(pid))), "sleep", str(RECORDED_S)]
            subprocess.run(command, capture_output=True)

        timer = threading.Timer((LOAD_S - RECORDED_S) / 2, run)
        timer.start()
        load()
        timer.join()
        shown = subprocess.run(
            ["perf", "script", "-i", data, "-F", "time,event,trace", "--ns"], capture_output=True, text=True
        )
        found = noted(shown.stdout.splitlines())
    if not found.count():
        raise LoadError(f"perf recorded nothing: {shown.stderr.strip()}")
    return found


def messages_table(found: Mapping[str, Calls]) -> str:
    """The table of small messages, a row for each proxy."""
    rows = []
    for name, calls in found.items():
        messages = calls.count(*_SENDS)
        sends = {pair: times for pair, times in calls.between.items() if pair[0] not in _SENDS}
        after = {pair: times for pair, times in calls.between.items() if pair[0] in _SENDS}
        rows.append(
            (
                name,
                f"{calls.count() / messages:.1f}",
                f"{_usual(sends) / messages:.1f}",
                f"{_usual(after) / messages:.1f}",
                f"{calls.kernel / messages:.1f}",
            )
        )
    heads = ("a message, one way", "calls", "before its send, µs", "behind its send, µs", "in the kernel, µs")
    return markdown(heads, rows)


def tunnels_table(found: Mapping[str, Calls]) -> str:
    """The table of new tunnels, a row for each proxy."""
    rows = [
        (
            name,
            f"{calls.count() / calls.count('socket'):.1f}",
            f"{calls.program / calls.count('socket'):.0f}",
            f"{calls.kernel / calls.count('socket'):.0f}",
        )
        for name, calls in found.items()
    ]
    return markdown(("a tunnel", "calls", "the program, µs", "the kernel, µs"), rows)


def steps_table(calls: Calls, most: int = 12) -> str:
    """The table of the most expensive steps from one call to the next, of new tunnels."""
    count = calls.count("socket")
    costly = sorted(calls.between.items(), key=lambda item: _usual(dict([item])), reverse=True)[:most]
    rows = [(f"{one} - {other}", f"{len(times) / count:.2f}", f"{median(times):.1f}") for (one, other), times in costly]
    return markdown(("ours, between", "times a tunnel", "each, µs"), rows)


def main(arguments: Sequence[str]) -> int:
    """Print the tables, with ``--write`` write them into the page. Returns the exit status."""
    if shutil.which("perf") is None or platform.machine() != "x86_64":
        print("needs perf (Debian package linux-perf) and x86-64")
        return 1
    loads: dict[str, tuple[str, Callable[[Destination], Sample]]] = {
        "messages": ("echo", lambda destination: echo(destination, LOAD_S)),
        "tunnels": ("first", lambda destination: tunnels(destination, LOAD_S, 16)),
    }
    found: dict[str, dict[str, Calls]] = {}
    with ExitStack() as stack:
        bed = TestBed(stack)
        for what, (kind, load) in loads.items():
            for name in SHOWN:
                with bed.running(PEERS[name]) as running:
                    destination = bed.through(running, kind)
                    found.setdefault(what, {})[name] = _recorded(destination.pids[-1], partial(load, destination))
    said = (
        f"{messages_table(found['messages'])}\n{tunnels_table(found['tunnels'])}\n"
        f"{steps_table(found['tunnels']['ours'])}\n{RECORDED_S:g} s of each, noted by perf, on {environment()}.\n"
    )
    print(said)
    if "--write" in arguments:
        write_into(DOCUMENT, "calls", said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
