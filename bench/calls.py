"""Where a proxy's time goes, call by call: ``python -m bench.calls [--write]``. Needs ``perf``, root, and x86-64.

perf notes when each system call of the proxy's process is entered and left, while a client sends small messages, and
while clients come and go. What lies between two calls is the program's own; what lies inside one is the kernel's, or
waiting. Sums are of the medians. The notes take time themselves, some 0.3 µs a call, of which nothing is taken off.
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

from bench.apart import LoadError
from bench.cases import Grounds
from bench.clients import Place, Sample, echo, tunnels
from bench.measure import environment
from bench.peers import PEERS
from bench.report import DOCUMENT
from bench.table import markdown, write_into

SHOWN = ("ours", "haproxy", "nginx")
SECONDS = 3.0
NOTED = 1.0
"""Seconds of which perf takes notes, in the middle of the load."""

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
    """What was noted: µs. ``inside``: of each call, by its name. ``between``: from one call's end to the next one."""

    inside: dict[str, list[float]] = Factory(lambda: defaultdict(list))
    between: dict[tuple[str, str], list[float]] = Factory(lambda: defaultdict(list))

    def count(self, *names: str) -> int:
        """How many calls of these names, or of all."""
        return sum(len(self.inside.get(name, ())) for name in names or tuple(self.inside))

    @property
    def program(self) -> float:
        """Of all that lies between calls."""
        return _usual(self.between)

    @property
    def kernel(self) -> float:
        """Of all calls but those that wait."""
        return _usual({name: times for name, times in self.inside.items() if name not in _WAITS})


def _usual(times: Mapping[Any, Sequence[float]]) -> float:
    """What they come to without what is unusual: a process that loses its CPU does so in the middle of something."""
    return sum(len(each) * median(each) for each in times.values())


def noted(lines: Iterable[str]) -> Calls:
    """From what ``perf script -F time,event,trace --ns`` writes of one thread. Calls that are cut off are left out."""
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


def _recorded(pid: int, load: Callable[[], Sample]) -> Calls:
    """The calls of a process in the middle of a load. Raises `LoadError`."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        events = ["-e", "raw_syscalls:sys_enter", "-e", "raw_syscalls:sys_exit"]
        record = ["perf", "record", "-q", "-m", "4096", "-p", str(pid), "-o", data, *events, "sleep", str(NOTED)]
        timer = threading.Timer((SECONDS - NOTED) / 2, partial(subprocess.run, record, capture_output=True))
        timer.start()
        load()
        timer.join()
        shown = subprocess.run(
            ["perf", "script", "-i", data, "-F", "time,event,trace", "--ns"], capture_output=True, text=True
        )
        found = noted(shown.stdout.splitlines())
    if not found.count():
        raise LoadError(f"perf has noted nothing: {shown.stderr.strip()}")
    return found


def messages_table(found: Mapping[str, Calls]) -> str:
    """Of small messages: a row for each proxy."""
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
    """Of new tunnels: a row for each proxy."""
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
    """The costliest ways from one call to the next, of new tunnels."""
    count = calls.count("socket")
    costly = sorted(calls.between.items(), key=lambda item: _usual(dict([item])), reverse=True)[:most]
    rows = [(f"{one} - {other}", f"{len(times) / count:.2f}", f"{median(times):.1f}") for (one, other), times in costly]
    return markdown(("ours, between", "times a tunnel", "each, µs"), rows)


def main(arguments: Sequence[str]) -> int:
    """Print the tables, and write them into the page when asked to. Returns the exit status."""
    if shutil.which("perf") is None or platform.machine() != "x86_64":
        print("it needs perf (Debian's package linux-perf), and x86-64")
        return 1
    loads: dict[str, tuple[str, Callable[[Place], Sample]]] = {
        "messages": ("echo", lambda place: echo(place, SECONDS)),
        "tunnels": ("first", lambda place: tunnels(place, SECONDS, 16)),
    }
    found: dict[str, dict[str, Calls]] = {}
    with ExitStack() as stack:
        grounds = Grounds(stack)
        for what, (kind, load) in loads.items():
            for name in SHOWN:
                with grounds.running(PEERS[name]) as running:
                    place = grounds.through(running, kind)
                    found.setdefault(what, {})[name] = _recorded(place.pids[-1], partial(load, place))
    said = (
        f"{messages_table(found['messages'])}\n{tunnels_table(found['tunnels'])}\n"
        f"{steps_table(found['tunnels']['ours'])}\n{NOTED:g} s of each, noted by perf, on {environment()}.\n"
    )
    print(said)
    if "--write" in arguments:
        write_into(DOCUMENT, "calls", said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
