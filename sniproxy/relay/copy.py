"""Moves bytes by copying: reads into memory, writes at once, and keeps only the rest. Works on every system.

This is also the implementation for sockets with TLS (L{sniproxy.net.tlssocket}).
"""

from __future__ import annotations

from sniproxy.relay.direction import Direction

READ_BYTES = 1 << 18
"""Maximum bytes of one read, and so the maximum that a direction holds besides its initial bytes."""

TLS_READ_BYTES = 1 << 16
"""Maximum bytes of one read from a socket with TLS."""

ROOM = memoryview(bytearray(READ_BYTES))
"""The buffer of all reads in this process. Nearly all bytes are written at once, and only the rest is copied. A buffer
for each read would cost more than moving a small message."""


class CopyDirection(Direction):
    """Moves bytes with recv and send."""

    __slots__ = ()

    def fill(self) -> int:
        """See L{Direction.fill}. The bytes must be flushed or copied before any direction reads again."""
        tls = self.source.tls
        if tls is None:
            count = self.source.sock.recv_into(ROOM)
            self.dry = count < READ_BYTES
            self._head = ROOM[:count]
            return count
        self._head = self.source.sock.recv(TLS_READ_BYTES)
        # The socket reports no event for an end that arrived together with the last bytes.
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
