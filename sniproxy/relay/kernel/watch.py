"""What the sockets of tunnels are waited for: by one epoll, which to the reactor is a single reader.

The kernel tells a socket's waiters of each segment that arrives, also of one that it has forwarded. An epoll that asks
for bytes has its sleeping process woken by that, for nothing. So a socket whose bytes the kernel forwards I{rests}: it
is asked for its end only, and the program's ring (L{sniproxy.relay.kernel.ring}) names what has to be read. An epoll
that is asked for nothing still tells of errors: where nobody reads and nobody sends, who else would hear of a reset?
"""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.relay.kernel.flow import KernelSide
from sniproxy.relay.kernel.ring import Ring
from sniproxy.relay.poller import BATCH, ENDS, IN, OUT, failed

_ERROR: int = getattr(select, "EPOLLERR", 8)
_EDGE: int = getattr(select, "EPOLLET", 1 << 31)


@implementer(IReadDescriptor)
class ReadyWatch:
    """Tells sides what they want to know. It stands in the reactor only while it has any.

    @param ring: of the gate that has let their sockets in.
    """

    def __init__(self, reactor: Any, ring: Ring) -> None:
        self._reactor = reactor
        self._ring = ring
        self._epoll = select.epoll()
        self._epoll.register(ring.fileno(), IN)
        self._sides: dict[int, KernelSide] = {}
        self._slots: dict[int, KernelSide] = {}

    def add(self, side: KernelSide) -> None:
        """Tell it of bytes. @raise OSError: the system has no room for it."""
        self._epoll.register(side.fd, IN)
        if not self._sides:
            self._reactor.addReader(self)
        self._sides[side.fd] = self._slots[side.inbound.row.slot] = side
        side.wants = IN

    def remove(self, side: KernelSide) -> None:
        """Before it is closed."""
        if self._sides.get(side.fd) is side:
            del self._sides[side.fd], self._slots[side.inbound.row.slot]
            self._epoll.unregister(side.fd)
            if not self._sides:
                self._reactor.removeReader(self)

    def reads(self, side: KernelSide, wanted: bool) -> None:
        """Whether to tell it of bytes, and of an end."""
        self._want(side, side.wants & OUT | (IN if wanted else 0))

    def writes(self, side: KernelSide, wanted: bool) -> None:
        """Whether to tell it of room."""
        self._want(side, side.wants & ~OUT | (OUT if wanted else 0))

    def rest(self, side: KernelSide) -> None:
        """Tell it of its end, and when the ring names it.

        It is always a call, for the sake of its memory barrier (C{smp_mb} in C{ep_modify}): what is looked at from now
        on is newer than what was written before.
        """
        self._modify(side, side.wants & OUT | ENDS)

    def close(self) -> None:
        """Nobody is left."""
        self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "Watch"

    def doRead(self) -> None:
        for descriptor, events in self._epoll.poll(0, BATCH):
            if descriptor == self._ring.fileno():
                self._rung()
                continue
            side = self._sides.get(descriptor)
            if side is not None and events & _ERROR and not events & IN:
                self._tell(side, partial(side.connectionLost, Failure(ConnectionError("hung up"))))
                continue
            # Without an error a hang-up says only that both ends have ended, of which those that read hear anyway.
            if side is not None and events & side.wants & ~OUT:
                self._tell(side, side.doRead)
            if side is not None and events & OUT:
                self._tell(side, side.doWrite)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is closing down."""

    def _rung(self) -> None:
        slots, full = self._ring.take()
        # Into a full ring the program could not put all that it had to say.
        named = list(self._sides.values()) if full else [self._slots[slot] for slot in slots if slot in self._slots]
        for side in named:
            if self._sides.get(side.fd) is side:
                self._tell(side, side.doRead)

    def _want(self, side: KernelSide, events: int) -> None:
        if events != side.wants:
            self._modify(side, events)

    def _modify(self, side: KernelSide, events: int) -> None:
        side.wants = events
        # By edges, where nobody takes away what is told: else a socket that has ended would be told of for ever.
        self._epoll.modify(side.fd, events if events & (IN | OUT) else events | _EDGE)

    @staticmethod
    def _tell(side: KernelSide, how: Callable[[], None]) -> None:
        try:
            how()
        except Exception:  # the others must not pay for it
            failed(side.connectionLost)
