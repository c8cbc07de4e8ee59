"""The goals of the data path benchmark, and whether results meet them."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from bench.measure import Spread
from bench.peers import OTHERS
from bench.results import Result

NOISE = 0.05
"""Figures of a real cluster that differ by less than this ratio count as equal."""


@frozen
class Goal:
    """A bound for a figure of our proxy, or for its ratio to a peer's figure of the same round.

    ``more``: whether more is better. ``yardstick``: a peer; ``best``: the peer with the best median; None: the figure
    itself is bounded. ``ours``: the name of our proxy in the results.
    """

    text: str
    case: str
    figure: str
    more: bool
    bound: float
    yardstick: str | None = "best"
    ours: str = "ours"

    @property
    def said(self) -> str:
        """The bound in words."""
        side = "at least" if self.more else "at most"
        if self.yardstick is None:
            return f"{side} {self.bound:g}"
        whose = "the best peer's" if self.yardstick == "best" else f"{self.yardstick}'s"
        return f"{side} {self.bound:g} times {whose}"

    def judged(self, results: Mapping[str, Result]) -> tuple[str, Spread, bool] | None:
        """The peer, the result, and whether it meets the bound. None if it was not measured."""
        result = results.get(self.case)
        if result is None:
            return None
        found: Spread | None
        if self.yardstick is None:
            against, found = "", result.spread(self.ours, self.figure)
        else:
            best = result.best(self.figure, self.more, OTHERS) if self.yardstick == "best" else self.yardstick
            against = best or ""
            found = result.ratio(self.figure, self.ours, against)
        if found is None:
            return None
        return against, found, found.median >= self.bound if self.more else found.median <= self.bound


def _pulsar(size: str) -> list[Goal]:
    name = f"pulsar {size}"
    text = f"real Pulsar, messages of {size}: "
    return [
        Goal(f"{text}rate", name, "messages/s", True, 1 - NOISE),
        Goal(f"{text}p99 latency", name, "p99, ms", False, 1 + NOISE),
    ]


GOALS: tuple[Goal, ...] = (
    Goal("bulk, 1 stream: proxy CPU a GB", "bulk1", "proxy CPU, s/GB", False, 0.6),
    Goal("bulk, 1 stream: throughput", "bulk1", "MB/s", True, 1.1),
    Goal("bulk, 16 streams: throughput", "bulk16", "MB/s", True, 1.1),
    Goal("64-byte echo, 1 connection: median latency", "echo1", "p50, µs", False, 1.0),
    Goal("64-byte echo, 16 connections: messages/s", "echo16", "messages/s", True, 1.0),
    Goal("new tunnels: proxy CPU each (tunnels a second of a core)", "tunnels", "proxy CPU, µs", False, 1.0, "haproxy"),
    Goal("new tunnels/s, as this machine came to", "tunnels", "tunnels/s", True, 1.0, "haproxy"),
    Goal("memory of an idle tunnel", "idle", "KiB each", False, 1.0, "haproxy"),
    Goal("seconds from the start to listening, 10,000 routes", "start", "10,000 names: s", False, 1.0, None),
    *_pulsar("1 kB"),
    *_pulsar("100 kB"),
)

HEADS = ("what", "goal", "against", "came to", "outcome")


def rows(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """The rows of the table of goals, under `HEADS`."""
    found: list[tuple[str, ...]] = []
    for goal in GOALS:
        judged = goal.judged(results)
        cells = ("", "not measured", "") if judged is None else (judged[0], str(judged[1]), _verdict(judged[2]))
        found.append((goal.text, goal.said, *cells))
    return found


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"
