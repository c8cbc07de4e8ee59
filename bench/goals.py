"""The goals of the benchmark, and whether results meet them.

All but the last rows are of runs on one CPU. A goal is for the engine: results of the Python relay do not meet or miss
it.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from bench.measure import Spread
from bench.peers import OTHERS
from bench.relays import ENGINE
from bench.results import Result

BEST = "the best peer"
_NOISE = 0.03
"""Figures of a real cluster that differ by less than this ratio count as equal."""


@frozen
class Goal:
    """A bound for a figure of our proxy, or for its ratio to a peer's figure of the same round.

    ``more``: whether more is better. ``bound``: None: the ratio is shown only. ``yardstick``: a peer; `BEST`: the peer
    with the best median; None: the figure itself is bounded.
    """

    text: str
    case: str
    figure: str
    more: bool
    bound: float | None
    yardstick: str | None

    @property
    def said(self) -> str:
        """The bound in words."""
        whose = "" if self.yardstick is None else f" times {self.yardstick}'s"
        if self.bound is None:
            return "shown only"
        return f"{'≥' if self.more else '≤'} {self.bound:g}{whose}"

    def judged(self, results: Mapping[str, Result]) -> tuple[str, Spread, str] | None:
        """The peer, the figure or ratio, and the outcome. None if it was not measured."""
        result = results.get(self.case)
        if result is None:
            return None
        found: Spread | None
        if self.yardstick is None:
            against, found = "", result.spread("ours", self.figure)
        else:
            best = result.best(self.figure, self.more, OTHERS) if self.yardstick == BEST else self.yardstick
            against = best or ""
            found = result.ratio(self.figure, "ours", against)
        return None if found is None else (against, found, self._outcome(found, result.relays.get("ours")))

    def _outcome(self, found: Spread, relay: str | None) -> str:
        if self.bound is None:
            return ""
        if relay != ENGINE:
            return f"not judged: {relay or 'unknown'} relay"
        met = found.median >= self.bound if self.more else found.median <= self.bound
        return "met" if met else "**not met**"


def _pulsar(size: str) -> list[Goal]:
    rate = Goal(f"real Pulsar, {size}: messages/s", f"pulsar {size}", "messages/s", True, 1 - _NOISE, "haproxy")
    return [rate, evolve(rate, text=f"real Pulsar, {size}: p99", figure="p99, ms", more=False, bound=1 + _NOISE)]


def _headers() -> list[Goal]:
    figures = (("tunnels/s", "tunnels/s", True, 0.95), ("CPU", "proxy CPU, µs", False, 1.05))
    return [
        Goal(
            f"new tunnels with a PROXY header, {version}: {shown}, times without",
            "proxy-protocol",
            f"{version}: {figure}, times without",
            more,
            bound,
            None,
        )
        for version in ("v1", "v2")
        for shown, figure, more, bound in figures
    ]


def _works() -> list[Goal]:
    works = ("/metrics", "/status", "collector", "inspected client", "blocking plugin")
    text = "an echo's p99, ms, 8,000 tunnels: "
    found = [Goal(f"{text}{work}", "meanwhile", f"{work}: p99, ms", False, 5.0, None) for work in works]
    during = "an echo's p99, ms, during a reload of 100,000 routes"
    return [*found, Goal(during, "reload", "100,000 routes: p99, ms", False, 5.0, None)]


_ECHO16, _CPU = "echo, 16 connections: messages/s", "proxy CPU, s/GB"

GOALS: tuple[Goal, ...] = (
    Goal("echo, 1 connection: p50", "echo1-pinned", "p50, µs", False, 0.92, "haproxy"),
    Goal("echo, 1 connection: p50", "echo1-pinned", "p50, µs", False, 1.0, "nginx"),
    Goal(_ECHO16, "echo16-pinned", "messages/s", True, 1.1, "haproxy"),
    Goal(_ECHO16, "echo16-pinned", "messages/s", True, 1.1, "nginx"),
    Goal("echo, 16 connections: CPU a message", "echo16-pinned", "proxy CPU, µs", False, 0.8, "haproxy"),
    Goal("instructions a message, user space", "instructions", "a message", False, 500, None),
    Goal("bulk, 1 stream: proxy CPU a GB", "bulk1-pinned", _CPU, False, 0.65, BEST),
    Goal("bulk, 16 streams: proxy CPU a GB", "bulk16-pinned", _CPU, False, 0.35, BEST),
    Goal("bulk, 1 stream: MB/s, not pinned", "bulk1", "MB/s", True, 0.95, BEST),
    Goal("bulk, 16 streams: MB/s, not pinned", "bulk16", "MB/s", True, 1.1, BEST),
    Goal("new tunnel: CPU", "tunnels-pinned", "proxy CPU, µs", False, 0.72, "ours-before"),
    Goal("new tunnel: CPU", "tunnels-pinned", "proxy CPU, µs", False, None, "haproxy"),
    Goal("new tunnel: CPU", "tunnels-pinned", "proxy CPU, µs", False, None, "haproxy-log"),
    *_headers(),
    Goal("memory of an idle tunnel, KiB", "idle", "KiB each", False, 1.0, None),
    *_pulsar("1 kB"),
    *_pulsar("100 kB"),
    Goal(
        "an echo's longest turn, ms, during a reload of 100,000 routes",
        "reload",
        "100,000 routes: longest, ms",
        False,
        10.0,
        None,
    ),
    *_works(),
)

HEADS = ("what", "goal", "against", "figure", "outcome")


def rows(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """The rows of the table of goals, under `HEADS`."""
    found: list[tuple[str, ...]] = []
    for goal in GOALS:
        judged = goal.judged(results)
        cells = ("", "not measured", "") if judged is None else (judged[0], str(judged[1]), judged[2])
        found.append((goal.text, goal.said, *cells))
    return found
