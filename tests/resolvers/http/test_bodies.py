"""Tests for sniproxy.resolvers.http.bodies."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone

from sniproxy.resolvers.http.bodies import BodyTooLong, CollectedBody, ReceiverFailed, StreamedBody


class Connection(StringTransport):
    """A connection that can be aborted."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Proxied:
    """The transport that Twisted gives a body. @ivar _producer: the connection; None after the end."""

    def __init__(self, connection: Connection | None) -> None:
        self._producer = connection


class BodyTests(SynchronousTestCase):
    """Bodies as a whole."""

    def body(self, most: int = 10) -> tuple[CollectedBody, Connection]:
        connection, body = Connection(), CollectedBody(most)
        body.makeConnection(Proxied(connection))
        return body, connection

    def test_whole(self) -> None:
        """All parts of a body."""
        body, connection = self.body()
        body.dataReceived(b"01234")
        body.dataReceived(b"56789")
        body.connectionLost(Failure(ResponseDone()))
        self.assertEqual(b"0123456789", self.successResultOf(body.done))
        self.assertFalse(connection.aborted)

    def test_too_long(self) -> None:
        """A body that is too long ends the connection."""
        body, connection = self.body()
        body.dataReceived(b"0123456789")
        body.dataReceived(b"0")
        self.assertIn("10 bytes", str(self.failureResultOf(body.done, BodyTooLong).value))
        self.assertTrue(connection.aborted)
        body.connectionLost(Failure(ConnectionLost()))

    def test_cut(self) -> None:
        """A body that is cut is an error."""
        body, _ = self.body()
        body.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(body.done, ConnectionLost)

    def test_cancelled(self) -> None:
        """A cancellation ends the connection; one without a connection does not fail."""
        body, connection = self.body()
        body.done.cancel()
        self.failureResultOf(body.done, CancelledError)
        self.assertTrue(connection.aborted)
        without = CollectedBody(1)
        without.done.cancel()
        self.failureResultOf(without.done, CancelledError)


class StreamTests(SynchronousTestCase):
    """Bodies part by part."""

    def test_parts(self) -> None:
        """The receiver gets the beginning and each part; the end is an empty result."""
        parts: list[bytes] = []
        body = StreamedBody(parts.append)
        body.makeConnection(Proxied(Connection()))
        body.dataReceived(b"a")
        body.dataReceived(b"b")
        body.connectionLost(Failure(ResponseDone()))
        self.assertEqual([b"", b"a", b"b"], parts)
        self.assertEqual(b"", self.successResultOf(body.done))

    def test_receiver_fails(self) -> None:
        """An exception of the receiver ends the connection, and is the result; it gets no further part."""
        parts: list[bytes] = []

        def receive(data: bytes) -> None:
            parts.append(data)
            if data:
                raise KeyError(data)

        connection = Connection()
        body = StreamedBody(receive)
        body.makeConnection(Proxied(connection))
        body.dataReceived(b"a")
        body.dataReceived(b"b")
        self.assertIsInstance(self.failureResultOf(body.done, ReceiverFailed).value.cause, KeyError)
        self.assertEqual(([b"", b"a"], True), (parts, connection.aborted))
