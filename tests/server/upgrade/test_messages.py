"""Tests for sniproxy.server.upgrade.messages."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Connection, Proxied
from sniproxy.interfaces import Target
from sniproxy.proxyprotocol.header import Address
from sniproxy.server.upgrade import messages
from sniproxy.server.upgrade.messages import (
    Aborted,
    BadMessage,
    Commit,
    Committed,
    Declined,
    Destination,
    Drain,
    Drains,
    FaultState,
    Held,
    Inherited,
    Message,
    Offer,
    Offered,
    Ready,
    Record,
    Refused,
    Remaining,
    Reopen,
    Socket,
    Stop,
    Took,
    Tunnel,
    decode,
    encode,
    fitting,
)

COUNTS = st.integers(0, 2**63)
SECONDS = st.floats(0, 1e12)
WORDS = st.text(max_size=20)
MAYBE_SECONDS = st.none() | SECONDS

RECORDS = st.builds(
    Record,
    WORDS, SECONDS, WORDS, WORDS, st.none() | WORDS, st.lists(WORDS, max_size=3).map(tuple), st.none() | WORDS, COUNTS,
    MAYBE_SECONDS, MAYBE_SECONDS, MAYBE_SECONDS,
    st.none() | st.tuples(WORDS, st.dictionaries(WORDS, WORDS, max_size=3), st.none() | st.tuples(WORDS, COUNTS)),
    st.none() | COUNTS,
)  # fmt: skip

DESTINATIONS = st.builds(Destination, WORDS, COUNTS, COUNTS, WORDS, st.booleans(), WORDS)

TUNNELS = st.builds(
    Tunnel,
    COUNTS, RECORDS, DESTINATIONS, st.none() | st.tuples(WORDS, st.none() | WORDS), SECONDS, st.booleans(),
    COUNTS, COUNTS, st.integers(0, 3), st.integers(0, 3), COUNTS, COUNTS, st.binary(max_size=16), SECONDS,
)  # fmt: skip

FAULTS = st.builds(FaultState, st.dictionaries(WORDS, WORDS, max_size=3), COUNTS, COUNTS, st.booleans())

MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Offer, st.lists(COUNTS, max_size=3).map(tuple), WORDS, COUNTS, COUNTS),
    st.builds(Socket, COUNTS, WORDS, st.booleans()),
    st.just(Offered()),
    st.builds(Refused, WORDS),
    st.builds(Ready, COUNTS, COUNTS, st.lists(COUNTS, max_size=3).map(tuple)),
    TUNNELS,
    st.builds(Held, st.binary(max_size=100)),
    st.builds(Took, COUNTS),
    st.builds(Declined, COUNTS, WORDS),
    st.builds(
        Commit,
        st.lists(st.builds(Drain, WORDS, SECONDS, st.none() | WORDS), max_size=3).map(tuple),
        st.lists(FAULTS, max_size=3).map(tuple),
    ),
    st.just(Committed()),
    st.builds(Drains, st.lists(st.builds(Drain, WORDS, SECONDS, st.none() | WORDS), max_size=3).map(tuple)),
    st.just(Reopen()),
    st.just(Stop()),
    st.just(Aborted()),
    st.builds(Inherited, COUNTS, COUNTS, COUNTS, MAYBE_SECONDS),
    st.builds(Remaining, COUNTS, MAYBE_SECONDS),
)

TARGET = Target("broker-1.example", 6651, weight=3, label="one", client_formed=True, name="broker-1.internal")


def whole() -> Connection:
    """The record of an open tunnel, with every field that it can have."""
    return Connection(
        "a-1", 1234.5, "main", "192.0.2.1:1000",
        server_name="broker-1.example", alpn=("x", "y"), route="*.example", target=str(TARGET), received=517,
        hello_s=0.25, resolve_s=0.5, connect_s=0.125, upstream=50000,
        proxied=Proxied("10.0.0.1:99", {"authority": "broker-1.example"}, Address("10.0.0.2", 443)),
        bytes_up=11, bytes_down=22, header_sent=True,
    )  # fmt: skip


class PacketTests(SynchronousTestCase):
    """encode and decode."""

    @given(MESSAGES)
    def test_round_trip(self, message: Message) -> None:
        """Each message can be read as it was written."""
        self.assertEqual(message, decode(encode(message)))

    @given(st.binary(max_size=300))
    def test_any_bytes(self, packet: bytes) -> None:
        """Bytes of another program are a message or a BadMessage."""
        try:
            decode(packet)
        except BadMessage:
            pass

    @given(MESSAGES, st.randoms(use_true_random=False))
    def test_damaged(self, message: Message, chance: random.Random) -> None:
        """A damaged or cut message is another message, or a BadMessage."""
        packet = bytearray(encode(message))
        packet[chance.randrange(len(packet))] = chance.randrange(256)
        for damaged in (bytes(packet), bytes(packet[: chance.randrange(len(packet) + 1)])):
            try:
                decode(damaged)
            except BadMessage:
                pass

    def test_unknown(self) -> None:
        """A message of a later version is refused, with the reason."""
        error = self.assertRaises(BadMessage, decode, msgspec.msgpack.encode({"type": "teleport"}))
        self.assertIn("not a message of this protocol: ", str(error))
        self.assertIn("teleport", str(error))

    def test_new_field(self) -> None:
        """A field that this version does not know is ignored."""
        self.assertEqual(Took(3), decode(msgspec.msgpack.encode({"type": "took", "number": 3, "later": [1]})))

    def test_frozen_forms(self) -> None:
        """The first messages never change: all versions read them."""
        offer = {"type": "offer", "versions": [1], "release": "2.0", "pid": 5, "tunnels": 7}
        self.assertEqual(Offer((1,), "2.0", 5, 7), decode(msgspec.msgpack.encode(offer)))
        self.assertEqual(Refused("why"), decode(msgspec.msgpack.encode({"type": "refused", "why": "why"})))
        self.assertEqual(offer, msgspec.msgpack.decode(encode(Offer((1,), "2.0", 5, 7))))
        self.assertEqual({"type": "refused", "why": "x"}, msgspec.msgpack.decode(encode(Refused("x"))))


class RecordTests(SynchronousTestCase):
    """to_record and from_record."""

    def test_whole(self) -> None:
        """The new process writes the record that the old one would have written."""
        packet = encode(tunnel(messages.to_record(whole())))
        found = decode(packet)
        assert isinstance(found, Tunnel)
        self.assertEqual(whole(), messages.from_record(found.record, TARGET, 11, 22))

    def test_bare(self) -> None:
        """A connection through a plaintext listener has no name and no header."""
        bare = Connection("a-2", 1.0, "plain", "unix", target=str(TARGET))
        self.assertEqual(bare, messages.from_record(messages.to_record(bare), TARGET, 0, 0))

    def test_no_destination(self) -> None:
        """A header names the client, and perhaps not where it connected to."""
        record = whole()
        record.proxied = Proxied("10.0.0.1:99", {}, None)
        self.assertEqual(record, messages.from_record(messages.to_record(record), TARGET, 11, 22))


class DestinationTests(SynchronousTestCase):
    """to_destination and from_destination."""

    def test_round_trip(self) -> None:
        """The target has the same text, address and origin."""
        self.assertEqual(TARGET, messages.from_destination(messages.to_destination(TARGET)))

    def test_none(self) -> None:
        """A target that this program does not accept has a reason."""
        for bad in (Destination("", 1, 1, "", False, ""), Destination("h", 70000, 1, "", False, "")):
            error = self.assertRaises(BadMessage, messages.from_destination, bad)
            self.assertIn("a tunnel without a target: ", str(error))

    @given(DESTINATIONS)
    def test_any(self, destination: Destination) -> None:
        """Any destination is a target or a BadMessage."""
        try:
            messages.from_destination(destination)
        except BadMessage:
            pass


class HeldTests(SynchronousTestCase):
    """held."""

    def test_none(self) -> None:
        """No message is sent for no bytes."""
        self.assertEqual([], messages.held(b"", b""))

    def test_parts(self) -> None:
        """Bytes come in their order, in packets that fit into a socket's buffer."""
        up, down = bytes(range(256)) * 700, b"down"
        found = messages.held(up, down)
        self.assertEqual(up + down, b"".join(one.data for one in found))
        self.assertEqual(4, len(found))
        for one in found:
            self.assertLess(len(encode(one)), messages.MAX_PACKET_BYTES)


class FittingTests(SynchronousTestCase):
    """fitting."""

    def test_bound(self) -> None:
        """As many faults as the message has room for are sent."""
        short = FaultState({"action": "cut", "name": "a"}, 1, 0, True)
        self.assertEqual((short, short), fitting([short, short]))
        long = FaultState({"action": "error", "message": "x" * 20_000}, 1, 0, True)
        self.assertEqual((short, long, long, long), fitting([short, long, long, long, long, short]))
        packet = encode(Commit((), fitting([long] * 9)))
        self.assertLess(len(packet), messages.MAX_PACKET_BYTES)


def tunnel(record: Record) -> Tunnel:
    """A message with a record."""
    target = messages.to_destination(TARGET)
    return Tunnel(1, record, target, ("*.example", None), 3.0, False, 0, 0, 0, 0, 11, 22, b"", 1.0)
