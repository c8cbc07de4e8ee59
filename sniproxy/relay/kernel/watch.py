"""Waits for the sockets of kernel relays with one epoll, which is a single reader of the reactor.

The kernel wakes a socket's waiters for each segment that arrives, also for one that it redirects. An epoll that waits
for bytes would wake the process for nothing. So for a socket whose bytes the kernel redirects, it waits for the end
only (L{ReadyWatch.watch_end}), and the program names the socket in its ring buffer (L{sniproxy.relay.kernel.ring}) when
there are bytes to read. An epoll without requested events still reports errors, so that a reset of a socket that is
neither read nor written is noticed.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.relay.kernel.flow import KernelSide
from sniproxy.relay.kernel.ring import Ring
from sniproxy.relay.poller import BATCH, ENDS, IN, OUT, failed
from sniproxy.util.reactor import IReactor

_ERROR: int = getattr(select, "EPOLLERR", 8)
_EDGE: int = getattr(select, "EPOLLET", 1 << 31)


@implementer(IReadDescriptor)
class ReadyWatch:
    """Calls a side when its socket is readable or writable, or broken. It is in the reactor only while it has sides.

    @param ring: of the L{SocketMap} that has the sides' sockets.
    """

    def __init__(self, reactor: IReactor, ring: Ring) -> None:
        self._reactor = reactor
        self._ring = ring
        self._epoll = select.epoll()
        self._epoll.register(ring.fileno(), IN)
        self._sides: dict[int, KernelSide] = {}
        self._slots: dict[int, KernelSide] = {}

    def add(self, side: KernelSide) -> None:
        """Watch a side, at first for bytes. @raise OSError: the kernel refuses another watch (epoll_ctl(2))."""
        self._epoll.register(side.fd, IN)
        if not self._sides:
            self._reactor.addReader(self)
        self._sides[side.fd] = self._slots[side.inbound.row.slot] = side
        side.events = IN

    def remove(self, side: KernelSide) -> None:
        """Watch a side no longer. Call this before its socket is closed."""
        if self._sides.get(side.fd) is side:
            del self._sides[side.fd], self._slots[side.inbound.row.slot]
            self._epoll.unregister(side.fd)
            if not self._sides:
                self._reactor.removeReader(self)

    def watch_read(self, side: KernelSide, wanted: bool) -> None:
        """Watch for bytes and for a FIN, or no longer."""
        self._want(side, side.events & OUT | (IN if wanted else 0))

    def watch_write(self, side: KernelSide, wanted: bool) -> None:
        """Watch for room in the send buffer, or no longer."""
        self._want(side, side.events & ~OUT | (OUT if wanted else 0))

    def watch_end(self, side: KernelSide) -> None:
        """Watch for a FIN only, and for the side's slot in the ring.

        It always calls epoll_ctl(2), which is a memory barrier (C{smp_mb} in C{ep_modify}): counters that are read
        after it are newer than those that were written before it.
        """
        self._modify(side, side.events & OUT | ENDS)

    def close(self) -> None:
        """Close the epoll. Call this after the last side was removed."""
        self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "ReadyWatch"

    def doRead(self) -> None:
        for descriptor, events in self._epoll.poll(0, BATCH):
            if descriptor == self._ring.fileno():
                self._read_ring()
                continue
            side = self._sides.get(descriptor)
            if side is not None and events & _ERROR and not events & IN:
                self._call(side, partial(side.connectionLost, Failure(ConnectionError("hung up"))))
                continue
            # A hang-up without an error means that both ends have sent a FIN. A side that reads learns that by reading.
            if side is not None and events & side.events & ~OUT:
                self._call(side, side.doRead)
            if side is not None and events & OUT:
                self._call(side, side.doWrite)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is stopping."""

    def _read_ring(self) -> None:
        slots, full = self._ring.read()
        # The ring was full, so the program may have failed to name others.
        named = list(self._sides.values()) if full else [self._slots[slot] for slot in slots if slot in self._slots]
        for side in named:
            if self._sides.get(side.fd) is side:
                self._call(side, side.doRead)

    def _want(self, side: KernelSide, events: int) -> None:
        if events != side.events:
            self._modify(side, events)

    def _modify(self, side: KernelSide, events: int) -> None:
        side.events = events
        # Edge-triggered if the socket is not read: level-triggered, a FIN would be reported in every round.
        self._epoll.modify(side.fd, events if events & (IN | OUT) else events | _EDGE)

    @staticmethod
    def _call(side: KernelSide, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # it must not affect other tunnels
            failed(side.connectionLost)
