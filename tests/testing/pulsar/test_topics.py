"""Tests for sniproxy.testing.pulsar.topics."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar import topics
from sniproxy.testing.pulsar.topics import AttachedConsumer, Stored, Topic

EXCLUSIVE, SHARED = pb.CommandSubscribe.Exclusive, pb.CommandSubscribe.Shared
FAILOVER, KEY_SHARED = pb.CommandSubscribe.Failover, pb.CommandSubscribe.Key_Shared


class TopicCase(SynchronousTestCase):
    """A small topic."""

    def setUp(self) -> None:
        self.topic = Topic(ledger=1, max_bytes=100)

    def publish(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.topic.publish(payload, 1)

    def consumer(self, name: str, permits: int, kind: int = EXCLUSIVE, start: int = 0, **more: Any) -> list[str]:
        """Attach a consumer. @return: the list of its messages."""
        got: list[str] = []

        def deliver(entry: int, stored: Stored, before: int) -> None:
            got.append(stored.section.decode() + "*" * before)

        subscription = self.topic.subscribe(name, start, kind, more.pop("durable", True))
        self.last = AttachedConsumer(deliver, permits=permits, **more)
        subscription.attach(self.last)
        subscription.dispatch()
        return got


class TopicTests(TopicCase):
    """Topic and Subscription: the delivery of messages."""

    def test_order(self) -> None:
        """Messages from before and after the subscription are delivered in order, each once."""
        self.publish(b"a", b"b")
        got = self.consumer("s", permits=10)
        self.publish(b"c")
        self.assertEqual(got, ["a", "b", "c"])

    def test_start(self) -> None:
        """A new subscription starts with the given entry; an existing one keeps its position."""
        self.publish(b"a", b"b")
        got = self.consumer("s", permits=10, start=2)
        self.publish(b"c")
        self.assertEqual(got, ["c"])
        self.topic.subscriptions["s"].acknowledge(2)
        self.topic.subscriptions["s"].detach(self.last)
        self.assertEqual(self.consumer("s", permits=10, start=0), [])

    def test_permits(self) -> None:
        """Deliveries are limited by permits; a batch uses one permit for each message."""
        self.topic.publish(b"batch", 3)
        self.publish(b"a", b"b")
        got = self.consumer("s", permits=4)
        self.assertEqual(got, ["batch", "a"])
        self.last.permits += 1
        self.topic.subscriptions["s"].dispatch()
        self.assertEqual(got, ["batch", "a", "b"])

    def test_not_writable(self) -> None:
        """A consumer whose connection accepts no more gets nothing, and later what it missed."""
        writable = False
        got = self.consumer("s", permits=9, writable=lambda: writable)
        self.publish(b"a")
        self.assertEqual([], got)
        writable = True
        self.topic.subscriptions["s"].dispatch()
        self.assertEqual(["a"], got)

    def test_unacknowledged(self) -> None:
        """A consumer that acknowledges nothing gets a bounded number of messages."""
        self.patch(topics, "MAX_UNACKNOWLEDGED", 2)
        got = self.consumer("s", permits=9)
        self.publish(b"a", b"b", b"c")
        self.assertEqual(["a", "b"], got)
        self.topic.subscriptions["s"].acknowledge(0)
        self.assertEqual(["a", "b", "c"], got)

    def test_subscriptions_are_independent(self) -> None:
        """Each subscription gets everything."""
        one, two = self.consumer("s", permits=10), self.consumer("t", permits=10)
        self.publish(b"a", b"b")
        self.assertEqual((one, two), (["a", "b"], ["a", "b"]))

    def test_shared(self) -> None:
        """The consumers of a shared subscription take turns; otherwise the first one gets all messages."""
        one, two = self.consumer("s", 10, SHARED), self.consumer("s", 10, SHARED)
        three, four = self.consumer("t", 10, FAILOVER), self.consumer("t", 10, FAILOVER)
        self.publish(b"a", b"b", b"c", b"d")
        self.assertEqual((one, two), (["a", "c"], ["b", "d"]))
        self.assertEqual((three, four), (["a", "b", "c", "d"], []))

    def test_keys(self) -> None:
        """The consumers of a key-shared subscription divide the keys: each key goes to one of them, in order."""
        got = [self.consumer("s", 99, KEY_SHARED) for _ in range(3)]
        for round_number in range(3):
            for key in "abcdefgh":
                self.topic.publish(f"{key}{round_number}".encode(), 1, key=key.encode())
        self.publish(b"-")
        for key in "abcdefgh":
            (holder,) = [each for each in got if f"{key}0" in each]
            self.assertEqual([f"{key}{n}" for n in range(3)], [each for each in holder if each[0] == key])
        self.assertGreater(sum(bool(each) for each in got), 1)
        self.assertEqual(25, sum(len(each) for each in got))

    def test_failover(self) -> None:
        """The first consumer of a failover subscription is the active one; when it leaves, the next one is."""
        said: list[tuple[str, bool]] = []
        self.consumer("s", 9, FAILOVER, activate=lambda active: said.append(("one", active)))
        first = self.last
        two = self.consumer("s", 9, FAILOVER, activate=lambda active: said.append(("two", active)))
        self.publish(b"a")
        self.assertEqual([], two)
        self.topic.subscriptions["s"].detach(first)
        self.assertEqual((["a*"], [("one", True), ("two", False), ("two", True)]), (two, said))

    def test_failover_of_the_second(self) -> None:
        """The end of a consumer that is not active changes nothing."""
        said: list[bool] = []
        got = self.consumer("s", 9, FAILOVER, activate=said.append)
        self.consumer("s", 9, FAILOVER)
        self.topic.subscriptions["s"].detach(self.last)
        self.publish(b"a")
        self.assertEqual((["a"], [True]), (got, said))

    def test_redelivery(self) -> None:
        """The unacknowledged messages of a consumer are redelivered to the next one, in order, with their count."""
        self.publish(b"a", b"b", b"c", b"d")
        self.consumer("s", permits=4)
        subscription = self.topic.subscriptions["s"]
        subscription.acknowledge(1)
        subscription.detach(self.last)
        self.publish(b"e")
        self.assertEqual(self.consumer("s", permits=10), ["a*", "c*", "d*", "e"])

    def test_redeliver(self) -> None:
        """A consumer gets its unacknowledged messages again, all or some."""
        self.publish(b"a", b"b", b"c")
        got = self.consumer("s", permits=99)
        subscription = self.topic.subscriptions["s"]
        subscription.redeliver(self.last, [1, 77])
        subscription.acknowledge(0)
        subscription.redeliver(self.last)
        self.assertEqual(["a", "b", "c", "b*", "b**", "c*"], got)

    def test_acknowledged_while_it_waits(self) -> None:
        """A message that is acknowledged after its consumer has gone is not delivered again."""
        self.publish(b"a", b"b", b"c")
        self.consumer("s", permits=3)
        subscription = self.topic.subscriptions["s"]
        subscription.detach(self.last)
        subscription.acknowledge(1)
        self.assertEqual(["a*", "c*"], self.consumer("s", permits=9))

    def test_cumulative(self) -> None:
        """A cumulative acknowledgement covers all earlier messages, also those that wait for redelivery."""
        self.publish(b"a", b"b", b"c", b"d")
        self.consumer("s", permits=4)
        subscription = self.topic.subscriptions["s"]
        subscription.acknowledge(1, cumulative=True)
        subscription.detach(self.last)
        subscription.acknowledge(2, cumulative=True)
        self.assertEqual(self.consumer("s", permits=10), ["d*"])

    def test_cumulative_ahead(self) -> None:
        """A cumulative acknowledgement covers messages that have not been delivered yet."""
        self.publish(b"a", b"b", b"c")
        got = self.consumer("s", permits=1)
        self.last.permits = 9
        self.topic.subscriptions["s"].acknowledge(1, cumulative=True)
        self.assertEqual(["a", "c"], got)

    def test_cumulative_beyond(self) -> None:
        """A cumulative acknowledgement of messages that do not exist does not skip later ones."""
        got = self.consumer("s", permits=10)
        self.topic.subscriptions["s"].acknowledge(1 << 60, cumulative=True)
        self.publish(b"a")
        self.assertEqual(got, ["a"])

    def test_backlog(self) -> None:
        """The backlog counts what is not acknowledged, delivered or not."""
        self.publish(b"a", b"b", b"c")
        self.consumer("s", permits=2)
        subscription = self.topic.subscriptions["s"]
        self.assertEqual((3, 0), (subscription.backlog, subscription.acknowledged_before))
        subscription.acknowledge(0)
        self.assertEqual((2, 1), (subscription.backlog, subscription.acknowledged_before))
        subscription.detach(self.last)
        self.assertEqual((2, 1), (subscription.backlog, subscription.acknowledged_before))

    def test_seek(self) -> None:
        """After a seek a subscription continues with the given entry, as if it had never been delivered."""
        self.publish(b"a", b"b", b"c")
        got = self.consumer("s", permits=9)
        subscription = self.topic.subscriptions["s"]
        subscription.seek(1)
        self.assertEqual((0, set()), (self.last.permits, self.last.unacknowledged))
        self.last.permits = 9
        subscription.dispatch()
        self.assertEqual(["a", "b", "c", "b", "c"], got)

    def test_not_durable(self) -> None:
        """A subscription that is not durable ends with its last consumer."""
        self.publish(b"a")
        self.consumer("s", 9, durable=False)
        self.topic.subscriptions["s"].detach(self.last)
        self.assertEqual({}, self.topic.subscriptions)

    def test_end(self) -> None:
        """An ended subscription gets no messages; a new one of the same name starts afresh."""
        self.publish(b"a")
        got = self.consumer("s", permits=10)
        old = self.topic.subscriptions["s"]
        old.end()
        self.publish(b"b")
        self.assertEqual(got, ["a"])
        self.assertEqual(self.consumer("s", permits=10), ["a", "b"])
        old.end()
        self.assertEqual(["s"], list(self.topic.subscriptions))

    def test_bounded(self) -> None:
        """A topic keeps the newest messages within its limit in bytes, and always the newest one."""
        self.consumer("s", permits=1)
        self.publish(*(bytes([letter]) * 40 for letter in b"abcd"))
        self.topic.subscriptions["s"].detach(self.last)
        self.assertEqual(self.consumer("s", permits=10), ["c" * 40, "d" * 40])
        self.publish(b"e" * 1000)
        self.assertEqual(self.consumer("t", permits=10), ["e" * 1000])
        self.assertEqual([b"e" * 1000], [entry.section for entry in self.topic.entries])
        self.assertEqual(1000, self.topic.kept_bytes)
        self.patch(topics, "MAX_ENTRIES", 2)
        self.publish(b"f", b"g", b"h")
        self.assertEqual([b"g", b"h"], [entry.section for entry in self.topic.entries])

    def test_delivery_that_publishes(self) -> None:
        """A message that arrives during a delivery is delivered after it."""
        subscription = self.topic.subscribe("s", 0, EXCLUSIVE)
        got: list[int] = []

        def deliver(entry: int, stored: Stored, before: int) -> None:
            if entry == 0:
                self.publish(b"b")
            got.append(entry)

        subscription.attach(AttachedConsumer(deliver, permits=9))
        self.publish(b"a")
        self.assertEqual([0, 1], got)


class PositionTests(TopicCase):
    """The positions that clients name."""

    def at(self, ledger: int, entry: int) -> int:
        return self.topic.entry_of(pb.MessageIdData(ledgerId=ledger, entryId=entry))

    def test_ids(self) -> None:
        """A message id names its entry; the earliest, the latest and unknown ones the nearest that there is."""
        self.publish(b"a", b"b")
        earliest, latest = (1 << 64) - 1, (1 << 63) - 1
        self.assertEqual([0, 1, 2, 2], [self.at(1, entry) for entry in (0, 1, 2, 99)])
        self.assertEqual((0, 2), (self.at(earliest, earliest), self.at(latest, latest)))
        self.assertEqual((0, 2, 0), (self.at(0, 1), self.at(2, 0), self.at(1, earliest)))

    def test_dropped(self) -> None:
        """The id of a message that the topic has dropped is the oldest that it has."""
        self.publish(b"a" * 60, b"b" * 60)
        self.assertEqual(1, self.at(1, 0))

    def test_times(self) -> None:
        """A time names the first entry that was published then or later."""
        for time in (100, 200, 300):
            self.topic.publish(b"a", 1, time)
        self.assertEqual([0, 1, 1, 3], [self.topic.entry_at(time) for time in (0, 101, 200, 301)])


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["publish", "ack", "cumulative", "detach", "redeliver", "attach"]), st.integers(0, 12)),
    max_size=40,
)


class ModelTests(SynchronousTestCase):
    """Any sequence of operations."""

    @given(OPERATIONS, st.sampled_from([SHARED, FAILOVER, EXCLUSIVE, KEY_SHARED]))
    def test_every_message_is_acknowledged_or_delivered(self, operations: list[tuple[str, int]], kind: int) -> None:
        """A message that is not acknowledged is held by one consumer or waits; the backlog counts just those."""
        topic = Topic(1)
        subscription = topic.subscribe("s", 0, kind)
        consumers: list[AttachedConsumer] = []
        acknowledged: set[int] = set()
        for operation, number in operations:
            delivered = {entry for each in consumers for entry in each.unacknowledged}
            if operation == "publish":
                topic.publish(b"x", 1, key=b"%d" % number)
            elif operation == "attach":
                consumers.append(AttachedConsumer(lambda entry, stored, before: None, permits=number))
                subscription.attach(consumers[-1])
                subscription.dispatch()
            elif operation == "ack" and number in delivered:
                acknowledged.add(number)
                subscription.acknowledge(number)
            elif operation == "cumulative" and number in delivered:
                acknowledged |= set(range(number + 1))
                subscription.acknowledge(number, cumulative=True)
            elif consumers and operation == "detach":
                subscription.detach(consumers.pop(number % len(consumers)))
            elif consumers and operation == "redeliver":
                subscription.redeliver(consumers[number % len(consumers)])
        held = [entry for each in consumers for entry in each.unacknowledged]
        self.assertEqual(len(held), len(set(held)))
        self.assertFalse(acknowledged & set(held))
        self.assertEqual(topic.end - len(acknowledged), subscription.backlog)
