"""Runs a TLS handshake, as client or server."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.net.descriptor import WAIT, SocketDescriptor, pending_error
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.util.buffered import BufferAccount, Share
from sniproxy.util.reactor import IReactor
from sniproxy.util.timerwheel import timer_wheel_of

MAX_RECEIVED_BYTES = 524_288
"""Maximum bytes from a peer before its handshake is complete: several times a large certificate chain."""


class HandshakeError(Exception):
    """The handshake failed; the message gives the reason. @ivar gone: the peer closed or lost the connection."""

    def __init__(self, reason: str, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone


class Handshake(SocketDescriptor):
    """Runs the handshake of one socket. The caller keeps ownership of the socket.

    The peer's bytes count as buffered until the handshake ends. More than L{MAX_RECEIVED_BYTES} make it fail.

    @param seconds: the deadline, counted from now and rounded up to a tick of the timer wheel.
    @param account: counts the peer's bytes.
    """

    __slots__ = ("_done", "_finished", "_reactor", "_received", "_timer", "_tls")

    def __init__(self, reactor: IReactor, sock: TLSSocket, seconds: float, account: BufferAccount) -> None:
        super().__init__(sock)
        self._tls = sock
        self._reactor = reactor
        self._finished = False
        self._received = Share(account)
        self._done: Deferred[None] = Deferred(lambda _: self._stop())
        late = f"TLS handshake not completed within {seconds:.3g} s"
        self._timer = timer_wheel_of(reactor).after(seconds, partial(self._fail, late))

    def run(self) -> Deferred[None]:
        """Start. @return: fires when the handshake is complete and sent. @raise HandshakeError: it failed."""
        try:
            self._reactor.addReader(self)
        except OSError as error:  # epoll_ctl(2): no memory, or too many are watched
            self._fail(f"cannot watch its socket: {error.strerror}")
        else:
            self._step()
        return self._done

    def doRead(self) -> None:
        try:
            count = self._tls.feed()
        except OSError as error:
            if error.errno not in WAIT:
                self._fail(error.strerror, gone=True)
            return
        if count:
            self._received.holds(self._received.bytes + count)
            if self._received.bytes > MAX_RECEIVED_BYTES:
                self._fail(f"it sent more than {MAX_RECEIVED_BYTES} bytes in the TLS handshake")
            else:
                self._step()
        else:
            self._fail("it closed the connection in the TLS handshake", gone=True)

    def doWrite(self) -> None:
        try:
            self._tls.send(b"")
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error.strerror, gone=True)
            return
        self._reactor.removeWriter(self)
        if self._finished:
            self._succeed()

    def connectionLost(self, reason: Failure) -> None:
        self._fail(pending_error(self.sock).strerror, gone=True)

    def _step(self) -> None:
        try:
            self._finished = self._finished or self._tls.do_handshake()
        except OSError as error:
            self._fail(error.strerror)
            return
        if self._tls.waiting:
            self._reactor.addWriter(self)
            if self._finished:  # further bytes wait in the kernel
                self._reactor.removeReader(self)
        elif self._finished:
            self._succeed()

    def _succeed(self) -> None:
        self._stop()
        if not self._done.called:
            self._done.callback(None)

    def _fail(self, reason: str | None, gone: bool = False) -> None:
        self._stop()
        if not self._done.called:
            self._done.errback(HandshakeError(reason or "the connection is broken", gone))

    def _stop(self) -> None:
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._timer.cancel()
        self._received.holds(0)
