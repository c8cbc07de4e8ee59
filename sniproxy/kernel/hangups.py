"""Sockets that nobody reads at the moment, and that must still be heard when their connection breaks.

Where the kernel forwards, no send of ours fails to tell of it, and Twisted's reactors hear only of what is read or
written. An epoll asked for nothing tells of errors all the same; it is one reader in the reactor.
"""

from __future__ import annotations

import select
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.net.descriptor import SocketDescriptor


@implementer(IReadDescriptor)
class Hangups:
    """Calls C{connectionLost} of the sides that it is given. It stands in the reactor only while it has any."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._sides: dict[int, SocketDescriptor] = {}

    def add(self, side: SocketDescriptor) -> None:
        """Tell this side when its connection breaks."""
        if self._sides.get(side.fd) is side:
            return
        if not self._sides:
            self._reactor.addReader(self)
        self._sides[side.fd] = side
        self._epoll.register(side.fd, select.EPOLLET)

    def remove(self, side: SocketDescriptor) -> None:
        """Before it is closed."""
        if self._sides.get(side.fd) is not side:
            return
        del self._sides[side.fd]
        self._epoll.unregister(side.fd)
        if not self._sides:
            self._reactor.removeReader(self)

    def close(self) -> None:
        """Nobody is left."""
        self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "Hangups"

    def doRead(self) -> None:
        gone = Failure(ConnectionError("hung up"))
        for descriptor, event in self._epoll.poll(0):
            side = self._sides.get(descriptor)
            # Without an error both ends have just ended, and what came before may still have to be passed on.
            if side is not None and event & select.EPOLLERR:
                self.remove(side)
                side.connectionLost(gone)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is closing down."""
