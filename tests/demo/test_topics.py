"""Tests for sniproxy.demo.topics."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.demo.topics import DemoConsumer, Stored, Topic


class TopicTests(SynchronousTestCase):
    """Topic and Subscription: the delivery of messages."""

    def setUp(self) -> None:
        self.topic = Topic(ledger=1, max_bytes=100)

    def publish(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.topic.publish(payload, 1)

    def consumer(self, name: str, permits: int, shared: bool = False, earliest: bool = True) -> list[str]:
        """Attach a consumer. @return: the list of its messages."""
        got: list[str] = []

        def deliver(entry: int, stored: Stored, before: int) -> None:
            got.append(stored.section.decode() + "*" * before)

        subscription = self.topic.subscribe(name, earliest, shared)
        self.last = DemoConsumer(deliver, permits)
        subscription.consumers.append(self.last)
        subscription.dispatch()
        return got

    def test_order(self) -> None:
        """Messages from before and after the subscription are delivered in order, each once."""
        self.publish(b"a", b"b")
        got = self.consumer("s", permits=10)
        self.publish(b"c")
        self.assertEqual(got, ["a", "b", "c"])

    def test_latest(self) -> None:
        """A subscription at the latest position gets only later messages."""
        self.publish(b"a", b"b")
        got = self.consumer("s", permits=10, earliest=False)
        self.publish(b"c")
        self.assertEqual(got, ["c"])

    def test_permits(self) -> None:
        """Deliveries are limited by permits; a batch uses one permit for each message."""
        self.topic.publish(b"batch", 3)
        self.publish(b"a", b"b")
        got = self.consumer("s", permits=4)
        self.assertEqual(got, ["batch", "a"])
        self.last.permits += 1
        self.topic.subscriptions["s"].dispatch()
        self.assertEqual(got, ["batch", "a", "b"])

    def test_subscriptions_are_independent(self) -> None:
        """Each subscription gets everything."""
        one, two = self.consumer("s", permits=10), self.consumer("t", permits=10)
        self.publish(b"a", b"b")
        self.assertEqual((one, two), (["a", "b"], ["a", "b"]))

    def test_shared(self) -> None:
        """The consumers of a shared subscription take turns; otherwise the first one gets all messages."""
        one, two = self.consumer("s", 10, shared=True), self.consumer("s", 10, shared=True)
        three, four = self.consumer("t", 10), self.consumer("t", 10)
        self.publish(b"a", b"b", b"c", b"d")
        self.assertEqual((one, two), (["a", "c"], ["b", "d"]))
        self.assertEqual((three, four), (["a", "b", "c", "d"], []))

    def test_redelivery(self) -> None:
        """The unacknowledged messages of a consumer are redelivered to the next one, in order, with their count."""
        self.publish(b"a", b"b", b"c", b"d")
        self.consumer("s", permits=4)
        subscription = self.topic.subscriptions["s"]
        subscription.acknowledge(self.last, 1, cumulative=False)
        subscription.detach(self.last)
        self.publish(b"e")
        self.assertEqual(self.consumer("s", permits=10), ["a*", "c*", "d*", "e"])

    def test_cumulative(self) -> None:
        """A cumulative acknowledgement covers all earlier messages."""
        self.publish(b"a", b"b", b"c")
        self.consumer("s", permits=3)
        subscription = self.topic.subscriptions["s"]
        subscription.acknowledge(self.last, 1, cumulative=True)
        subscription.detach(self.last)
        self.assertEqual(self.consumer("s", permits=10), ["c*"])

    def test_end(self) -> None:
        """An ended subscription gets no messages; a new one of the same name starts afresh."""
        self.publish(b"a")
        got = self.consumer("s", permits=10)
        self.topic.subscriptions["s"].end()
        self.publish(b"b")
        self.assertEqual(got, ["a"])
        self.assertEqual(self.consumer("s", permits=10), ["a", "b"])

    def test_bounded(self) -> None:
        """A topic keeps the newest messages within its limit in bytes, and always the newest one."""
        self.consumer("s", permits=1)
        self.publish(*(bytes([letter]) * 40 for letter in b"abcd"))
        self.topic.subscriptions["s"].detach(self.last)
        self.assertEqual(self.consumer("s", permits=10), ["c" * 40, "d" * 40])
        self.publish(b"e" * 1000)
        self.assertEqual(self.consumer("t", permits=10), ["e" * 1000])
