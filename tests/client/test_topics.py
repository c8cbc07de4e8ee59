"""Tests for sniproxy.client.topics."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.topics import BadTopic, full_name, is_scalable, is_segment, partitions


class TopicTests(SynchronousTestCase):
    """Forms of topic names."""

    def test_full_name(self) -> None:
        """Short names become full names, full names stay; a topic may contain slashes."""
        for text, name in (
            ("orders", "persistent://public/default/orders"),
            ("a/b/orders", "persistent://a/b/orders"),
            ("persistent://a/b/orders", "persistent://a/b/orders"),
            ("non-persistent://a/b/c/d", "non-persistent://a/b/c/d"),
            ("topic://a/b/orders", "topic://a/b/orders"),
            ("segment://a/b/orders/0000-7fff-0", "segment://a/b/orders/0000-7fff-0"),
        ):
            self.assertEqual(full_name(text), name)

    def test_bad(self) -> None:
        """Other texts are refused, with a message of one line."""
        for text in ("", "a/b", "http://a/b/c", "persistent://a/b", "persistent://a//c", "a/b/c\n", "://a/b/c", "topic://orders",
                     "segment://a/b/orders", "segment://a/b/orders/0-1", "segment://a/b/0000-7fff-0"):  # fmt: skip
            self.assertTrue(str(self.assertRaises(BadTopic, full_name, text)).isprintable(), text)

    def test_kinds(self) -> None:
        """Scalable topics and their segments are told from other topics."""
        for name, kinds in (
            ("topic://a/b/orders", (True, False)),
            ("segment://a/b/orders/0000-7fff-0", (False, True)),
            ("persistent://a/b/orders", (False, False)),
        ):
            self.assertEqual((is_scalable(name), is_segment(name)), kinds)

    def test_partitions(self) -> None:
        """Partitions are numbered from 0; an unpartitioned topic is its only one."""
        self.assertEqual(partitions("t", 2), ["t-partition-0", "t-partition-1"])
        self.assertEqual(partitions("t", 0), ["t"])
