"""A client's pending lookups and its credentials."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.bridge import pending
from sniproxy.bridge.pending import MAX_BYTES, MAX_LOOKUP_BYTES, PendingLookups
from sniproxy.client.logins import by_token
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import encode
from sniproxy.pulsar.walker import MAX_HEAD_BYTES
from sniproxy.util.buffered import BufferAccount
from tests.bridge.connects import secrets

_Base = pb.BaseCommand
TOPIC = "persistent://public/default/t"


class PendingLookupsTests(SynchronousTestCase):
    """PendingLookups."""

    def setUp(self) -> None:
        self.connect = by_token("first").connect("broker-1.pulsar.test:6651")
        self.account = BufferAccount()
        self.pending = PendingLookups(self.connect, self.account)

    def lookup(self, number: int, topic: str = TOPIC) -> bytes:
        return write(pb.CommandLookupTopic(topic=topic, request_id=number))

    def test_lookups(self) -> None:
        """A lookup is stored under its request id until it is answered, for any split of the bytes."""
        data = write(self.connect) + self.lookup(2**63) + write(pb.CommandPing()) + self.lookup(0, "other")
        for at in range(len(data)):
            self.pending.client(data[at : at + 1])
        for number, topic in ((0, "other"), (2**63, TOPIC)):
            found = self.pending.take(number)
            assert found is not None
            self.assertEqual(topic, found.topic)
            self.assertIsNone(self.pending.take(number))

    def test_long(self) -> None:
        """A lookup that is longer than any topic name allows is not stored."""
        self.pending.client(write(self.connect) + self.lookup(1, "t" * MAX_LOOKUP_BYTES) + self.lookup(2))
        self.assertIsNone(self.pending.take(1))
        self.assertIsNotNone(self.pending.take(2))

    def test_login(self) -> None:
        """CONNECT is repeated with the client's credentials, without the broker that it named."""
        again = self.pending.login.connect("broker-9.pulsar.test:6651")
        self.assertEqual([b"first"], secrets(again))
        self.assertFalse(again.HasField("proxy_to_broker_url"))
        self.assertEqual((self.connect.client_version, "token"), (again.client_version, again.auth_method_name))
        self.assertTrue(self.connect.HasField("proxy_to_broker_url"))

    def test_renewed(self) -> None:
        """After an AUTH_RESPONSE the newest credentials come last, which counts; no text shows them."""
        response = pb.CommandAuthResponse(client_version="c", response=pb.AuthData(auth_method_name="token"))
        response.response.MergeFromString(b"\x12\x06second")
        self.pending.client(write(self.connect) + write(response))
        self.assertEqual(b"second", secrets(self.pending.login.connect())[-1])
        self.assertNotIn("second", repr(self.pending.login))

    def test_unknown_fields(self) -> None:
        """Of an AUTH_RESPONSE only bytes in the field of credentials count."""
        response = pb.CommandAuthResponse(client_version="c", response=pb.AuthData(auth_method_name="token"))
        response.response.MergeFromString(b"\x1a\x05other\x10\x07")
        self.pending.client(write(self.connect) + write(response))
        self.assertEqual([b"first"], secrets(self.pending.login.connect()))

    def test_many(self) -> None:
        """If there are too many lookups, the oldest are forgotten and no longer count as buffered."""
        self.patch(pending, "MAX_REQUESTS", 2)
        few = PendingLookups(self.connect, self.account)
        few.client(write(self.connect) + b"".join(map(self.lookup, range(4))))
        size = pb.CommandLookupTopic(topic=TOPIC, request_id=3).ByteSize()
        self.assertEqual(2 * size, self.account.bytes)
        self.assertEqual([False, False, True, True], [few.take(number) is not None for number in range(4)])
        self.assertEqual(0, self.account.bytes)

    def test_again(self) -> None:
        """A second lookup with the number of one that waits takes its place."""
        self.pending.client(write(self.connect) + self.lookup(1) + self.lookup(1, "other"))
        found = self.pending.take(1)
        assert found is not None
        self.assertEqual("other", found.topic)
        self.assertIsNone(self.pending.take(1))

    def test_longer_than_a_head(self) -> None:
        """A lookup that is too long to hold is skipped; those behind it are read."""
        self.pending.client(write(self.connect) + self.lookup(1, "t" * (MAX_HEAD_BYTES + 1)) + self.lookup(2))
        self.assertTrue(self.pending.readable)
        self.assertEqual([False, True], [self.pending.take(number) is not None for number in (1, 2)])

    def test_bytes(self) -> None:
        """Stored lookups are bounded in bytes and count as buffered; the oldest are dropped."""
        for number in range(300):
            self.pending.client(write(pb.CommandLookupTopic(topic="t" * 8000, request_id=number)))
        self.assertIsNone(self.pending.take(0))
        self.assertIsNotNone(self.pending.take(299))
        self.assertTrue(MAX_BYTES - 20_000 < self.account.bytes <= MAX_BYTES)
        self.pending.end()
        self.assertEqual(0, self.account.bytes)

    def test_unreadable(self) -> None:
        """After bytes that are not Pulsar, nothing more is read."""
        no_command = encode(bytes([_Base.TYPE_FIELD_NUMBER << 3, _Base.LOOKUP]) + write(pb.CommandPing())[8:-1])
        for data in (b"HTTP/1.1 200 OK\r\n\r\n", b"\x00\x00\x00\x08\x00\x00\x00\x04\x08\x17xx", no_command):
            unread = PendingLookups(self.connect, self.account)
            unread.client(data)
            unread.client(self.lookup(1))
            self.assertFalse(unread.readable)
            self.assertIsNone(unread.take(1))
