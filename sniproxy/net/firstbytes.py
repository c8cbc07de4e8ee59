"""Waiting for what a client says first: until it is whole, wrong, late, or the client has gone."""

from __future__ import annotations

import socket
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.buffered import Share
from sniproxy.net.descriptor import SocketDescriptor, pending_error

T = TypeVar("T")

_READ = 65_536


class ClientGone(Exception):
    """The client ended or lost the connection before it had said the first thing."""


class TooLate(Exception):
    """It was not whole in time."""


class FirstBytes(SocketDescriptor, Generic[T]):
    """Reads a client's socket until L{taken} has what it wants. The socket stays its owner's.

    @ivar received: all bytes that have come, as they came: what was wanted, and what came behind it in the same read.
    @param seconds: the deadline, counted from now. @param what: what is waited for, in words.
    """

    __slots__ = ("_done", "_reactor", "_timer", "_waiting", "received")

    def __init__(self, reactor: Any, sock: socket.socket, seconds: float, what: str) -> None:
        super().__init__(sock)
        self.received = bytearray()
        self._waiting = Share()
        self._reactor = reactor
        self._done: Deferred[T] = Deferred(lambda _: self._stop())
        self._timer = reactor.callLater(seconds, self._fail, TooLate(f"no whole {what} within {seconds:g} s"))
        reactor.addReader(self)

    def first(self) -> Deferred[T]:
        """Fires with it.

        @raise TooLate: it did not come in time. @raise ClientGone: the client left. Others are of L{taken}.
        """
        return self._done

    def taken(self, data: bytes) -> T | None:
        """Take the next bytes. @return: what was wanted; None: it is not whole. What is raised ends the waiting."""
        raise NotImplementedError

    def doRead(self) -> None:
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(ClientGone(error.strerror))
            return
        if not data:
            self._fail(ClientGone("it ended the connection"))
            return
        self.received += data
        self._waiting.holds(len(self.received))
        try:
            found = self.taken(data)
        except Exception as error:
            self._fail(error)
            return
        if found is not None:
            self._stop()
            self._done.callback(found)

    def connectionLost(self, reason: Failure) -> None:
        self._fail(ClientGone(pending_error(self.sock).strerror))

    def _fail(self, error: Exception) -> None:
        self._stop()
        if not self._done.called:
            self._done.errback(error)

    def _stop(self) -> None:
        self._waiting.holds(0)
        self._reactor.removeReader(self)
        if self._timer.active():
            self._timer.cancel()
