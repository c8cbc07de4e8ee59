"""Upgrades in a row with tunnels open, shown while they happen: ``make upgrade-demo``.

It ends with status 0 when no tunnel was cut, no byte was wrong and every new client was served.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence

from attrs import define

import sniproxy
from bench.childprocess import LoadError
from bench.upgrade import Figures, measure, percentile, reasons
from bench.upgradeends import MIX
from bench.upgradeprocesses import MORE, Seen
from bench.upgradeways import Way, ways

_LINES = 20
_WHAT = {
    "echo": "exchange messages",
    "up": "send",
    "down": "receive",
    "both": "do both",
    "client ended": "half-closed by the client, and receive",
    "server ended": "half-closed by the server, and send",
    "slow client": "blocked by a slow client",
    "slow server": "blocked by a slow server",
    "idle": "idle until the end",
}


@define
class Page:
    """What is shown. ``every``: upgrades between two lines."""

    way: Way
    tunnels: int
    upgrades: int
    every: int

    def head(self) -> None:
        """What is about to happen."""
        kinds = Counter(MIX[number % len(MIX)] for number in range(self.tunnels))
        print(f"sniproxy {sniproxy.__version__}: {self.way.title}, {self.upgrades} times in a row")
        print(f"{self.tunnels} TLS tunnels; each end checks every byte that it receives:")
        for kind, count in kinds.items():
            print(f"  {count:5}  {_WHAT[kind]}")
        print("New clients come all the time: each has to connect and to get its bytes back.")
        print(f"After each upgrade {MORE} more tunnels are opened.")
        print("\nupgrade   open   cut  wrong  new clients  not served  pause p99")

    def line(self, found: Figures, seen: Seen) -> None:
        """A line now and then."""
        if found.upgrades < 2 or found.upgrades % self.every == 0 or found.upgrades == self.upgrades:
            counts = f"{seen.open:5,}  {len(found.lost):4}  {len(found.wrong):5}  {found.new:11,}"
            pause = 1e3 * percentile(seen.turns, 99)
            print(f"{found.upgrades:7}  {counts}  {found.failed.total():10}  {pause:6.1f} ms", flush=True)

    def tail(self, found: Figures, seconds: float) -> None:
        """The summary."""
        p50, p99 = (1e3 * percentile(found.pauses, percent) for percent in (50, 99))
        quiet = 1e3 * percentile(found.quiet, 99)
        print(f"\n{found.upgrades} upgrades in {seconds:.0f} s. All tunnels have ended in order since." if found.clean
              else f"\n{found.upgrades} upgrades in {seconds:.0f} s.")  # fmt: skip
        print(f"  tunnels cut          {len(found.lost):,} of {found.tunnels:,}")
        print(f"  with wrong bytes     {len(found.wrong):,}")
        print(f"  clients not served   {found.failed.total():,} of {found.new + found.failed.total():,}")
        print(f"  longest round trip   p50 {p50:.1f} ms, p99 {p99:.1f} ms; without an upgrade p99 {quiet:.1f} ms")
        print(f"  processes left       {found.left}")
        for reason in reasons("sniproxy", found):
            print(f"  {reason}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it. Returns the exit status, 0 if nothing was lost."""
    own = [name for name in ways() if name.startswith("ours")]
    parser = argparse.ArgumentParser(prog="python -m bench.upgradedemo", description=__doc__)
    parser.add_argument("--tunnels", type=int, default=300)
    parser.add_argument("--upgrades", type=int, default=100)
    parser.add_argument(
        "--way", choices=own, default=own[0], help="as installed, with the Python relay, or with workers"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the proxy is a child
    page = Page(ways()[options.way], options.tunnels, options.upgrades, max(1, options.upgrades // _LINES))
    page.head()
    began = time.monotonic()
    try:
        found = measure(page.way, options.tunnels, options.upgrades, told=page.line)
    except LoadError as error:
        print(f"sniproxy: the demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    page.tail(found, time.monotonic() - began)
    return 0 if found.clean and not found.left else 1


if __name__ == "__main__":
    sys.exit(main())
