"""Reads a client's first message until it is complete or wrong, or the deadline passes, or the client leaves."""

from __future__ import annotations

import socket
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.events import Refusal, Result
from sniproxy.net.descriptor import SocketDescriptor, pending_error
from sniproxy.util.buffered import BufferAccount, Share
from sniproxy.util.reactor import IReactor
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

T = TypeVar("T")

READ_BYTES = 65_536
"""Maximum bytes of one read."""


class ClientGone(Exception):
    """The client closed or lost the connection before its first message was complete."""


class ReadTimeout(Exception):
    """The message was not complete in time."""


class FirstBytes(SocketDescriptor, Generic[T]):
    """Reads a client's socket until L{parse} returns a message. The caller keeps ownership of the socket.

    @ivar received: all bytes read, including those behind the message in the same read.
    @param seconds: the deadline, counted from L{first}. @param account: counts the bytes of an incomplete message.
    @param what: the message's name, for errors. @param spent: seconds of the deadline that have passed already.
    """

    __slots__ = ("_account", "_deadline", "_done", "_left", "_reactor", "_seconds", "_waiting", "_what", "received")

    def __init__(
        self,
        reactor: IReactor,
        sock: socket.socket,
        seconds: float,
        account: BufferAccount,
        what: str,
        spent: float = 0.0,
    ) -> None:
        super().__init__(sock)
        self.received: bytes | bytearray = b""
        self._account = account
        self._waiting: Share | None = None
        self._reactor = reactor
        self._done: Deferred[T] | None = None
        self._seconds = seconds
        self._left = max(seconds - spent, 0.0)
        self._what = what
        self._deadline: Deadline | None = None

    def at_once(self) -> T | None:
        """Read what has arrived, without the reactor, a deadline or a Deferred. @return: None: the message is not
        complete.

        @raise ClientGone: the client left. L{parse} may raise others.
        """
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientGone(error.strerror) from error
        if not data:
            raise ClientGone("it closed the connection")
        return self.take(data)

    def take(self, data: bytes) -> T | None:
        """Parse bytes that were read. @return: None: the message is not complete. L{parse} may raise."""
        if not self.received:
            self.received = data  # usually the only read
        else:
            self.received = self.received if isinstance(self.received, bytearray) else bytearray(self.received)
            self.received += data
        found = self.parse(data)
        if found is None:
            self._waiting = self._waiting or Share(self._account)
            self._waiting.holds(self.kept())
        return found

    def first(self) -> Deferred[T]:
        """Wait for the message. @return: fires with it, at once if it has arrived, without work for the reactor.

        @raise ReadTimeout: the deadline passed. @raise ClientGone: the client left. @raise Refusal: the system cannot
            watch the socket. L{parse} may raise others.
        """
        done = self._done
        if done is None:
            done = self._done = Deferred(lambda _: self._stop())
        self.doRead()
        if not done.called:
            try:
                self._reactor.addReader(self)
            except OSError as error:  # epoll_ctl(2): no memory, or too many are watched
                self._fail(Refusal(Result.LIMIT, f"cannot watch its socket: {error.strerror}"))
                return done
            self._deadline = timer_wheel_of(self._reactor).after(self._left, self._too_late)
        return done

    def parse(self, data: bytes) -> T | None:
        """Parse the next bytes. @return: the message. None: it is not complete. An exception ends the reading."""
        raise NotImplementedError

    def kept(self) -> int:
        """Bytes in memory while the message is incomplete, for ``max_buffered``."""
        return len(self.received)

    def doRead(self) -> None:
        try:
            found = self.at_once()
        except Exception as error:
            self._fail(error)
            return
        if found is not None:
            self._stop()
            if self._done is not None:
                self._done.callback(found)

    def connectionLost(self, reason: Failure) -> None:
        self._fail(ClientGone(pending_error(self.sock).strerror))

    def _too_late(self) -> None:
        self._fail(ReadTimeout(f"no complete {self._what} within {self._seconds:g} s"))

    def _fail(self, error: Exception) -> None:
        self._stop()
        if self._done is not None and not self._done.called:
            self._done.errback(error)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.holds(0)
        if self._deadline is not None:
            self._deadline.cancel()
            self._reactor.removeReader(self)
