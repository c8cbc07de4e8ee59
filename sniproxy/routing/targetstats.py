"""Counts connections, connects and ended bytes by target, for the admin endpoint. Pure.

Each new connection costs a few dictionary lookups. Targets that clients' names form share one entry, and so do further
targets beyond L{MAX_TARGETS}, because clients could form any number of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Mapping, Sequence

from sniproxy.interfaces import Target
from sniproxy.util.names import host_port
from sniproxy.util.text import bounded

MAX_TARGETS = 10_000
"""Targets that have counts of their own."""

MAX_LABELS = 200
"""Targets that are labels of metrics: those that were counted first. All others are L{OTHER}."""

MAX_NAMES = 20
"""Server names, and routes, that are remembered for a target of resolvers' answers."""

MAX_ALL_NAMES = 20_000
"""Server names that are remembered for all targets together."""

FORGET_S = 3600.0
"""Seconds without an answer and without a connect until a target that the configuration does not name is dropped."""

OTHER = "other"
"""The label of all targets without a label of their own."""

CONNECT_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the histogram of connect times, in seconds. One more bucket has what took longer."""

FAILURES = ("refused", "timeout", "unreachable", "failed")
"""How a connect fails: C{failed} includes the lookup of the target's name."""


def address(target: Target) -> str:
    """The key of a target: host and port, without the label."""
    return host_port(target.host, target.port)


class TargetStats:
    """The counts of a target since it was first seen.

    @ivar text: its name in records: the label, else the address. @ivar labelled: it is a label of metrics.
    @ivar seen: the reactor's time of the last answer of a resolver with it, or of the last connect.
    @ivar connections: that dial or use it now. @ivar most: the maximum of these. @ivar total: since the start.
    @ivar buckets: successful connects, by L{CONNECT_BUCKETS_S}. @ivar connect_s: the seconds that they took together.
    @ivar failures: failed connects, by L{FAILURES}. @ivar why: why the last connect failed; empty: it succeeded.
    @ivar names: server names for which a resolver has answered with it. @ivar routes: their routes.
    """

    __slots__ = (
        "buckets", "connect_s", "connections", "failures", "labelled", "most", "names", "routes", "seen", "text",
        "total", "why",
    )  # fmt: skip

    def __init__(self, text: str, labelled: bool = False) -> None:
        self.text = text
        self.labelled = labelled
        self.seen = 0.0
        self.connections = self.most = self.total = 0
        self.buckets = [0] * (len(CONNECT_BUCKETS_S) + 1)
        self.connect_s = 0.0
        self.failures = dict.fromkeys(FAILURES, 0)
        self.why = ""
        self.names: dict[str, None] = {}
        self.routes: dict[str, None] = {}

    def record_connect(self, seconds: float, now: float) -> None:
        """Count a successful connect. @param seconds: that it took, with the lookup of the target's name."""
        self.buckets[bisect_left(CONNECT_BUCKETS_S, seconds)] += 1
        self.connect_s += seconds
        self.seen = now
        self.why = ""

    def record_failure(self, kind: str, why: str, now: float) -> None:
        """Count a failed connect. @param kind: one of L{FAILURES}."""
        self.failures[kind] += 1
        self.seen = now
        self.why = bounded(why)

    def add(self, other: TargetStats) -> None:
        """Add the counts of another one. Their most connections were not at the same time, so these are not added."""
        self.connections += other.connections
        self.total += other.total
        self.connect_s += other.connect_s
        self.buckets = [one + two for one, two in zip(self.buckets, other.buckets, strict=True)]
        self.failures = {kind: count + other.failures[kind] for kind, count in self.failures.items()}


class TargetStatsTable:
    """The counts of all targets.

    @ivar known: of targets that have an entry of their own, by L{address}. @ivar rest: of all others together.
    @ivar ended_up: bytes of ended connections to targets, by L{TargetStats.text}. @ivar ended_down: to clients.
    @ivar aliases: the texts of entries by other names of their targets in records: a target may have several labels, or
        one with a label and one without.
    """

    def __init__(self) -> None:
        self.known: dict[str, TargetStats] = {}
        self.rest = TargetStats(OTHER)
        self.ended_up: Counter[str] = Counter()
        self.ended_down: Counter[str] = Counter()
        self.aliases: dict[str, str] = {}
        self._others: dict[str, int] = {}
        """Connections to targets without an entry, by address: for the order by least connections."""
        self._texts: set[str] = set()
        self._labels = 0
        self._names = 0

    def enter_configured(self, target: Target) -> None:
        """Make the entry of a target that the configuration names, so that it is counted by its own label."""
        key = address(target)
        if key not in self.known:
            self._enter(key, target)

    def find(self, target: Target) -> TargetStats:
        """The entry of a target, or that of all others."""
        return self.known.get(address(target)) or self.rest

    def add_connection(self, target: Target) -> None:
        """Count a connection that dials a target."""
        key = address(target)
        stats = self.known.get(key) or self._enter(key, target)
        self._name(stats, target.label or key)
        if stats is self.rest:
            self._others[key] = self._others.get(key, 0) + 1
        _add(stats)

    def add_planned(self, key: str) -> TargetStats:
        """Count a connection to a target that no client has formed. @param key: its L{address}. @return: its entry."""
        stats = self.known.get(key) or self._enter(key, None)
        self._name(stats, key)
        if stats is self.rest:
            self._others[key] = self._others.get(key, 0) + 1
        _add(stats)
        return stats

    def adopt_connection(self, target: Target, bytes_up: int, bytes_down: int) -> None:
        """Count a connection that another process has dialled.

        @param bytes_up: that it wrote to the target so far, which do not count here. @param bytes_down: to the client.
        """
        self.add_connection(target)
        stats = self.find(target)
        stats.total -= 1
        # The count of all bytes adds those of the whole connection.
        self._add_bytes(stats, target, -bytes_up, -bytes_down)

    def remove_connection(self, target: Target, bytes_up: int, bytes_down: int) -> None:
        """Stop counting a connection of a target.

        @param bytes_up: bytes that it wrote to the target. @param bytes_down: bytes that it wrote to the client.
        """
        key = address(target)
        stats = self.known.get(key)
        if stats is None:
            stats = self.rest
            count = self._others.pop(key, 0) - 1
            if count > 0:
                self._others[key] = count
        if stats.connections:
            stats.connections -= 1
        self._add_bytes(stats, target, bytes_up, bytes_down)

    def _add_bytes(self, stats: TargetStats, target: Target, bytes_up: int, bytes_down: int) -> None:
        if bytes_up or bytes_down:
            text = str(target)
            name = OTHER if stats is self.rest else self.aliases.get(text, text)
            self.ended_up[name] += bytes_up
            self.ended_down[name] += bytes_down

    def ended_bytes(self) -> tuple[Mapping[str, int], Mapping[str, int], Mapping[str, str]]:
        """L{ended_up}, L{ended_down} and L{aliases}."""
        return self.ended_up, self.ended_down, self.aliases

    def connections(self, target: Target) -> int:
        """The number of connections that dial or use a target."""
        key = address(target)
        stats = self.known.get(key)
        return self._others.get(key, 0) if stats is None else stats.connections

    def record_answer(self, target: Target, now: float, name: str | None, route: str | None) -> None:
        """A resolver has answered with a target. @param route: None: it is the same answer for all names."""
        key = address(target)
        stats = self.known.get(key) or self._enter(key, target)
        if stats is self.rest:
            return
        stats.seen = now
        if route is None:
            return
        if route not in stats.routes and len(stats.routes) < MAX_NAMES:
            stats.routes[route] = None
        if name is None or name in stats.names or len(stats.names) >= MAX_NAMES or self._names >= MAX_ALL_NAMES:
            return
        stats.names[name] = None
        self._names += 1

    def forget(self, now: float, configured: Container[str]) -> None:
        """Drop targets without connections that no resolver has answered with for L{FORGET_S}.

        @param configured: addresses that the configuration names; these stay.
        """
        old = [
            key
            for key, stats in self.known.items()
            if not stats.connections and now - stats.seen > FORGET_S and key not in configured
        ]
        for key in old:
            stats = self.known.pop(key)
            self._names -= len(stats.names)
            self._texts.discard(stats.text)
            self.aliases = {name: text for name, text in self.aliases.items() if text != stats.text}
            up, down = self.ended_up.pop(stats.text, 0), self.ended_down.pop(stats.text, 0)
            if stats.labelled:
                self._labels -= 1
            else:  # the counts of the label for all others never decrease
                self.rest.add(stats)
                self.ended_up[OTHER] += up
                self.ended_down[OTHER] += down

    def _enter(self, key: str, target: Target | None) -> TargetStats:
        """Make an entry. @param target: None: its text is its address."""
        if len(self.known) >= MAX_TARGETS or (target is not None and target.client_formed):
            return self.rest
        labelled = self._labels < MAX_LABELS
        self._labels += labelled
        text = key if target is None else str(target)
        if text in self._texts:  # two targets have one label: the bytes of both count for the first
            text = key
        self._texts.add(text)
        stats = self.known[key] = TargetStats(text, labelled)
        stats.connections = stats.most = self._others.pop(key, 0)
        self.rest.connections -= stats.connections
        return stats

    def _name(self, stats: TargetStats, text: str) -> None:
        """A target has this text in records. Remember it, if it is not the text of the entry or of another one."""
        if (
            text != stats.text
            and stats is not self.rest
            and text not in self._texts
            and len(self.aliases) < MAX_TARGETS
        ):
            self.aliases[text] = stats.text


def _add(stats: TargetStats) -> None:
    stats.total += 1
    stats.connections += 1
    if stats.connections > stats.most:
        stats.most = stats.connections


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """A quantile of connect times, in seconds, interpolated linearly within its bucket.

    @param buckets: by L{CONNECT_BUCKETS_S}. The quantile of the last one, without an upper bound, is its lower bound.
    @param share: 0.5: the median. @return: None: there was no connect.
    """
    wanted, below, lower = share * sum(buckets), 0, 0.0
    for count, upper in zip(buckets, (*CONNECT_BUCKETS_S, CONNECT_BUCKETS_S[-1]), strict=True):
        if count and below + count >= wanted:
            return lower + (upper - lower) * (wanted - below) / count
        below, lower = below + count, upper
    return None
