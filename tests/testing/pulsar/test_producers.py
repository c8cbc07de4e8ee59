"""Tests for sniproxy.testing.pulsar.producers."""

from __future__ import annotations

from typing import Any

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar import producers, state
from sniproxy.testing.pulsar.session import NO_REQUEST
from tests.testing.pulsar.embedded import METADATA, OURS, THEIRS, BrokerCase


def request(number: int = 3, epoch: int | None = None, mode: int | None = None, **more: Any) -> pb.CommandProducer:
    """PRODUCER."""
    command = pb.CommandProducer(topic=more.pop("topic", OURS), producer_id=number, request_id=1, **more)
    for field, value in ((8, epoch), (10, mode)):
        if value is not None:
            command.MergeFromString(bytes([field << 3, value]))
    return command


class ProducerTests(BrokerCase):
    """Producers, as conversations with a broker."""

    def test_produce(self) -> None:
        """A producer gets a name, and a receipt for each message."""
        client = self.client()
        [success] = client.say(request())
        self.assertTrue(success.producer_name)
        self.assertEqual(-1, success.last_sequence_id)
        for entry in (0, 1):
            [receipt] = client.publish(b"hello", producer=3)
            self.assertEqual(
                receipt,
                pb.CommandSendReceipt(
                    producer_id=3,
                    sequence_id=7,
                    highest_sequence_id=0,
                    message_id=pb.MessageIdData(ledgerId=1, entryId=entry),
                ),
            )

    def test_stored(self) -> None:
        """The broker stores the section as it is, with the time and the key of its metadata."""
        client = self.producer()
        client.publish(b"hello", count=3, time=77, raw=b"\x32\x03key")
        [stored] = self.state.topics[OURS].entries
        self.assertEqual((3, 77, b"key"), (stored.count, stored.published_ms, stored.key))
        self.assertTrue(stored.section.endswith(b"\x32\x03keyhello"))

    def test_not_the_owner(self) -> None:
        """A producer on a broker that does not own the topic gets an error."""
        [answer] = self.client().say(request(topic=THEIRS))
        self.assertEqual((answer.request_id, answer.error), (1, pb.ServiceNotReady))

    def test_named(self) -> None:
        """A producer keeps its own name, which another connection cannot take."""
        [success] = self.client().say(request(producer_name="me"))
        self.assertEqual(success.producer_name, "me")
        [answer] = self.client().say(request(producer_name="me"))
        self.assertEqual(pb.ProducerBusy, answer.error)

    def test_reconnected(self) -> None:
        """A later epoch takes the name from a connection that has not ended yet, whose end changes nothing."""
        first = self.client()
        first.say(request(producer_name="me"))
        self.assertEqual("me", self.client().say(request(producer_name="me", epoch=1))[0].producer_name)
        first.lose()
        self.assertEqual(1, self.state.topics[OURS].producers["me"].epoch)

    def test_again(self) -> None:
        """A second producer with the same number replaces the first."""
        client = self.client()
        client.say(request(producer_name="one"))
        client.say(request(producer_name="two"))
        self.assertEqual(["two"], list(self.state.topics[OURS].producers))

    def test_access_mode(self) -> None:
        """Exclusive access is refused; shared access is the default."""
        self.assertEqual(pb.UnsupportedVersionError, self.client().say(request(mode=1))[0].error)
        self.assertIsInstance(self.client().say(request(mode=0))[0], pb.CommandProducerSuccess)

    def test_too_many(self) -> None:
        """The producers of a connection and of a topic are bounded."""
        self.patch(producers, "MAX_OPEN", 1)
        client = self.client()
        client.say(request(1))
        self.assertEqual(pb.NotAllowedError, client.say(request(2))[0].error)
        self.patch(producers, "MAX_ATTACHED", 1)
        self.assertEqual(pb.NotAllowedError, self.client().say(request(2))[0].error)
        self.assertEqual(pb.InvalidTopicName, self.client().say(request(producer_name="x" * 5000))[0].error)

    def test_deduplication(self) -> None:
        """With deduplication a repeated message gets a receipt with the id -1:-1, and is not stored again."""
        self.state.deduplication = True
        client = self.producer(producer_name="me")
        [first], [again] = client.publish(b"a", sequence=5), client.publish(b"a", sequence=5)
        self.assertEqual((0, NO_REQUEST), (first.message_id.entryId, again.message_id.entryId))
        [batch] = client.publish(b"b", sequence=6, highest_sequence_id=9)
        self.assertEqual((1, 9), (batch.message_id.entryId, batch.highest_sequence_id))
        self.assertEqual(9, self.producer_sequence())
        self.assertEqual(2, self.state.topics[OURS].end)

    def producer_sequence(self) -> int:
        """The last sequence id that a new connection of the producer gets."""
        [success] = self.client().say(request(producer_name="me", epoch=1))
        return int(success.last_sequence_id)

    def test_full(self) -> None:
        """A message for which the cluster has no room gets an error."""
        self.patch(state, "MAX_CLUSTER_BYTES", 10)
        [error] = self.producer().publish(b"x" * 50)
        self.assertEqual((pb.ProducerBlockedQuotaExceededError, 7), (error.error, error.sequence_id))

    def test_unknown_producer(self) -> None:
        """A message of a producer that the broker has closed is dropped."""
        client = self.client()
        self.assertEqual([], client.publish(b"late", producer=9))
        self.assertFalse(client.transport.disconnecting)

    def test_bad_section(self) -> None:
        """A message with an invalid payload section or metadata is not stored, and ends the connection."""
        for section in (b"\x00\x00\x00\x09", b"\x00\x00\x00\x02\xff\xffx", b"\x00\x00\x00\x00", b""):
            client = self.producer()
            client.say(pb.CommandSend(producer_id=0, sequence_id=0), section=section)
            self.assertTrue(client.transport.disconnecting)
        self.assertEqual(0, self.state.topics[OURS].end)

    def test_close(self) -> None:
        """Closing is answered, also a second time."""
        client = self.producer()
        for _ in range(2):
            closing = pb.CommandCloseProducer(producer_id=0, request_id=3)
            self.assertEqual(client.say(closing), [pb.CommandSuccess(request_id=3)])
        self.assertEqual({}, self.state.topics[OURS].producers)

    def test_closed_by_broker(self) -> None:
        """The broker closes a producer, with the URL of another broker or without."""
        for url, plain, tls in (
            (None, "", ""),
            ("pulsar://x:1", "pulsar://x:1", ""),
            ("pulsar+ssl://x:1", "", "pulsar+ssl://x:1"),
        ):
            client = self.producer()
            [(_, producer)] = client.end.session.producers.values()
            producer.close(url)
            [closing] = client.heard()
            self.assertEqual((plain, tls), (closing.assignedBrokerServiceUrl, closing.assignedBrokerServiceUrlTls))
            self.assertEqual({}, client.end.session.producers)

    def test_migrated(self) -> None:
        """A migrated producer gets the URL of the other cluster, then it is closed."""
        client = self.producer()
        [(_, producer)] = client.end.session.producers.values()
        producer.migrate("pulsar://blue:6650")
        migrated, closing = client.heard()
        self.assertEqual(
            (pb.CommandTopicMigrated.Producer, 0, "pulsar://blue:6650"),
            (migrated.resource_type, migrated.resource_id, migrated.brokerServiceUrl),
        )
        self.assertEqual(0, closing.producer_id)
        self.assertTrue(METADATA)
