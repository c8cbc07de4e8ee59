"""Tests for sniproxy.resolvers.dns.stream."""

from __future__ import annotations

import struct

import dns.message
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.dns.stream import Stream, stream_factory
from sniproxy.resolvers.dns.wire import A, make_query
from tests.resolvers.answers import reply


class StreamTests(SynchronousTestCase):
    """A query over TCP."""

    def setUp(self) -> None:
        self.said: list[dns.message.Message | str] = []
        self.asked = make_query("a.test", A)
        self.stream = Stream(self.asked, self.said.append)
        self.transport = StringTransport()
        self.stream.makeConnection(self.transport)

    def receive(self, message: bytes) -> None:
        for byte in struct.pack(">H", len(message)) + message:
            self.stream.dataReceived(bytes([byte]))

    def test_question(self) -> None:
        """The query is sent after its length."""
        wire = self.asked.to_wire()
        self.assertEqual(struct.pack(">H", len(wire)) + wire, self.transport.value())

    def test_answer(self) -> None:
        """The answer arrives in pieces; a mismatched answer and the end are reported."""
        self.receive(reply(self.asked, ("a.test.", 7, "A", "192.0.2.1")))
        [answer] = self.said
        self.assertIn("192.0.2.1", str(answer))
        self.receive(b"nonsense")
        self.stream.connectionLost(Failure(ConnectionError()))
        self.assertEqual(["mismatched answer over TCP", "TCP connection closed without an answer"], self.said[1:])

    def test_factory(self) -> None:
        """The factory makes this connection and logs nothing."""
        factory = stream_factory(self.stream)
        self.assertIs(self.stream, factory.buildProtocol(None))
        self.assertFalse(factory.noisy)
