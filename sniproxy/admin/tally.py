"""Tunnels and their bytes by listener and route, counted in steps.

Bytes of open tunnels are read from the tunnels themselves: the data path keeps no sums for the admin endpoint. With
many tunnels one count serves every answer of a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import attrs

from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import OPENING, LiveConnection
from sniproxy.events import Connection

SMALL_COUNT = 200
"""Connections that are counted again for every answer."""

FRESH_S = 1.0
"""Seconds that a count of more connections than L{SMALL_COUNT} is used for."""

ABANDONED_S = 5.0
"""Seconds after which a count is begun again that every client has left."""

BATCH = 40
"""Connections counted in one step."""

Counts = Counter[tuple[str, ...]]
"""How often, by label values."""


@attrs.define
class Tally:
    """A count. Keys are listener and route, of C{opening} listener and state.

    @ivar up: bytes to targets, of connections that have ended too. @ivar down: bytes to clients, likewise.
    @ivar tunnels: tunnels that are open. @ivar opening: connections that are not tunnels yet.
    """

    up: Counts = attrs.field(factory=Counter)
    down: Counts = attrs.field(factory=Counter)
    tunnels: Counts = attrs.field(factory=Counter)
    opening: Counts = attrs.field(factory=Counter)


class TallyCounter:
    """The latest count, and the bytes of connections that have ended.

    @param live: the connections that have not ended. @param seconds: a monotonic clock.
    @ivar latest: the latest whole count. Its bytes never decrease.
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

    def ended(self, connection: Connection) -> None:
        """Add a connection that has ended."""
        key = connection.listener, connection.route or ""
        self._up[key] += connection.bytes_up
        self._down[key] += connection.bytes_down

    def count(self) -> Steps[None]:
        """Bring L{latest} up to date. All who ask at the same time advance one count."""
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
        """Each connection that was open at the start counts once, with what it has when its turn comes."""
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
