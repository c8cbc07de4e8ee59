"""Counts tunnels and their bytes by listener and route, in steps.

The data path keeps no sums for the admin endpoint: each count reads the bytes of all open tunnels. With many tunnels,
a count is reused for one second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

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


@attrs.define
class Tally:
    """One count. Keys are listener and route; in C{opening}, listener and state.

    @ivar up: bytes to targets, including connections that have ended. @ivar down: bytes to clients, likewise.
    @ivar tunnels: open tunnels. @ivar opening: connections that are not yet tunnels.
    """

    up: Counts = attrs.field(factory=Counter)
    down: Counts = attrs.field(factory=Counter)
    tunnels: Counts = attrs.field(factory=Counter)
    opening: Counts = attrs.field(factory=Counter)


class TallyCounter:
    """Keeps the latest count, and the bytes of connections that have ended.

    @param live: returns the open connections. @param seconds: a monotonic clock.
    @ivar latest: the latest complete count. Its bytes never decrease.
    """

    def __init__(self, live: Callable[[], Iterable[LiveConnection]], seconds: Callable[[], float]) -> None:
        self.latest = Tally()
        self._live = live
        self._seconds = seconds
        self._up: Counts = Counter()
        self._down: Counts = Counter()
        self._walk: Iterator[None] | None = None
        self._begun = 0.0
        self._fresh_until = float("-inf")

    def add_ended(self, connection: Connection) -> None:
        """Add a connection that has ended."""
        key = connection.listener, connection.route or ""
        self._up[key] += connection.bytes_up
        self._down[key] += connection.bytes_down

    def count(self) -> Steps[None]:
        """Update L{latest} in steps. Concurrent callers share one count."""
        if self._walk is not None and self._seconds() - self._begun > ABANDONED_S:
            self._walk = None
        if self._walk is None:
            if self._seconds() < self._fresh_until:
                return
            self._begun = self._seconds()
            self._walk = self._counting(Tally(self._up.copy(), self._down.copy()), list(self._live()))
        walk = self._walk
        while self._walk is walk:
            next(walk, None)
            yield

    def _counting(self, tally: Tally, live: list[LiveConnection]) -> Iterator[None]:
        """Count each connection that was open at the start once, with its bytes at the time of its step."""
        up, down, tunnels, opening = tally.up, tally.down, tally.tunnels, tally.opening
        tunnels.update(dict.fromkeys(up, 0))
        try:
            for number, one in enumerate(live, 1):
                record = one.record
                state = one.state
                if state in OPENING:
                    opening[record.listener, state] += 1
                else:
                    key = record.listener, record.route or ""
                    tunnels[key] += 1
                    up[key] += one.bytes_up
                    down[key] += one.bytes_down
                if not number % BATCH:
                    yield
            self.latest = tally
            if len(live) > SMALL_COUNT:
                self._fresh_until = self._seconds() + FRESH_S
        finally:
            self._walk = None
