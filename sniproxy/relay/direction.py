"""One direction of a relay: what is read from one side and written to the other; how is for the ways to say."""

from __future__ import annotations

import socket
from typing import Protocol

from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor, pending_error
from sniproxy.net.sockopts import is_over
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.relay.poller import BROKEN, ENDS, IN, OUT
from sniproxy.util.buffered import Share


class Direction:
    """Moves bytes from one side to the other; how they are moved is for subclasses to say.

    @ivar moved: bytes written to the destination.
    @ivar eof: the source has ended.
    @ivar told: the destination was told so, behind all bytes; what TLS says of it may still wait for room.
    @ivar ended: it has been told, and nothing waits.
    @ivar blocked: the source is not read because the destination takes no more.
    @ivar dry: the last read has taken all that the source had: the next one would only say so.
    """

    __slots__ = ("_head", "_waiting", "blocked", "dry", "ended", "eof", "moved", "source", "target", "told")

    def __init__(self, source: Side, target: Side, head: bytes) -> None:
        self.source = source
        self.target = target
        self.moved = 0
        self.told = False
        self.ended = False
        self.eof = False
        self.blocked = False
        self.dry = False
        self._head: bytes | memoryview = head  # sent before anything else
        self._waiting: Share | None = None

    def fill(self) -> int:
        """Read once from the source and hold it. @return: bytes; 0: the source has ended. @raise OSError: its error."""
        raise NotImplementedError

    def flush(self) -> int:
        """Write what is held, once. @return: bytes written. @raise OSError: the destination's error."""
        count = self.target.sock.send(self._head)
        self._head = self._head[count:] if count == len(self._head) else memoryview(self._head)[count:]
        return count

    def hand_on(self) -> bool:
        """Read once, and write that once, if it is C{dry}: in few steps all that a small message needs.

        @return: that was all. Else what is left, or all, is to be done by C{fill} and C{flush}.
        @raise OSError: an error of C{flush} when bytes are held, else of C{fill}.
        """
        return False

    def flush_once(self) -> None:
        """Write what is held as far as that goes at once: it is over."""
        try:
            if self.holds():
                self.moved += self.flush()
        except OSError:
            return

    def pass_last_bytes(self, reads: int) -> None:
        """The source is known to be broken; what it sent before, a TLS alert often, still waits in our socket."""
        try:
            for _ in range(reads):
                if self.eof or not (self.holds() or self.fill()):
                    return
                self.moved += self.flush()
        except OSError:
            return

    def holds(self) -> bool:
        """Bytes were read that are not written yet."""
        return bool(self._head)

    def block(self) -> None:
        """The destination takes no more. What is held in memory counts as it is now, until L{unblock}."""
        self.blocked = True
        if self._waiting is None:
            self._waiting = Share()
        self._waiting.holds(len(self._head) + (0 if self.target.tls is None else self.target.tls.waiting))

    def unblock(self) -> None:
        """What was held has gone on, or never will."""
        self.blocked = False
        if self._waiting is not None:
            self._waiting.holds(0)

    def finish(self) -> None:
        """Tell the destination that the source has ended. @raise OSError: it has been reset."""
        self.target.sock.shutdown(socket.SHUT_WR)

    def release(self) -> None:
        """Give back what the direction holds of the system's: it will not be used again."""
        self.unblock()


class DirectionFactory(Protocol):
    """Makes a direction: the class of one way of moving bytes."""

    def __call__(self, source: Side, target: Side, head: bytes) -> Direction: ...


class SideOwner(Protocol):
    """The relay, as its sides call it."""

    def pump(self, direction: Direction) -> None:
        """Move what can be moved."""

    def lost(self, side: Side, error: OSError) -> None:
        """The socket is broken."""

    def read_failed(self, direction: Direction, error: OSError) -> None:
        """Reading the source failed."""

    def write_failed(self, direction: Direction, error: OSError) -> None:
        """Writing to the target failed."""


class Side(SocketDescriptor):
    """One of the two sockets, as the reactor or the poller sees it.

    @ivar tls: the same socket, when its peer speaks TLS with us.
    @ivar ends: the poller has told that the peer has ended its side, and will not tell again.
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
        if events == IN and not self.ends:  # what mostly comes
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
