"""Detects a client that leaves before its tunnel is open: while its target is resolved, dialled or in a handshake."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor
from sniproxy.relay import poller
from sniproxy.util.reactor import IReactor

CLOSED = "it closed the connection"
"""The reason for a client that sent a FIN."""


class ClientWatch(SocketDescriptor):
    """Watches a client's socket for its end (FIN) or its loss (RST), and leaves its bytes unread.

    A FIN behind unread bytes is seen where the system has epoll; elsewhere only one that no byte precedes. A socket
    that epoll has no room for is not watched.

    @param half_close: the client may end its side and still wait for an answer: a FIN counts only when no unread byte
        precedes it.
    @param left: receives the reason, at most once, from the reactor and never from within L{__init__}.
    """

    __slots__ = ("_half_close", "_left", "_poller")

    def __init__(self, reactor: IReactor, sock: socket.socket, half_close: bool, left: Callable[[str], None]) -> None:
        super().__init__(sock)
        self._half_close = half_close
        self._left = left
        self._poller: poller.Poller | None = poller.poller_of(reactor)
        try:
            self._poller.watch_end(self)
        except OSError:
            self._poller = None

    def stop(self) -> None:
        """Stop watching. The socket stays its owner's."""
        if self._poller is not None:
            self._poller.release(self)
            self._poller = None

    def ready(self, events: int) -> bool:
        """See L{poller.Ready}."""
        if events & poller.BROKEN:
            self._gone()
        elif events & poller.ENDS:
            self.doRead()
        return False

    def doRead(self) -> None:
        try:
            unread = bool(self.sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return
        except OSError as error:
            self._tell(error.strerror or CLOSED)
            return
        if not unread or (self._poller is not None and self._poller.tells_all and not self._half_close):
            self._tell(CLOSED)
        elif self._poller is not None and not self._poller.tells_all:
            self.stop()  # a level-triggered reactor would report the unread bytes in each round

    def connectionLost(self, reason: Failure) -> None:
        self._gone()

    def _gone(self) -> None:
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number == errno.EPIPE:  # Linux's name for a reset that comes after a FIN
            number = errno.ECONNRESET
        self._tell(os.strerror(number) if number else CLOSED)

    def _tell(self, why: str) -> None:
        self.stop()
        self._left(why)
