"""Detects peers that leave while their bytes are not read.

These are clients whose tunnel is not open yet, and sides of a tunnel that are blocked or have ended. Twisted's reactor
is level-triggered and would report their unread bytes or their FIN in every round. So they are in an epoll set of their
own, which is one reader of the reactor (epoll(7): a set is readable when a socket in it is ready). It reports no bytes,
and an end (FIN) or a loss (RST) once, because it is edge-triggered.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.net.descriptor import SocketDescriptor, end_failed
from sniproxy.util.perreactor import PerReactor
from sniproxy.util.reactor import IReactor

CLOSED = "it closed the connection"
"""The reason for a client that sent a FIN."""

BATCH = 128
"""Maximum ends handled before the reactor serves other descriptors."""

_BROKEN = select.EPOLLERR | select.EPOLLHUP  # always reported
_LOSS = select.EPOLLET
_ENDS = select.EPOLLRDHUP | _LOSS


class Watched(Protocol):
    """A socket in the set."""

    fd: int

    def peer_left(self, broken: bool) -> None:
        """The peer has left. @param broken: both sides have ended, or the connection is lost."""

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops, or L{peer_left} raised an exception."""


@implementer(IReadDescriptor)
class EndWatch:
    """The set of one reactor; see L{end_watch_of}.

    It is open while it has sockets, or between L{keep_open} and L{allow_close}: a proxy keeps it open, so that not each
    connection opens it.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._set: select.epoll | None = None
        self._watched: dict[int, Watched] = {}
        self._holds = 0

    def keep_open(self) -> None:
        """Keep the set open. @raise OSError: no descriptor is left."""
        self._open()
        self._holds += 1

    def allow_close(self) -> None:
        """The counterpart of L{keep_open}."""
        self._holds -= 1
        self._close_if_idle()

    def watch(self, peer: Watched, fin: bool = False) -> None:
        """Report the loss of the connection. If it is lost or watched already, the next round reports it again.

        A socket for which the system has no room is not watched.

        @param fin: also report that the peer has ended its side.
        """
        events = _ENDS if fin else _LOSS
        try:
            ends = self._open()
            if self._watched.get(peer.fd) is peer:
                ends.modify(peer.fd, events)
            else:
                ends.register(peer.fd, events)
                self._watched[peer.fd] = peer
        except OSError:  # epoll_ctl(2): no memory, or too many are watched
            self._close_if_idle()

    def unwatch(self, peer: Watched) -> None:
        """Report nothing any more. Does nothing if the socket is not watched. Call this before the socket is closed."""
        if self._set is not None and self._watched.get(peer.fd) is peer:
            del self._watched[peer.fd]
            self._set.unregister(peer.fd)
            self._close_if_idle()

    def fileno(self) -> int:
        return -1 if self._set is None else self._set.fileno()

    def logPrefix(self) -> str:
        return "ends"

    def doRead(self) -> None:
        assert self._set is not None
        for fd, events in self._set.poll(0, BATCH):
            peer = self._watched.get(fd)
            if peer is not None:  # an earlier event of this round may have ended it
                try:
                    peer.peer_left(bool(events & _BROKEN))
                except Exception:
                    end_failed(peer)

    def connectionLost(self, reason: Failure) -> None:
        for peer in list(self._watched.values()):
            peer.connectionLost(reason)

    def _open(self) -> select.epoll:
        if self._set is None:
            self._set = select.epoll()
            try:
                self._reactor.addReader(self)
            except OSError:
                self._set.close()
                self._set = None
                raise
        return self._set

    def _close_if_idle(self) -> None:
        if self._set is not None and not self._holds and not self._watched:
            self._reactor.removeReader(self)
            self._set.close()
            self._set = None


end_watch_of = PerReactor(EndWatch)
"""The set of a reactor."""


class ClientWatch(SocketDescriptor):
    """Watches a client's socket for its end (FIN) or its loss (RST), and leaves its bytes unread.

    @param half_close: the client may end its side and still wait for an answer: a FIN counts only when no unread byte
        precedes it.
    @param left: receives the reason, at most once, from the reactor and never from within L{__init__}.
    """

    __slots__ = ("_ends", "_half_close", "_left")

    def __init__(self, reactor: IReactor, sock: socket.socket, half_close: bool, left: Callable[[str], None]) -> None:
        super().__init__(sock)
        self._half_close = half_close
        self._left = left
        self._ends: EndWatch = end_watch_of(reactor)
        self._ends.watch(self, fin=True)

    def stop(self) -> None:
        """Stop watching. The socket stays its owner's."""
        self._ends.unwatch(self)

    def peer_left(self, broken: bool) -> None:
        """See L{Watched}."""
        if broken:
            self._tell_loss()
            return
        try:
            unread = bool(self.sock.recv(1, socket.MSG_PEEK))
        except OSError as error:
            self._tell(error.strerror or CLOSED)
            return
        if not unread or not self._half_close:
            self._tell(CLOSED)

    def connectionLost(self, reason: Failure) -> None:
        self._tell_loss()

    def _tell_loss(self) -> None:
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number == errno.EPIPE:  # Linux's name for a reset that comes after a FIN
            number = errno.ECONNRESET
        self._tell(os.strerror(number) if number else CLOSED)

    def _tell(self, why: str) -> None:
        self.stop()
        self._left(why)
