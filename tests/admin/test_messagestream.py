"""Tests for sniproxy.admin.messagestream."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin import messagestream
from sniproxy.admin.messagestream import JSON_LINES, MessageStream


class FakeRequest:
    """A request. @ivar most: bytes after which it asks its producer to pause."""

    def __init__(self) -> None:
        self.written = b""
        self.headers: dict[bytes, bytes] = {}
        self.most = 10**9
        self.producer: Any = None

    def setHeader(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def write(self, data: bytes) -> None:
        self.written += data
        if len(self.written) >= self.most:
            self.producer.pauseProducing()


class StreamTests(SynchronousTestCase):
    """MessageStream."""

    def setUp(self) -> None:
        self.request = FakeRequest()
        self.stream = MessageStream(cast(Any, self.request))
        self.stream.start()

    def test_sent(self) -> None:
        """Messages are lines, sent at once."""
        self.assertTrue(self.stream.send("{}", False))
        self.assertTrue(self.stream.send('"\\u00e4"', True))
        self.assertEqual(b'{}\n"\\u00e4"\n', self.request.written)
        self.assertEqual({b"Content-Type": JSON_LINES.encode()}, self.request.headers)

    def test_slow(self) -> None:
        """For a slow client messages wait in order, up to a bound; those that must be sent wait in any case."""
        self.patch(messagestream, "MAX_QUEUED_BYTES", 10)
        self.request.most = 4
        self.assertTrue(self.stream.send("aaa", False))
        later = ("bbbb", False), ("cccc", False), ("d", False), ("e", True)
        sent = [self.stream.send(text, must) for text, must in later]
        self.assertEqual([True, True, False, True], sent)
        self.assertEqual(b"aaa\n", self.request.written)
        self.request.most = 9
        self.stream.resumeProducing()
        self.assertEqual(b"aaa\nbbbb\n", self.request.written)
        self.request.most = 99
        self.stream.resumeProducing()
        self.assertEqual(b"aaa\nbbbb\ncccc\ne\n", self.request.written)
        self.assertTrue(self.stream.send("f", False))

    def test_left(self) -> None:
        """Nothing is sent, and nothing waits, when the client has left."""
        self.stream.pauseProducing()
        self.stream.send("a", False)
        self.stream.stopProducing()
        self.stream.resumeProducing()
        self.assertEqual((False, b""), (self.stream.send("b", True), self.request.written))
