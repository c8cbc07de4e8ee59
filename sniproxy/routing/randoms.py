"""Finds loops through other proxies by the random of the ClientHello, which each proxy passes on unchanged. Pure."""

from __future__ import annotations


class LiveRandoms:
    """The randoms (RFC 8446, section 4.1.2) of live connections whose target the client's name formed.

    A hello whose random is here already is the same hello again: its target led back to this proxy. There are never
    more of them than such connections.

    @ivar loops: how many hellos were found to come back.
    @ivar quiet_until: the reactor's time before which another loop is not logged.
    """

    def __init__(self) -> None:
        self.loops = 0
        self.quiet_until = 0.0
        self._alive: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._alive)

    def enter(self, random: bytes) -> bool:
        """A connection begins. @return: False: one with this random is alive, and this is a loop, which is counted."""
        if random in self._alive:
            self.loops += 1
            return False
        self._alive.add(random)
        return True

    def leave(self, random: bytes) -> None:
        """The connection that entered with this random has ended."""
        self._alive.discard(random)
