"""One direction of a relay: reads from one side and writes to the other. Subclasses move the bytes."""

from __future__ import annotations

import socket
from typing import Protocol

from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor, pending_error
from sniproxy.net.sockopts import is_over
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.relay.poller import BROKEN, ENDS, IN, OUT
from sniproxy.util.buffered import BufferAccount, Share


class Direction:
    """Moves bytes from one side to the other.

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
        """Read once and hold the bytes. @return: bytes; 0: the source has ended. @raise OSError: the source's error."""
        raise NotImplementedError

    def flush(self) -> int:
        """Write the held bytes, once. @return: bytes written. @raise OSError: the destination's error."""
        count = self.target.sock.send(self._head)
        self._head = self._head[count:] if count == len(self._head) else memoryview(self._head)[count:]
        return count

    def hand_on(self) -> bool:
        """Read and write once if the direction is C{dry}: the short path for a small message.

        @return: the message was passed on and nothing is left. Otherwise continue with C{fill} and C{flush}.
        @raise OSError: an error of C{flush} if bytes are held, otherwise of C{fill}.
        """
        return False

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
        return bool(self._head)

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
        self.target.sock.shutdown(socket.SHUT_WR)

    def release(self) -> None:
        """Free the direction's system resources. It must not be used again."""
        self.unblock()


class DirectionFactory(Protocol):
    """Makes a direction, for example one of the classes that move bytes."""

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

    def read_failed(self, direction: Direction, error: OSError) -> None:
        """Reading the source failed."""

    def write_failed(self, direction: Direction, error: OSError) -> None:
        """Writing to the destination failed."""


class Side(SocketDescriptor):
    """One of the two sockets, as seen by the reactor or the poller.

    @ivar tls: the same socket if it speaks TLS. None: it does not.
    @ivar ends: the poller has reported that the peer ended its side. It does not report this again.
    """

    __slots__ = ("ends", "inbound", "name", "outbound", "relay", "tls")

    inbound: Direction
    outbound: Direction

    def __init__(self, sock: socket.socket, name: str, relay: SideOwner) -> None:
        self.sock, self.fd = sock, sock.fileno()
        self.name = name
        self.relay = relay
        self.tls = sock if isinstance(sock, TLSSocket) else None
        self.ends = False

    def ready(self, events: int) -> bool:
        inbound = self.inbound
        if events == IN and not self.ends:  # the usual case
            try:
                if inbound.hand_on():
                    return True
            except OSError as error:
                (self.relay.write_failed if inbound.holds() else self.relay.read_failed)(inbound, error)
                return False
        elif events & ENDS:
            self.ends = True
            if events & BROKEN and (inbound.blocked or inbound.ended) and is_over(self.sock):
                self.relay.lost(self, pending_error(self.sock))
                return False
        if events & (IN | ENDS) and not inbound.blocked:
            self.relay.pump(inbound)
        if events & OUT and self.outbound.blocked:
            self.relay.pump(self.outbound)
        return False

    def doRead(self) -> None:
        self.relay.pump(self.inbound)

    def doWrite(self) -> None:
        self.relay.pump(self.outbound)

    def connectionLost(self, reason: Failure) -> None:
        self.relay.lost(self, pending_error(self.sock))
