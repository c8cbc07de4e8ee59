"""A relay's direction by copying whose bytes are shown to a tap as they pass.

Bytes are sent first and shown then: a tap delays no byte that was read, changes nothing and, when it fails, ends
nothing. A direction whose tap has not seen all that was read reads no more (L{sniproxy.relay.pacing}).
"""

from __future__ import annotations

import errno
import os

from sniproxy.relay.copy import ROOM, CopyDirection
from sniproxy.relay.direction import Direction, DirectionFactory, Side
from sniproxy.relay.pacing import Paced

READ_BYTES = 1 << 16
"""Bytes of one read."""

FIRST_READ_BYTES = 1 << 14
"""The same, where the bytes are shown at once (L{Paced.first}): one read is all that a round can be exceeded by."""


class PacedDirection(CopyDirection):
    """Reads no more than the budget allows."""

    __slots__ = ("_paced",)

    def __init__(self, source: Side, target: Side, head: bytes, paced: Paced) -> None:
        super().__init__(source, target, head)
        self._paced = paced

    def take(self, most: int) -> bytes:
        """Read once, at most so many bytes; empty: the source has ended.

        @raise OSError: the source's error. C{EAGAIN}: it may not read now either; the relay then pumps it in its turn.
        """
        if not self._paced.may_read(self):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        tls = self.source.tls
        if tls is None:
            count = self.source.sock.recv_into(ROOM, most)
            self.dry = count < most
            data = bytes(ROOM[:count])
        else:
            data = self.source.sock.recv(most)
            # No event of the socket will tell of an end that came together with the last bytes.
            self.eof = tls.over
        self._paced.pace.charge(count=len(data))
        return data


class TappedDirection(PacedDirection):
    """recv, send, and show."""

    __slots__ = ("_show", "_unseen")

    def __init__(self, source: Side, target: Side, head: bytes, paced: Paced) -> None:
        super().__init__(source, target, head, paced)
        self._show = paced.client if source.name == "client" else paced.target
        self._unseen = head

    def fill(self) -> int:
        self._head = self._unseen = self.take(READ_BYTES if self._paced.first is None else FIRST_READ_BYTES)
        return len(self._unseen)

    def flush(self) -> int:
        try:
            return CopyDirection.flush(self)
        finally:
            if self._unseen:
                data, self._unseen = self._unseen, b""
                self._show(data)


def tapped_directions(paced: Paced) -> DirectionFactory:
    """A way of moving bytes for one tunnel."""

    def way(source: Side, target: Side, head: bytes) -> Direction:
        return TappedDirection(source, target, head, paced)

    return way
