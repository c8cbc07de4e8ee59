"""Tests for sniproxy.inspector.capture.conversations."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.conversations import TLS_CURE, Conversations
from sniproxy.inspector.capture.packets import Endpoint
from sniproxy.inspector.capture.streams import CapturedConnection, Data, Ended, Gap, Piece
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.events import Event, Fields
from tests.inspector.capture.building import BROKER, CLIENT, endpoint
from tests.inspector.capture.commands import CONNECT, CONNECTED, LOOKUP, SEND
from tests.support.hellos import NAME, alpn, hello

NAMED = "127.0.0.1:40000->127.0.0.1:6650"
PING, PONG = write(pb.CommandPing()), write(pb.CommandPong())
FOUND = write(
    pb.CommandLookupTopicResponse(
        request_id=1, response=pb.CommandLookupTopicResponse.Connect, brokerServiceUrl="pulsar://b:6650"
    )
)


def connection(
    opener: int | None = 1, ends: tuple[Endpoint, Endpoint] = (BROKER, CLIENT), earlier: int = 0
) -> CapturedConnection:
    """A connection of CLIENT (1) to BROKER (0)."""
    return CapturedConnection(1, ends, earlier, opener)


class ConversationTests(SynchronousTestCase):
    """Conversations: turns pieces into events."""

    def setUp(self) -> None:
        self.conversations = Conversations()
        self.connection = connection()

    def data(self, sender: int, data: bytes, *, begins: bool = False, time: float = 0.0) -> Data:
        return Data(self.connection, sender, time, data, begins)

    def take(self, *pieces: Piece) -> list[Event]:
        return [event for piece in pieces for event in self.conversations.take(piece)]

    def names(self, events: Iterable[Event]) -> list[str]:
        return [event.name for event in events]

    def test_pulsar(self) -> None:
        """A connection that begins with frames is inspected, named by its ends (client first) and counted."""
        events = self.take(
            self.data(1, CONNECT + LOOKUP, begins=True, time=1.0),
            self.data(0, CONNECTED, begins=True, time=2.0),
            self.data(0, FOUND, time=3.0),
            Ended(self.connection, 4.0, "fin"),
        )
        self.assertEqual(self.names(events), ["connect", "connected", "lookup", "ended"])
        self.assertEqual({event.connection for event in events}, {NAMED})
        self.assertEqual((events[2].fields["topic"], events[2].fields["latency_s"], events[2].time), ("t", 2.0, 3.0))
        self.assertEqual((self.conversations.pulsar, self.conversations.tls), (1, 0))

    def test_small_pieces(self) -> None:
        """Pieces may be as small as a byte each."""
        pieces = [self.data(1, bytes((byte,)), begins=at == 0) for at, byte in enumerate(CONNECT + LOOKUP)]
        pieces += [self.data(0, bytes((byte,)), begins=at == 0) for at, byte in enumerate(CONNECTED + FOUND)]
        self.assertEqual(self.names(self.take(*pieces)), ["connect", "connected", "lookup"])

    def test_both_begin_small(self) -> None:
        """First bytes that were too few are inspected before the following ones."""
        events = self.take(
            self.data(0, CONNECTED[:9], begins=True), self.data(1, CONNECT, begins=True), self.data(0, CONNECTED[9:])
        )
        self.assertEqual(self.names(events), ["connect", "connected"])

    def test_from_the_middle(self) -> None:
        """If the beginning was not captured, a segment that begins with a frame identifies Pulsar."""
        self.connection = connection(None)
        rest = SEND[5:]
        events = self.take(
            self.data(1, rest),
            self.data(1, b"\0\0"),
            self.data(1, LOOKUP),
            self.data(0, FOUND),
        )
        self.assertEqual([(event.name, event.connection) for event in events], [("lookup", NAMED)])

    def test_who_is_the_client(self) -> None:
        """The opener; else the sender of a client's command; else the end not on a port; else the higher port."""
        high = endpoint("10.0.0.1", 50_000), endpoint("10.0.0.2", 50_001)
        for opener, ends, ports, sender, data, client in (
            (0, (BROKER, CLIENT), (), 1, CONNECT, 0),
            (None, (BROKER, CLIENT), (), 0, LOOKUP, 0),
            (None, (BROKER, CLIENT), (), 0, FOUND, 1),
            (None, (BROKER, CLIENT), (), 0, PING, 1),
            (None, (CLIENT, BROKER), (), 0, PING, 0),
            (None, high, (50_001,), 1, PING, 0),
            (None, high, (50_000,), 1, PING, 1),
            (None, high, (), 1, PING, 1),
        ):
            self.connection = connection(opener, ends)
            self.conversations = Conversations(ports, commands=["PING", "LOOKUP", "CONNECT", "LOOKUP_RESPONSE"])
            events = self.take(self.data(sender, data))
            self.assertEqual(events[0].fields["side"], "client" if sender == client else "broker")
            port = ends[client][1]
            self.assertIn(f":{port}->", events[0].connection)

    def test_reused_ports(self) -> None:
        """A later connection of the same ends has a different name."""
        self.connection = connection(earlier=1)
        self.assertEqual(self.take(self.data(1, CONNECT, begins=True))[0].connection, f"{NAMED}#2")

    def test_other(self) -> None:
        """Other protocols are ignored, whatever they send later."""
        self.assertEqual(self.take(self.data(1, b"GET / HTTP/1.1\r\n", begins=True), self.data(1, CONNECT)), [])
        self.assertEqual(self.take(Ended(self.connection, 1.0, "fin")), [])
        self.assertEqual(self.conversations.pulsar, 0)

    def test_ports(self) -> None:
        """With ports, other connections are ignored; those on the ports are Pulsar or TLS."""
        self.conversations = Conversations([6651])
        self.assertEqual(self.take(self.data(1, CONNECT, begins=True), Gap(self.connection, 1, 0.0, 5)), [])
        self.conversations = Conversations([6650])
        events = self.take(self.data(1, b"GET / HTTP/1.1\r\n", begins=True))
        self.assertEqual(self.names(events), ["lost"])
        self.connection = connection(None)
        events = self.take(self.data(1, SEND[20:] + SEND + LOOKUP))
        self.assertEqual(self.names(events), ["gap", "resumed"])

    def test_gap(self) -> None:
        """Gaps are passed to the inspection and counted."""
        events = self.take(
            self.data(1, CONNECT + SEND[:20], begins=True),
            Gap(self.connection, 1, 1.0, 500),
            self.data(1, b"end of something" + LOOKUP),
            Gap(self.connection, 0, 1.0, 7),
            self.data(0, FOUND),
        )
        said = ["connect", "gap", "resumed", "gap", "resumed", "lookup"]
        self.assertEqual(self.names(events), said)
        self.assertEqual([event.fields["side"] for event in events if event.name == "gap"], ["client", "broker"])
        self.assertEqual((self.conversations.gaps, self.conversations.missing), (2, 507))

    def test_gap_at_the_beginning(self) -> None:
        """A connection without its first bytes is recognized by later ones."""
        events = self.take(Gap(self.connection, 1, 0.0, 50), self.data(1, b"middle of it"), self.data(1, LOOKUP))
        self.assertEqual((events, self.conversations.pulsar), ([], 1))
        self.connection = connection()
        self.take(self.data(1, CONNECT[:5], begins=True), Gap(self.connection, 1, 0.0, 50), self.data(1, LOOKUP))
        self.assertEqual(self.conversations.pulsar, 2)

    def test_tls(self) -> None:
        """A TLS connection gives one event with the fields of its hello."""
        greeting = hello(extensions=[alpn(b"h2", b"pulsar")])
        events = self.take(
            self.data(1, greeting[:7], begins=True),
            self.data(1, greeting[7:]),
            self.data(0, b"\x16\x03\x03\x00\x05hello", begins=True),
            self.data(1, b"\x17\x03\x03\x00\x05hello"),
            Ended(self.connection, 1.0, "fin"),
        )
        fields: Fields = {"server_name": NAME, "alpn": ["h2", "pulsar"], "message": TLS_CURE}
        self.assertEqual(events, [Event("tls", 0.0, NAMED, fields)])
        self.assertEqual((self.conversations.pulsar, self.conversations.tls), (0, 1))

    def test_tls_without_hello(self) -> None:
        """Without a complete, valid hello, the event has no server name."""
        for pieces in (
            [self.data(1, b"\x17\x03\x03\x00\x05hello")],
            [self.data(1, hello()[:99], begins=True), Gap(self.connection, 1, 1.0, 9)],
            [self.data(1, hello()[:99], begins=True), Ended(self.connection, 1.0, "rst")],
            [self.data(1, b"\x16\x03\x01\x00\x09" + b"\x02" * 9, begins=True)],
        ):
            self.conversations = Conversations()
            events = self.take(*pieces)
            self.assertEqual([(event.name, event.fields["server_name"]) for event in events], [("tls", None)])
            self.assertEqual(events[0].connection, NAMED)
