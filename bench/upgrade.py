"""Replaces proxies while tunnels are open, and counts what that costs: ``python -m bench.upgrade [--write]``.

Each proxy runs the same `upgradeload` and is replaced several times in a row; after each time two more tunnels are
opened, because real clients do not stop coming. It reports tunnels that were cut, wrong
bytes, new clients that were not served, the longest round trip of each tunnel while the proxy was replaced, and the
processes and memory that old ones keep.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

from attrs import Factory, define

from bench import ROOT
from bench.childprocess import LoadError
from bench.measure import environment, proportional
from bench.peers import said_versions
from bench.running import Running
from bench.table import markdown, write_into
from bench.upgradeload import Load
from bench.upgradeprocesses import MORE, NAME, Seen
from bench.upgradeways import Way, processes, stop, wait_until, ways

DOCUMENT = ROOT / "docs" / "explanation" / "performance.md"
"""Has a place for the table."""

SETTLE_S = 1.5
"""Seconds after each replacement, in which a proxy can do what remains; they count for the longest round trips."""

_MAX_QUIET = 4
_MARGIN_S = 5.0
LEAVE_S = 10.0
"""Seconds that old processes which serve nothing may take to exit."""

_MB = 1_000_000
_HEADS = (
    *("", "times", "tunnels cut", "wrong bytes", "new clients", "not served"),
    *("pause p50, ms", "p99, ms", "longest, ms", "without, p99, ms", "processes left", "their memory, MB"),
)


@define
class Figures:
    """What replacing a proxy has cost.

    ``pauses``: seconds of the longest round trip of each tunnel with messages in each replacement; ``quiet``: the same
    without a replacement. ``left``, ``memory``: processes, and bytes, that are more than the proxy needs.
    ``relay``: which of our relays serves; None: another proxy.
    """

    tunnels: int = 0
    upgrades: int = 0
    lost: list[str] = Factory(list)
    wrong: list[str] = Factory(list)
    new: int = 0
    failed: Counter[str] = Factory(Counter)
    pauses: list[float] = Factory(list)
    quiet: list[float] = Factory(list)
    left: int = 0
    memory: int = 0
    relay: str | None = None

    @property
    def clean(self) -> bool:
        """Whether nothing was lost."""
        return not (self.lost or self.wrong or self.failed)

    def take(self, seen: Seen) -> None:
        """Take over what the clients have seen so far."""
        self.tunnels = seen.tunnels
        self.lost, self.wrong, self.new, self.failed = seen.lost, seen.wrong, seen.new, seen.failed


def percentile(values: Sequence[float], percent: int) -> float:
    """A percentile; 0.0 without values."""
    if len(values) < 2:
        return values[0] if values else 0.0
    return median(values) if percent == 50 else quantiles(values, n=100, method="inclusive")[percent - 1]


def measure(
    way: Way,
    tunnels: int,
    upgrades: int,
    stop_after: float = 0.0,
    told: Callable[[Figures, Seen], None] = lambda figures, seen: None,
    new: int = 4,
    settle_s: float = SETTLE_S,
    leave_s: float = LEAVE_S,
) -> Figures:
    """Replace a proxy several times. ``told``: called before the first and after each replacement. Raises `LoadError`.

    ``stop_after``: the deadline of old processes in seconds, which is awaited; 0: they have none. ``new``: clients that
    come at a time. ``settle_s``, ``leave_s``: as `SETTLE_S`, `LEAVE_S`.
    """
    found = Figures()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sniproxy-upgrade-")))
        load = Load(folder, tunnels, new)
        stack.callback(load.stop)
        running = Running(way.peer, {NAME: load.port}, workers=way.workers)
        stack.callback(stop, running)
        found.relay = running.relay
        load.open(running.port)
        time.sleep(settle_s)
        seen = load.look()
        alone = proportional(processes(running.folder))
        for _ in range(min(upgrades, _MAX_QUIET)):
            time.sleep(settle_s)
            seen = load.look()
            found.quiet += seen.turns
            found.take(seen)
        told(found, seen)
        for _ in range(1 if way.once else upgrades):
            way.upgrade(running)
            time.sleep(settle_s)
            seen = load.look()
            found.upgrades += 1
            found.pauses += seen.turns
            found.take(seen)
            told(found, seen)
            load.add()
        _leave(way, running, leave_s)
        pids = processes(running.folder)
        found.left = max(0, len(pids) - way.expected)
        found.memory = max(0, proportional(pids) - alone) if found.left else 0
        if stop_after:
            time.sleep(stop_after + _MARGIN_S)
        found.take(load.end())
    return found


def _leave(way: Way, running: Running, seconds: float) -> None:
    """Give old processes that serve nothing the time to exit."""
    try:
        wait_until(lambda: len(processes(running.folder)) <= way.expected, "old processes", seconds)
    except LoadError:
        pass


def row(title: str, found: Figures) -> tuple[str, ...]:
    """A row of the table."""
    milliseconds = [percentile(found.pauses, 50), percentile(found.pauses, 99), max(found.pauses, default=0.0)]
    return (
        f"{title} ({found.relay})" if found.relay else title,
        f"{found.upgrades:,}",
        f"{len(found.lost):,} of {found.tunnels:,}",
        f"{len(found.wrong):,}",
        f"{found.new:,}",
        f"{found.failed.total():,}",
        *(f"{1e3 * value:,.1f}" for value in (*milliseconds, percentile(found.quiet, 99))),
        f"{found.left:,}",
        f"{found.memory / _MB:,.0f}",
    )


def reasons(title: str, found: Figures) -> list[str]:
    """A line for each kind of loss."""
    kinds: Counter[str] = Counter(text.rpartition(": ")[2] for text in found.lost)
    lines = [f"{title}: {count:,} tunnels were cut: {text}" for text, count in kinds.most_common(3)]
    lines += [f"{title}: wrong bytes: {text}" for text in found.wrong[:3]]
    return lines + [f"{title}: {count:,} clients: {text}" for text, count in found.failed.most_common(3)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all ways, or those that are named. Returns 1 if ours has lost anything."""
    parser = argparse.ArgumentParser(prog="python -m bench.upgrade", description=__doc__)
    parser.add_argument("--tunnels", type=int, default=300)
    parser.add_argument("--upgrades", type=int, default=10)
    parser.add_argument("--stop-after", type=int, default=60, help="seconds that old processes have, where configured")
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOCUMENT.name}")
    parser.add_argument("ways", nargs="*", help=f"of {', '.join(ways())}; default: all")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the proxies are children
    known = ways(options.stop_after)
    if unknown := [name for name in options.ways if name not in known]:
        parser.error(f"no such way: {unknown[0]}")
    rows, lines, status = [], [], 0
    for name in options.ways or known:
        way = known[name]
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            found = measure(way, options.tunnels, options.upgrades, options.stop_after if way.stop_after else 0)
        except LoadError as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            status = 1
            continue
        rows.append(row(way.title, found))
        lines += reasons(way.title, found)
        if name.startswith("ours") and not found.clean:
            status = 1
    versions = ", ".join(said_versions(("haproxy", "nginx")).values())
    text = (
        f"{options.tunnels:,} tunnels, {options.upgrades} replacements in a row, and {MORE} more tunnels after each;\n"
        f"{versions};\n{environment()}.\n\n{markdown(_HEADS, rows)}"
    )
    print(text)
    print("\n".join(lines))
    if options.write:
        write_into(DOCUMENT, "upgrade", text)
    return status


if __name__ == "__main__":
    sys.exit(main())
