"""Tests for sniproxy.testing.pulsar.consumers."""

from __future__ import annotations

from typing import Any

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar import consumers
from sniproxy.testing.pulsar.hidden import add_bytes, bytes_of
from tests.testing.pulsar.embedded import OURS, THEIRS, BrokerCase, Client, ack, flow, subscribe

SHARED, FAILOVER = pb.CommandSubscribe.Shared, pb.CommandSubscribe.Failover
CUMULATIVE = pb.CommandAck.Cumulative


def place(entry: int, ledger: int = 1) -> bytes:
    """A serialized message id."""
    return pb.MessageIdData(ledgerId=ledger, entryId=entry).SerializeToString()


class ConsumerCase(BrokerCase):
    """A topic with messages."""

    def published(self, *payloads: bytes) -> Client:
        producer = self.producer()
        for time, payload in enumerate(payloads):
            producer.publish(payload, time=time)
        return producer


class ConsumerTests(ConsumerCase):
    """Consumers, as conversations with a broker."""

    def test_consume(self) -> None:
        """A consumer gets as many messages as it permits, unchanged."""
        producer = self.published(b"one", b"two")
        client = self.client()
        self.assertEqual(client.say(subscribe()), [pb.CommandSuccess(request_id=2)])
        [message] = client.say(flow(1))
        self.assertEqual(
            message,
            pb.CommandMessage(consumer_id=5, message_id=pb.MessageIdData(ledgerId=1, entryId=0), redelivery_count=0),
        )
        client.say(flow(5))
        producer.publish(b"three")
        client.heard()
        self.assertEqual(client.payloads, [b"one", b"two", b"three"])

    def test_latest(self) -> None:
        """A new subscription starts with the next message by default."""
        producer = self.published(b"one")
        client = self.consumer(initialPosition=pb.CommandSubscribe.Latest)
        producer.publish(b"two")
        client.heard()
        self.assertEqual([b"two"], client.payloads)

    def test_permits_are_bounded(self) -> None:
        """Many permits add up to a bounded number."""
        client = self.consumer(0xFFFFFFFF)
        client.say(flow(0xFFFFFFFF))
        [(_, _, consumer)] = client.end.session.consumers.values()
        self.assertEqual(consumers.MAX_PERMITS, consumer.permits)

    def test_not_the_owner(self) -> None:
        """A consumer on a broker that does not own the topic gets an error."""
        [answer] = self.client().say(subscribe(THEIRS))
        self.assertEqual((answer.request_id, answer.error), (2, pb.ServiceNotReady))

    def test_twice(self) -> None:
        """A second consumer with the same number ends the connection."""
        client = self.consumer()
        client.say(subscribe())
        self.assertTrue(client.transport.disconnecting)

    def test_too_many(self) -> None:
        """The consumers of a connection and the subscriptions of a topic are bounded."""
        self.patch(consumers, "MAX_OPEN", 1)
        client = self.consumer()
        [answer] = client.say(subscribe(name="t", consumer_id=6))
        self.assertEqual(pb.NotAllowedError, answer.error)
        self.patch(consumers, "MAX_ATTACHED", 1)
        self.assertEqual(pb.NotAllowedError, self.client().say(subscribe(name="t"))[0].error)
        self.assertEqual(pb.InvalidTopicName, self.client().say(subscribe(name="x" * 5000))[0].error)

    def test_partition(self) -> None:
        """The id of a message in a partition has the partition's number."""
        topic = next(name for n in range(9) if self.state.owner(name := f"t-partition-{n}") == self.broker.name)
        producer, client = self.producer(topic), self.consumer(topic=topic)
        producer.publish(b"one")
        self.assertEqual(int(topic[-1]), client.heard()[0].message_id.partition)

    def test_exclusive(self) -> None:
        """An exclusive subscription has one consumer at a time."""
        first, second = self.client(), self.client()
        first.say(subscribe())
        self.assertEqual(second.say(subscribe())[0].error, pb.ConsumerBusy)
        first.say(pb.CommandCloseConsumer(consumer_id=5, request_id=8))
        self.assertEqual(second.say(subscribe()), [pb.CommandSuccess(request_id=2)])

    def test_types(self) -> None:
        """Consumers of one subscription have one type."""
        first, second = self.consumer(subType=SHARED), self.client()
        self.assertEqual(pb.ConsumerBusy, second.say(subscribe(subType=FAILOVER))[0].error)
        first.lose()
        self.assertIsInstance(second.say(subscribe(subType=FAILOVER))[0], pb.CommandSuccess)

    def test_shared(self) -> None:
        """The consumers of a shared subscription share its messages."""
        clients = [self.consumer(subType=SHARED) for _ in range(2)]
        self.published(b"one", b"two")
        for client in clients:
            client.heard()
        self.assertEqual([client.payloads for client in clients], [[b"one"], [b"two"]])

    def test_failover(self) -> None:
        """Consumers of a failover subscription learn which of them is active."""
        clients = [self.client(), self.client()]
        changes = [client.say(subscribe(subType=FAILOVER))[1].is_active for client in clients]
        clients[0].lose()
        changes.append(clients[1].heard()[0].is_active)
        self.assertEqual([True, False, True], changes)

    def test_close(self) -> None:
        """Closing and unsubscribing are answered, also a second time."""
        client = self.consumer()
        for message in (
            pb.CommandUnsubscribe(consumer_id=5, request_id=3),
            pb.CommandCloseConsumer(consumer_id=5, request_id=3),
            pb.CommandUnsubscribe(consumer_id=5, request_id=3),
        ):
            self.assertEqual(client.say(message), [pb.CommandSuccess(request_id=3)])
        self.assertEqual(self.state.topics[OURS].subscriptions, {})

    def test_unsubscribe_with_others(self) -> None:
        """A subscription with other consumers is not deleted."""
        client, _ = self.consumer(subType=SHARED), self.consumer(subType=SHARED)
        [answer] = client.say(pb.CommandUnsubscribe(consumer_id=5, request_id=3))
        self.assertEqual(pb.ConsumerBusy, answer.error)

    def test_unknown_consumer(self) -> None:
        """Commands of an unknown consumer change nothing; those that need it get an error."""
        client = self.client()
        again = pb.CommandRedeliverUnacknowledgedMessages(consumer_id=5)
        self.assertEqual([], client.say(flow(), ack([0]), again))
        seek = pb.CommandSeek(consumer_id=5, request_id=3)
        last = pb.CommandGetLastMessageId(consumer_id=5, request_id=4)
        self.assertEqual([pb.ConsumerNotFound] * 2, [answer.error for answer in client.say(seek, last)])

    def test_closed_by_broker(self) -> None:
        """The broker closes a consumer, with the URL of another broker or without."""
        for url in (None, "pulsar://x:1"):
            client = self.consumer()
            client.heard()
            [(_, _, consumer)] = client.end.session.consumers.values()
            consumer.close(url)
            [closing] = client.heard()
            self.assertEqual((5, url or ""), (closing.consumer_id, closing.assignedBrokerServiceUrl))
            self.assertEqual({}, client.end.session.consumers)

    def test_migrated(self) -> None:
        """A migrated consumer gets the URL of the other cluster, then it is closed."""
        client = self.consumer()
        [(_, _, consumer)] = client.end.session.consumers.values()
        consumer.migrate("pulsar+ssl://blue:6651")
        migrated, closing = client.heard()
        self.assertEqual(
            (pb.CommandTopicMigrated.Consumer, 5, "pulsar+ssl://blue:6651"),
            (migrated.resource_type, migrated.resource_id, migrated.brokerServiceUrlTls),
        )
        self.assertEqual(5, closing.consumer_id)


class AcknowledgementTests(ConsumerCase):
    """ACK and REDELIVER_UNACKNOWLEDGED_MESSAGES."""

    def left(self, *commands: Any) -> list[bytes]:
        """What the next consumer gets after these commands of the first."""
        first, second = self.consumer(3), self.client()
        first.say(*commands)
        first.lose()
        second.say(subscribe(), flow())
        return second.payloads

    def test_individual(self) -> None:
        """Acknowledged messages are not redelivered to the next consumer; others are."""
        self.published(b"one", b"two", b"three")
        self.assertEqual([b"one", b"three"], self.left(ack([1])))

    def test_cumulative(self) -> None:
        """A cumulative acknowledgement covers the messages before it."""
        self.published(b"one", b"two", b"three")
        self.assertEqual([b"three"], self.left(ack([1], CUMULATIVE)))

    def test_part_of_a_batch(self) -> None:
        """The acknowledgement of a part of a batch leaves the batch unacknowledged."""
        self.published(b"one")
        part = pb.CommandAck(consumer_id=5, ack_type=pb.CommandAck.Individual)
        part.message_id.add().MergeFromString(place(0) + b"\x28\x01")
        self.assertEqual([b"one"], self.left(part))

    def test_with_request(self) -> None:
        """An ACK with a request id is answered."""
        answer = self.consumer().say(ack([], CUMULATIVE, request_id=77))
        self.assertEqual(answer, [pb.CommandAckResponse(consumer_id=5, request_id=77)])

    def test_redeliver(self) -> None:
        """A consumer gets the named messages again, or all, with the number of earlier deliveries."""
        self.published(b"one", b"two", b"three")
        client = self.consumer()
        client.heard()
        again = pb.CommandRedeliverUnacknowledgedMessages(consumer_id=5)
        self.assertEqual([(0, 1), (1, 1), (2, 1)], self.repeated(client.say(again)))
        for entry in (1, 2):
            add_bytes(again, 2, place(entry))
        self.assertEqual([(1, 2), (2, 2)], self.repeated(client.say(again)))

    def repeated(self, messages: list[Any]) -> list[tuple[int, int]]:
        return [(each.message_id.entryId, each.redelivery_count) for each in messages]


class PositionTests(ConsumerCase):
    """SEEK, GET_LAST_MESSAGE_ID and readers."""

    def seek(self, client: Client, where: bytes) -> list[Any]:
        return client.say(pb.CommandSeek.FromString(b"\x08\x05\x10\x09" + where))

    def test_seek(self) -> None:
        """After a seek the consumers are closed, and the next consumer continues at the message or the time."""
        self.published(b"one", b"two", b"three")
        for where, expected in ((b"\x1a\x04" + place(1), [b"two", b"three"]), (b"\x20\x02", [b"three"])):
            client = self.consumer()
            client.heard()
            closing, success = self.seek(client, where)
            self.assertEqual((5, 9), (closing.consumer_id, success.request_id))
            client.payloads.clear()
            client.say(subscribe(), flow())
            self.assertEqual(expected, client.payloads)
            client.lose()

    def test_seek_nowhere(self) -> None:
        """A seek without a place gets an error."""
        self.assertEqual(pb.MetadataError, self.seek(self.consumer(), b"")[0].error)

    def reader(self, start: bytes) -> Client:
        client = self.client()
        client.say(pb.CommandSubscribe.FromString(subscribe(name="r").SerializeToString() + b"\x40\x00" + start))
        client.say(flow())
        return client

    def test_reader(self) -> None:
        """A reader gets the messages from its start on; its subscription ends with it."""
        self.published(b"one", b"two", b"three")
        client = self.reader(b"\x4a\x04" + place(1))
        self.assertEqual([b"two", b"three"], client.payloads)
        client.lose()
        self.assertEqual({}, self.state.topics[OURS].subscriptions)

    def test_seek_of_a_reader(self) -> None:
        """The subscription of a reader outlives its seek."""
        self.published(b"one", b"two")
        client = self.reader(b"")
        self.seek(client, b"\x1a\x04" + place(1))
        client.payloads.clear()
        client.say(pb.CommandSubscribe.FromString(subscribe(name="r").SerializeToString() + b"\x40\x00"), flow())
        self.assertEqual([b"two"], client.payloads)
        client.lose()
        self.assertEqual({}, self.state.topics[OURS].subscriptions)

    def last(self, client: Client) -> tuple[int, int, int]:
        """The entry and the place in the batch of the last message, and the entry before the first unacknowledged."""
        [answer] = client.say(pb.CommandGetLastMessageId(consumer_id=5, request_id=1))
        last, before = (pb.MessageIdData.FromString(bytes_of(answer, field) or b"") for field in (1, 3))
        signed = [where.entryId - (1 << 64 if where.entryId >> 63 else 0) for where in (last, before)]
        return signed[0], last.batch_index, signed[1]

    def test_last_id(self) -> None:
        """The last message is the newest one, and its last part if it is a batch; -1 in an empty topic."""
        client = self.consumer()
        self.assertEqual((-1, -1, -1), self.last(client))
        producer = self.published(b"one")
        client.heard()
        self.assertEqual((0, -1, -1), self.last(client))
        producer.publish(b"batch", count=4)
        client.say(ack([0]))
        self.assertEqual((1, 3, 0), self.last(client))
