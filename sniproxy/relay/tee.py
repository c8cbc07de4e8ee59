"""Copies bytes and shows them to a tap.

Bytes are sent first and shown afterwards. A tap delays no bytes and changes nothing, and its failure ends nothing. A
direction reads no more until its tap has seen all that was read (L{sniproxy.relay.pacing}).
"""

from __future__ import annotations

import errno
import os

from sniproxy.relay.direction import ROOM, Direction, DirectionFactory, Side
from sniproxy.relay.pacing import Paced

READ_BYTES = 1 << 16
"""Maximum bytes of one read."""

FIRST_READ_BYTES = 1 << 14
"""The same if bytes are shown at once (L{Paced.first}): a round may exceed its budget by one read."""


class PacedDirection(Direction):
    """Reads only within the budget."""

    __slots__ = ("_paced",)

    def __init__(self, source: Side, target: Side, head: bytes, paced: Paced) -> None:
        super().__init__(source, target, head)
        self._paced = paced

    def take(self, most: int) -> bytes:
        """Read once, at most `most` bytes. Empty: the source has ended.

        @raise OSError: the source's error. C{EAGAIN}: nothing to read, or no budget; the relay pumps the direction in
            its turn.
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
            # The socket reports no event for an end that arrived together with the last bytes.
            self.eof = tls.over
        self._paced.pace.charge(count=len(data))
        return data

    def release(self) -> None:
        self._paced.forget(self)
        super().release()


class TappedDirection(PacedDirection):
    """Moves bytes with recv and send, and shows them."""

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
            return super().flush()
        finally:
            if self._unseen:
                data, self._unseen = self._unseen, b""
                self._show(data)


def tapped_directions(paced: Paced) -> DirectionFactory:
    """Makes the directions of one tunnel."""

    def make(source: Side, target: Side, head: bytes) -> Direction:
        return TappedDirection(source, target, head, paced)

    return make
