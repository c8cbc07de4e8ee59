"""Detects loops through other proxies by the ClientHello's random, which each proxy forwards unchanged. Pure."""

from __future__ import annotations


class LiveRandoms:
    """The randoms (RFC 8446, section 4.1.2) of open connections whose target the client's name formed.

    A hello with a random that is already present has returned to this proxy: its target is a loop. There is one random
    for each such connection.

    @ivar loops: the number of loops detected.
    @ivar quiet_until: the reactor's time before which further loops are not logged.
    """

    def __init__(self) -> None:
        self.loops = 0
        self.quiet_until = 0.0
        self._alive: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._alive)

    def enter(self, random: bytes) -> bool:
        """Add a connection. @return: False: an open connection has this random; the loop is counted."""
        if random in self._alive:
            self.loops += 1
            return False
        self._alive.add(random)
        return True

    def leave(self, random: bytes) -> None:
        """Remove the random of a connection that has ended."""
        self._alive.discard(random)
