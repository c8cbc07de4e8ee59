"""Counts connections, tunnels and their bytes by listener, route and target, in steps.

The data path keeps no sums for the admin endpoint: each count reads the bytes of all open tunnels. With many tunnels,
a count is reused for one second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import OPENING, LiveConnection
from sniproxy.events import Connection

SMALL_COUNT = 200
"""Maximum of connections for which a count is not reused."""

FRESH_S = 1.0
"""Seconds for which a count of more than L{SMALL_COUNT} connections is reused."""

ABANDONED_S = 5.0
"""Seconds after which an unfinished count is abandoned and started again."""

BATCH = 40
"""Connections counted in one step."""

Counts = Counter[tuple[str, ...]]
"""Counts by label values."""

EndedBytes = Callable[[], tuple[Mapping[str, int], Mapping[str, int], Mapping[str, str]]]
"""Returns the bytes of ended connections by target, to targets and to clients, and other names of targets."""


@attrs.define
class Tally:
    """One count. Keys are listener and route; in C{opening}, listener and state.

    @ivar tunnels: open tunnels. @ivar opening: connections that are not yet tunnels.
    @ivar routed: open connections whose route is known. @ivar open: open connections, by listener.

    These include connections that have ended, and never decrease:

    @ivar up: bytes to targets. @ivar down: bytes to clients.
    @ivar routed_total: connections whose route is or was known.
    @ivar refused: connections that the proxy refused. @ivar refused_by: the same, by listener.
    @ivar accepted: connections, by listener.
    @ivar target_up: bytes to targets, by target. @ivar target_down: bytes to clients, by target.

    @ivar time: when the count began, by the monotonic clock.
    """

    up: Counts = attrs.field(factory=Counter)
    down: Counts = attrs.field(factory=Counter)
    tunnels: Counts = attrs.field(factory=Counter)
    opening: Counts = attrs.field(factory=Counter)
    routed: Counts = attrs.field(factory=Counter)
    routed_total: Counts = attrs.field(factory=Counter)
    refused: Counts = attrs.field(factory=Counter)
    open: Counter[str] = attrs.field(factory=Counter)
    refused_by: Counter[str] = attrs.field(factory=Counter)
    accepted: Counter[str] = attrs.field(factory=Counter)
    target_up: Counter[str] = attrs.field(factory=Counter)
    target_down: Counter[str] = attrs.field(factory=Counter)
    time: float = 0.0


class TallyCounter:
    """Keeps the latest count, and the sums of connections that have ended.

    @param live: returns the open connections. @param seconds: a monotonic clock.
    @param ended_bytes: of ended connections, by target; see L{EndedBytes}.
    @ivar latest: the latest complete count.
    """

    def __init__(
        self,
        live: Callable[[], Iterable[LiveConnection]],
        seconds: Callable[[], float],
        ended_bytes: EndedBytes = lambda: ({}, {}, {}),
    ) -> None:
        self.latest = Tally()
        self._live = live
        self._seconds = seconds
        self._ended_bytes = ended_bytes
        self._ended = Tally()
        self._aliases: Mapping[str, str] = {}
        self._walk: Iterator[None] | None = None
        self._begun = 0.0
        self._fresh_until = float("-inf")

    def add_ended(self, connection: Connection, refused: bool = False) -> None:
        """Add a connection that has ended. @param refused: the proxy refused it."""
        ended, key = self._ended, (connection.listener, connection.route or "")
        ended.accepted[connection.listener] += 1
        if connection.route is not None:
            ended.routed_total[key] += 1
        if refused:
            ended.refused[key] += 1
            ended.refused_by[connection.listener] += 1
        if connection.bytes_up or connection.bytes_down:
            ended.up[key] += connection.bytes_up
            ended.down[key] += connection.bytes_down

    def add_adopted(self, record: Connection, bytes_up: int, bytes_down: int) -> None:
        """Add a connection of another process, which has counted it and its bytes so far.

        Each count adds both, so they are subtracted here.

        @param bytes_up: to the target, so far. @param bytes_down: to the client.
        """
        ended = self._ended
        key = record.listener, record.route or ""
        ended.accepted[record.listener] -= 1
        ended.routed_total[key] -= record.route is not None
        ended.up[key] -= bytes_up
        ended.down[key] -= bytes_down

    def count(self) -> Steps[None]:
        """Update L{latest} in steps. Concurrent callers share one count."""
        if self._walk is not None and self._seconds() - self._begun > ABANDONED_S:
            self._walk = None
        if self._walk is None:
            if self._seconds() < self._fresh_until:
                return
            self._begun = self._seconds()
            self._walk = self._counting(self._begin(), list(self._live()))
        walk = self._walk
        while self._walk is walk:
            next(walk, None)
            yield

    def _begin(self) -> Tally:
        """The sums of the connections that have ended by now."""
        ended, (up, down, self._aliases) = self._ended, self._ended_bytes()
        return Tally(
            ended.up.copy(),
            ended.down.copy(),
            routed_total=ended.routed_total.copy(),
            refused=ended.refused.copy(),
            refused_by=ended.refused_by.copy(),
            accepted=ended.accepted.copy(),
            target_up=Counter(up),
            target_down=Counter(down),
            time=self._begun,
        )

    def _counting(self, tally: Tally, live: list[LiveConnection]) -> Iterator[None]:
        """Count each connection that was open at the start once, with its bytes at the time of its step."""
        up, down, tunnels, opening = tally.up, tally.down, tally.tunnels, tally.opening
        routed, total, accepted, now_open = tally.routed, tally.routed_total, tally.accepted, tally.open
        target_up, target_down, aliases = tally.target_up, tally.target_down, self._aliases
        tunnels.update(dict.fromkeys(up, 0))
        try:
            for number, one in enumerate(live, 1):
                record = one.record
                state = one.state
                accepted[record.listener] += 1
                now_open[record.listener] += 1
                key = record.listener, record.route or ""
                if record.route is not None:
                    routed[key] += 1
                    total[key] += 1
                if state in OPENING:
                    opening[record.listener, state] += 1
                else:
                    tunnels[key] += 1
                    bytes_up, bytes_down, target = one.bytes_up, one.bytes_down, record.target
                    up[key] += bytes_up
                    down[key] += bytes_down
                    if target is not None:
                        target = aliases.get(target, target)
                        target_up[target] += bytes_up
                        target_down[target] += bytes_down
                if not number % BATCH:
                    yield
            self.latest = tally
            if len(live) > SMALL_COUNT:
                self._fresh_until = self._seconds() + FRESH_S
        finally:
            self._walk = None
