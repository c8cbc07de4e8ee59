"""Reads the bodies of answers: as a whole, or part by part as they arrive."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone


class BodyTooLong(Exception):
    """A body has more bytes than allowed. The text has the limit."""


class CollectedBody(Protocol):
    """Collects a body of bounded size. @ivar done: fires with the body. Cancelling it ends the connection."""

    def __init__(self, max_body_bytes: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._max_body_bytes = max_body_bytes
        self._parts: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > self._max_body_bytes:
            self._end(Failure(BodyTooLong(f"answer has more than {self._max_body_bytes} bytes")))
            self._abort()
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(b"".join(self._parts) if reason.check(ResponseDone) else reason)

    def _end(self, answer: bytes | Failure) -> None:
        if not self.done.called:
            self.done.callback(answer)

    def _abort(self) -> None:
        # Twisted gives a body a transport that can only be closed with a TLS handshake, for which a dead peer never
        # answers. Its producer is the connection itself.
        connection = getattr(self.transport, "_producer", None) or self.transport
        abort = getattr(connection, "abortConnection", None)
        if abort is not None:
            abort()


class ReceiverFailed(Exception):
    """@ivar cause: the exception of a receiver."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class StreamedBody(CollectedBody):
    """Hands a body on as it arrives."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        super().__init__(0)
        self._receive = receive

    def connectionMade(self) -> None:
        self.dataReceived(b"")

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        try:
            self._receive(data)
        except Exception as error:
            self._end(Failure(ReceiverFailed(error)))
            self._abort()
