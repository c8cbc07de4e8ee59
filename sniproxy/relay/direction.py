"""One direction of a relay: reads from one side and writes to the other, by copying.

It reads into memory, writes at once, and keeps only the rest.
"""

from __future__ import annotations

import socket
from typing import Protocol

from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor, pending_error
from sniproxy.net.sockopts import is_over
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.util.buffered import BufferAccount, Share

READ_BYTES = 1 << 18
"""Maximum bytes of one read, and so the maximum that a direction holds besides its initial bytes."""

TLS_READ_BYTES = 1 << 16
"""Maximum bytes of one read from a socket with TLS."""

ROOM = memoryview(bytearray(READ_BYTES))
"""The buffer of all reads in this process. Nearly all bytes are written at once, and only the rest is copied. A buffer
for each read would cost more than moving a small message."""


class Direction:
    """Moves bytes from one side to the other with recv and send.

    @ivar moved: bytes written to the destination.
    @ivar eof: the source has ended.
    @ivar end_sent: the end was passed on behind all bytes. TLS's close_notify may still wait for room.
    @ivar ended: the end was passed on, and no bytes are pending.
    @ivar blocked: the source is not read because the destination is full.
    @ivar dry: the last read drained the source, so another read would find nothing.
    """

    __slots__ = ("_head", "_waiting", "blocked", "dry", "end_sent", "ended", "eof", "moved", "source", "target")

    def __init__(self, source: Side, target: Side, head: bytes) -> None:
        self.source = source
        self.target = target
        self.moved = 0
        self.end_sent = False
        self.ended = False
        self.eof = False
        self.blocked = False
        self.dry = False
        self._head: bytes | memoryview = head  # sent before anything else
        self._waiting: Share | None = None

    def fill(self) -> int:
        """Read once and hold the bytes, which must be flushed or copied before any direction reads again.

        @return: bytes; 0: the source has ended. @raise OSError: the source's error.
        """
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
        """Write the held bytes, once. @return: bytes written. @raise OSError: the destination's error."""
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

    def flush_once(self) -> None:
        """Write the held bytes as far as possible, because the relay ends."""
        try:
            if self.holds():
                self.moved += self.flush()
        except OSError:
            return

    def pass_last_bytes(self, reads: int) -> None:
        """Pass on what a broken source sent before, such as a TLS alert that is still in its socket."""
        try:
            for _ in range(reads):
                if self.eof or not (self.holds() or self.fill()):
                    return
                self.moved += self.flush()
        except OSError:
            return

    def holds(self) -> bool:
        """Whether bytes were read and not written yet."""
        return bool(self._head) or (self.target.tls is not None and self.target.tls.waiting > 0)

    def held(self) -> bytes:
        """The bytes that were read and not written. Not for a side with TLS."""
        return bytes(self._head)

    def restore(self, held: bytes, moved: int, eof: bool) -> None:
        """Continue a direction of a tunnel that was given back. @param eof: the source's end was read."""
        self._head, self.moved, self.eof = held, moved, eof

    def answer(self) -> bytes:
        """The first and the seventh of the held bytes; 0 for a missing one."""
        return bytes((self._head[0], self._head[6] if len(self._head) > 6 else 0))

    def block(self) -> None:
        """Mark the destination as full. The bytes held count as buffered until L{unblock}."""
        self.blocked = True
        if self._waiting is None:
            self._waiting = Share(self.source.relay.account)
        self._waiting.holds(len(self._head) + (0 if self.target.tls is None else self.target.tls.waiting))

    def unblock(self) -> None:
        """The held bytes were written, or never will be."""
        self.blocked = False
        if self._waiting is not None:
            self._waiting.holds(0)

    def finish(self) -> None:
        """Pass the source's end on to the destination. @raise OSError: it was reset."""
        source, target = self.source.tls, self.target.tls
        if source is not None and source.cut and target is not None:
            target.end_cut()
        else:
            self.target.sock.shutdown(socket.SHUT_WR)

    def release(self) -> None:
        """Free what the direction holds. It must not be used again."""
        self.unblock()


class DirectionFactory(Protocol):
    """Makes a direction, for example L{Direction}."""

    def __call__(self, source: Side, target: Side, head: bytes) -> Direction: ...


class SideOwner(Protocol):
    """The relay, as seen by its sides."""

    @property
    def account(self) -> BufferAccount:
        """Counts the bytes of a direction whose destination is full."""

    def pump(self, direction: Direction) -> None:
        """Move the bytes that can be moved now."""

    def lost(self, side: Side, error: OSError) -> None:
        """A socket is broken."""


class Side(SocketDescriptor):
    """One of the two sockets, as seen by the reactor. @ivar tls: the same socket if it speaks TLS, otherwise None."""

    __slots__ = ("inbound", "name", "outbound", "relay", "tls")

    inbound: Direction
    outbound: Direction

    def __init__(self, sock: socket.socket, name: str, relay: SideOwner) -> None:
        super().__init__(sock)
        self.name = name
        self.relay = relay
        self.tls = sock if isinstance(sock, TLSSocket) else None

    def doRead(self) -> None:
        self.relay.pump(self.inbound)

    def doWrite(self) -> None:
        self.relay.pump(self.outbound)

    def peer_left(self, broken: bool) -> None:
        """See L{sniproxy.relay.leaving.Watched}. A side that is read reports its reset itself."""
        if broken and (self.inbound.blocked or self.inbound.ended) and is_over(self.sock):
            self.relay.lost(self, pending_error(self.sock))

    def connectionLost(self, reason: Failure) -> None:
        self.relay.lost(self, pending_error(self.sock))
