"""A relay's direction by copying: read into memory, try to write it at once, hold only the rest. Works everywhere.

It is also the one whose ends may speak TLS (L{sniproxy.net.tlssocket}).
"""

from __future__ import annotations

from sniproxy.net.direction import Direction

READ = 65_536
"""Bytes of one read, and so the most that a direction holds beside the bytes it began with."""


class CopyDirection(Direction):
    """recv and send."""

    __slots__ = ()

    def fill(self) -> int:
        self._head = self.source.sock.recv(READ)
        tls = self.source.tls
        if tls is not None:
            # No event of the socket will tell of an end that came together with the last bytes.
            self.eof = tls.over
        return len(self._head)

    def holds(self) -> bool:
        return bool(self._head) or (self.target.tls is not None and self.target.tls.waiting > 0)

    def finish(self) -> None:
        source, target = self.source.tls, self.target.tls
        if source is not None and source.cut and target is not None:
            target.end_cut()
        else:
            super().finish()
