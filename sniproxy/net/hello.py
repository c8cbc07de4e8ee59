"""Waiting for a connection's ClientHello."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor, pending_error
from sniproxy.wire.clienthello import ClientHello, ClientHelloReader, HelloError

_READ = 65_536


class ClientGone(Exception):
    """The client ended or lost the connection before its hello was whole."""


class HelloTimeout(Exception):
    """The hello was not whole in time."""


class HelloStage(SocketDescriptor):
    """Reads a client's socket until the hello is whole. The socket stays its owner's.

    @ivar received: all bytes that have come, as they came: the hello, and what came behind it in the same read.
    @param seconds: the hello's deadline, counted from now.
    """

    __slots__ = ("_done", "_reactor", "_reader", "_timer", "received")

    def __init__(self, reactor: Any, sock: socket.socket, seconds: float) -> None:
        super().__init__(sock)
        self.received = bytearray()
        self._reactor = reactor
        self._reader = ClientHelloReader()
        self._done: Deferred[ClientHello] = Deferred(lambda _: self._stop())
        self._timer = reactor.callLater(seconds, self._fail, HelloTimeout(f"no whole hello within {seconds:g} s"))
        reactor.addReader(self)

    def hello(self) -> Deferred[ClientHello]:
        """Fires with the hello.

        @raise HelloError: it cannot be read. @raise HelloTimeout: it did not come in time.
        @raise ClientGone: the client left.
        """
        return self._done

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
        try:
            hello = self._reader.feed(data)
        except HelloError as error:
            self._fail(error)
            return
        if hello is not None:
            self._stop()
            self._done.callback(hello)

    def connectionLost(self, reason: Failure) -> None:
        self._fail(ClientGone(pending_error(self.sock).strerror))

    def _fail(self, error: Exception) -> None:
        self._stop()
        if not self._done.called:
            self._done.errback(error)

    def _stop(self) -> None:
        self._reactor.removeReader(self)
        if self._timer.active():
            self._timer.cancel()
