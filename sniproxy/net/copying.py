"""A relay's direction by copying: read into memory, try to write it at once, hold only the rest. Works everywhere."""

from __future__ import annotations

from sniproxy.net.relay import Direction

READ = 65_536
"""Bytes of one read, and so the most that a direction holds beside the bytes it began with."""


class CopyDirection(Direction):
    """recv and send."""

    __slots__ = ()

    def fill(self) -> int:
        self._head = self.source.sock.recv(READ)
        return len(self._head)
