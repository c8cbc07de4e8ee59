"""One direction of a tunnel that the kernel forwards: the kernel's counters, and what our own process does of it."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import termios
from typing import Any, Protocol

from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor, pending_error
from sniproxy.relay.kernel.gate import Row

READ_BYTES = 1 << 18
"""Bytes of one read, and so the most that a direction holds in our process."""

WINDOW_BYTES = 1 << 20
"""What a direction may spend before our process looks again, at most."""

MIN_WINDOW_BYTES = 1 << 14
"""A smaller window is not worth opening."""

_ACKNOWLEDGED = 120  # tcpi_bytes_acked, in tcp_info of linux/tcp.h
_SO_MEMINFO, _SEND_BUFFER, _QUEUED = 55, 3, 5  # of linux/sock_diag.h
_buffer = bytearray(READ_BYTES)


def written(sock: socket.socket) -> int:
    """Bytes that a TCP socket has taken since it was made, or a few less while it sends; a constant is in it, too."""
    # In this order: what is acknowledged in between is then missing once, and not there twice.
    information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED + 8)
    waiting = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, waiting)
    return int(struct.unpack_from("<Q", information, _ACKNOWLEDGED)[0]) + waiting[0]


def room(sock: socket.socket) -> int:
    """What a socket's send buffer takes, in the kernel's own measure."""
    memory = struct.unpack("9I", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))
    return int(memory[_SEND_BUFFER]) - int(memory[_QUEUED])


class Relaying(Protocol):
    """What a side tells of what the reactor tells it."""

    def pump(self, flow: Flow) -> None:
        """The source has something, or the destination has room."""

    def lost(self, side: KernelSide, error: OSError) -> None:
        """The connection is broken."""


class KernelSide(SocketDescriptor):
    """One of the two sockets.

    @ivar wants: what it is waited for, in epoll's terms (L{sniproxy.relay.kernel.watch}).
    """

    __slots__ = ("inbound", "name", "outbound", "relay", "wants")

    inbound: Flow
    outbound: Flow

    def __init__(self, sock: socket.socket, name: str, relay: Relaying) -> None:
        super().__init__(sock)
        self.name = name
        self.relay = relay
        self.wants = 0

    def doRead(self) -> None:
        self.relay.pump(self.inbound)

    def doWrite(self) -> None:
        self.relay.pump(self.outbound)

    def connectionLost(self, reason: Failure) -> None:
        self.relay.lost(self, pending_error(self.sock))


class Flow:
    """Bytes from one side to the other.

    @ivar row: the kernel's counters. @ivar held: read and not sent yet.
    @ivar received: bytes read from the source. @ivar sent: of these, and before these the head, bytes sent.
    @ivar eof: the source has ended. @ivar ended: the destination has been told so.
    @ivar blocked: the source is not read because the destination takes no more.
    @ivar waits: for the kernel: how often it has been waited for in a row. @ivar timer: the next look at that.
    @ivar final: C{moved}, once it is over.
    """

    __slots__ = (
        "_base", "_first", "_settled", "blocked", "ended", "eof", "final", "held", "received", "row", "sent", "source",
        "target", "timer", "waits",
    )  # fmt: skip

    def __init__(self, source: KernelSide, target: KernelSide, row: Row, head: bytes) -> None:
        self.source = source
        self.target = target
        self.row = row
        self.held: bytes | memoryview = head
        self.received = self._first = len(head)
        self.sent = 0
        self.eof = False
        self.ended = False
        self.blocked = False
        self.waits = 0
        self.timer: Any = None
        self.final: int | None = None
        self._base = written(target.sock)
        self._settled = 0

    @property
    def moved(self) -> int:
        """Bytes written to the destination; while it lives, those that the kernel is just writing, too."""
        return self.sent + self.row.redirected if self.final is None else self.final

    def settle(self) -> bool:
        """Whether the destination has written all that was redirected and sent. What is held may be sent then."""
        redirected = self.row.redirected
        if redirected == self._settled:
            return True
        if written(self.target.sock) - self._base < redirected + self.sent:
            return False
        self._settled = redirected
        return True

    def fill(self) -> int:
        """Read what was passed. @return: bytes; 0: the end. @raise OSError: the source's error."""
        count = self.source.sock.recv_into(_buffer)
        if count:
            self.received += count
            piece = memoryview(_buffer)[:count]
            # The buffer is everybody's: what cannot be sent before others use it is copied.
            self.held = piece if self.row.redirected == self._settled else bytes(piece)
        return count

    @property
    def missing(self) -> bool:
        """Whether the kernel has passed bytes that have not been read yet: an end can be quicker than they are."""
        return self.received - self._first < self.row.passed

    def flush(self) -> None:
        """Send what is held, once, and keep the rest. @raise OSError: the destination's error."""
        count = 0
        try:
            count = self.target.sock.send(self.held)
        finally:
            rest = self.held[count:]
            self.held = bytes(rest)
            self.sent += count
        if self.sent > self._first:
            self.row.forwarded(self.sent - self._first)

    def open(self) -> bool:
        """Let the kernel redirect as much as the destination has room for. Half of it: the kernel's own ways to count
        differ, and what did not fit would stand in the way of the other direction.

        @return: it is open, and rings when it has to.
        """
        if not self.settle():  # what the destination has not written yet takes room; the old window goes on
            return self.row.inside
        budget = min(WINDOW_BYTES, room(self.target.sock) // 2)
        self.row.open(budget if budget >= MIN_WINDOW_BYTES else 0)
        return self.row.inside and budget >= MIN_WINDOW_BYTES

    def count(self) -> None:
        """It is over: C{moved} is from now on what the destination has written, exactly."""
        if self.final is None:
            everything = self.sent + self.row.redirected
            try:
                all_written = self.settle()
                self.final = everything if all_written else max(self.sent, written(self.target.sock) - self._base)
            except OSError:
                self.final = everything
