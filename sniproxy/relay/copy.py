"""A relay's direction by copying: read into memory, try to write it at once, hold only the rest. Works everywhere.

It is also the one whose ends may speak TLS (L{sniproxy.net.tlssocket}).
"""

from __future__ import annotations

from sniproxy.relay.direction import Direction

READ_BYTES = 1 << 18
"""Bytes of one read, and so the most that a direction holds beside the bytes it began with."""

TLS_READ_BYTES = 1 << 16
"""The same, of what is encrypted."""

ROOM = memoryview(bytearray(READ_BYTES))
"""All reads of this process go here: what a read brings is nearly always written at once, and only what finds no room
is copied. A buffer of its own for each read would cost more than a small message does."""


class CopyDirection(Direction):
    """recv and send."""

    __slots__ = ()

    def fill(self) -> int:
        """See L{Direction.fill}. What it holds then must be flushed, or copied, before anybody else reads."""
        tls = self.source.tls
        if tls is None:
            count = self.source.sock.recv_into(ROOM)
            self.dry = count < READ_BYTES
            self._head = ROOM[:count]
            return count
        self._head = self.source.sock.recv(TLS_READ_BYTES)
        # No event of the socket will tell of an end that came together with the last bytes.
        self.eof = tls.over
        return len(self._head)

    def flush(self) -> int:
        """See L{Direction.flush}."""
        head = self._head
        count = 0
        try:
            count = self.target.sock.send(head)
        finally:
            if count == len(head):
                self._head = b""
            elif isinstance(head, memoryview) and head.obj is ROOM.obj:
                self._head = bytes(head[count:])
            else:
                self._head = memoryview(head)[count:]
        return count

    def holds(self) -> bool:
        return bool(self._head) or (self.target.tls is not None and self.target.tls.waiting > 0)

    def finish(self) -> None:
        source, target = self.source.tls, self.target.tls
        if source is not None and source.cut and target is not None:
            target.end_cut()
        else:
            super().finish()
