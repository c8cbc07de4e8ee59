"""Tests for sniproxy.pulsar.topicname."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar.topicname import (
    full_name,
    is_topic,
    namespace_of,
    segment_name,
    topic_of_partition,
    topic_of_segment,
)


class TopicNameTests(SynchronousTestCase):
    """Names of topics and of their parts."""

    def test_segment_name(self) -> None:
        """A segment is named by its topic, its hashes in four hexadecimal digits, and its id."""
        expected = "segment://public/default/orders/0000-5554-0"
        for topic in ("topic://public/default/orders", "public/default/orders", "orders"):
            self.assertEqual(segment_name(topic, 0, 0x5554, 0), expected)
        self.assertEqual(segment_name("topic://a/b/c", 0xAAAA, 0xFFFF, 12), "segment://a/b/c/aaaa-ffff-12")

    @given(st.text(min_size=1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
    def test_topic_of_segment(self, local: str, start: int, end: int, number: int) -> None:
        """The topic of a segment is the one that names it."""
        topic = f"topic://a/b/{local}"
        self.assertEqual(topic_of_segment(segment_name(topic, start, end, number)), topic)

    def test_no_part(self) -> None:
        """Other names are neither segments nor partitions."""
        for name in ("orders", "topic://a/b/c", "segment://a/b/c", "segment://a/b/c/0000-ffff", "persistent://a/b/c"):
            self.assertEqual((topic_of_segment(name), topic_of_partition(name)), (None, None))

    def test_partition(self) -> None:
        """The topic of a partition."""
        self.assertEqual(topic_of_partition("persistent://a/b/c-partition-12"), "persistent://a/b/c")

    def test_namespace(self) -> None:
        """Full and short names, those of old releases, and those of scalable topics and segments."""
        for topic, namespace in (
            ("persistent://public/default/orders", "public/default"),
            ("non-persistent://t/n/x", "t/n"),
            ("persistent://t/cluster/n/x", "t/cluster/n"),
            ("t/n/x", "t/n"),
            ("x", "public/default"),
            ("topic://t/n/x", "t/n"),
            ("topic://x", "public/default"),
            ("segment://t/n/x/0000-ffff-0", "t/n"),
        ):
            self.assertEqual(namespace_of(topic), namespace)

    def test_full_name(self) -> None:
        """Short names are completed; full names are unchanged."""
        for topic, full in (
            ("x", "persistent://public/default/x"),
            ("t/n/x", "persistent://t/n/x"),
            ("topic://t/n/x", "topic://t/n/x"),
        ):
            self.assertEqual(full, full_name(topic))

    def test_is_topic(self) -> None:
        """Short names, full names and partitions are one topic."""
        orders = "persistent://public/default/orders"
        for name in ("orders", "public/default/orders", orders, f"{orders}-partition-3"):
            self.assertTrue(is_topic(orders, name), name)
        for other in ("order", "other/default/orders", "non-persistent://public/default/orders", None):
            self.assertFalse(is_topic(orders, other), other)
