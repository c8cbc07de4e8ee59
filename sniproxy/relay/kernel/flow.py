"""One direction of a kernel relay: reads the kernel's counters, opens windows, and copies what the kernel passes."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import termios
from typing import Any, Protocol

from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor, pending_error
from sniproxy.relay.kernel.sockmap import Counters

READ_BYTES = 1 << 18
"""Bytes of one read. A direction holds at most this many in memory."""

WINDOW_BYTES = 1 << 20
"""The largest window: bytes and segment costs that the kernel may redirect before the process opens the next one."""

MIN_WINDOW_BYTES = 1 << 14
"""The smallest window. With less room the process copies instead."""

_ACKNOWLEDGED = 120  # tcpi_bytes_acked, in tcp_info of linux/tcp.h
_SO_MEMINFO, _SEND_BUFFER, _QUEUED = 55, 3, 5  # of linux/sock_diag.h
_buffer = bytearray(READ_BYTES)


def bytes_written(sock: socket.socket) -> int:
    """Bytes that a TCP socket has accepted since it was created, plus a constant. May be too low while it sends."""
    # In this order, bytes that are acknowledged between the two calls are missed, and not counted twice.
    information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED + 8)
    waiting = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, waiting)
    return int(struct.unpack_from("<Q", information, _ACKNOWLEDGED)[0]) + waiting[0]


def send_room(sock: socket.socket) -> int:
    """Free bytes in a socket's send buffer, as the kernel accounts for them."""
    memory = struct.unpack("9I", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))
    return int(memory[_SEND_BUFFER]) - int(memory[_QUEUED])


class KernelSideOwner(Protocol):
    """The relay, as its two sides call it."""

    def pump(self, flow: Flow) -> None:
        """The source has bytes, or the destination has room."""

    def lost(self, side: KernelSide, error: OSError) -> None:
        """The side's connection is broken."""


class KernelSide(SocketDescriptor):
    """One of the two sockets of a tunnel.

    @ivar events: the epoll events that L{sniproxy.relay.kernel.watch} waits for.
    """

    __slots__ = ("events", "inbound", "name", "outbound", "relay")

    inbound: Flow
    outbound: Flow

    def __init__(self, sock: socket.socket, name: str, relay: KernelSideOwner) -> None:
        super().__init__(sock)
        self.name = name
        self.relay = relay
        self.events = 0

    def doRead(self) -> None:
        self.relay.pump(self.inbound)

    def doWrite(self) -> None:
        self.relay.pump(self.outbound)

    def connectionLost(self, reason: Failure) -> None:
        self.relay.lost(self, pending_error(self.sock))


class Flow:
    """Bytes from one side to the other.

    @ivar row: the kernel's counters. @ivar held: bytes read and not sent yet.
    @ivar received: bytes read from the source, with the head. @ivar sent: how many of them were sent.
    @ivar eof: the source has sent a FIN. @ivar ended: the FIN was passed on to the destination.
    @ivar blocked: the source is not read because the destination's send buffer is full.
    @ivar retries: consecutive waits for the kernel to write. @ivar retry_timer: the current wait, or None.
    @ivar final: C{moved} after L{freeze}; None before.
    """

    __slots__ = (
        "_base",
        "_confirmed",
        "_first",
        "blocked",
        "ended",
        "eof",
        "final",
        "held",
        "received",
        "retries",
        "retry_timer",
        "row",
        "sent",
        "source",
        "target",
    )  # fmt: skip

    def __init__(self, source: KernelSide, target: KernelSide, row: Counters, head: bytes) -> None:
        self.source = source
        self.target = target
        self.row = row
        self.held: bytes | memoryview = head
        self.received = self._first = len(head)
        self.sent = 0
        self.eof = False
        self.ended = False
        self.blocked = False
        self.retries = 0
        self.retry_timer: Any = None
        self.final: int | None = None
        self._base = bytes_written(target.sock)
        self._confirmed = 0

    @property
    def moved(self) -> int:
        """Bytes written to the destination. Until L{freeze} it includes bytes that the kernel has yet to write."""
        return self.sent + self.row.redirected if self.final is None else self.final

    def all_written(self) -> bool:
        """Whether the destination socket has accepted all redirected and sent bytes. L{flush} may run only then."""
        redirected = self.row.redirected
        if redirected == self._confirmed:
            return True
        if bytes_written(self.target.sock) - self._base < redirected + self.sent:
            return False
        self._confirmed = redirected
        return True

    def fill(self) -> int:
        """Read bytes that the kernel passed. @return: the count, 0 for a FIN. @raise OSError: the source's error."""
        count = self.source.sock.recv_into(_buffer)
        if count:
            self.received += count
            piece = memoryview(_buffer)[:count]
            # All flows share the buffer, so bytes that cannot be sent at once are copied out of it.
            self.held = piece if self.row.redirected == self._confirmed else bytes(piece)
        return count

    @property
    def has_unread(self) -> bool:
        """Whether the kernel has passed bytes that were not read yet. A FIN can be reported before them."""
        return self.received - self._first < self.row.passed

    def flush(self) -> None:
        """Send held bytes with one call, and keep the rest. @raise OSError: the destination's error."""
        count = 0
        try:
            count = self.target.sock.send(self.held)
        finally:
            rest = self.held[count:]
            self.held = bytes(rest)
            self.sent += count
        if self.sent > self._first:
            self.row.set_forwarded(self.sent - self._first)

    def open_window(self) -> bool:
        """Let the kernel redirect as much as half of the destination's send buffer has room for. The kernel accounts in
        several ways, and bytes that do not fit would block the other direction.

        @return: whether the window is open and the program notifies the process when it passes bytes.
        """
        if not self.all_written():  # unwritten bytes take room of unknown size: the old window stays
            return self.row.attached
        budget = min(WINDOW_BYTES, send_room(self.target.sock) // 2)
        self.row.open_window(budget if budget >= MIN_WINDOW_BYTES else 0)
        return self.row.attached and budget >= MIN_WINDOW_BYTES

    def freeze(self) -> None:
        """The flow is over. From now on C{moved} is exactly what the destination socket has accepted."""
        if self.final is None:
            everything = self.sent + self.row.redirected
            try:
                all_written = self.all_written()
                self.final = everything if all_written else max(self.sent, bytes_written(self.target.sock) - self._base)
            except OSError:
                self.final = everything
