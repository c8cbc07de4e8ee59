"""Tests for sniproxy.client.topics."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.topics import BadTopic, full_name, partitions


class TopicTests(SynchronousTestCase):
    """Forms of topic names."""

    def test_full_name(self) -> None:
        """Short names become full names, full names stay; a topic may contain slashes."""
        for text, name in (
            ("orders", "persistent://public/default/orders"),
            ("a/b/orders", "persistent://a/b/orders"),
            ("persistent://a/b/orders", "persistent://a/b/orders"),
            ("non-persistent://a/b/c/d", "non-persistent://a/b/c/d"),
        ):
            self.assertEqual(full_name(text), name)

    def test_bad(self) -> None:
        """Other texts are refused, with a message of one line."""
        for text in ("", "a/b", "http://a/b/c", "persistent://a/b", "persistent://a//c", "a/b/c\n", "://a/b/c"):
            self.assertTrue(str(self.assertRaises(BadTopic, full_name, text)).isprintable(), text)

    def test_partitions(self) -> None:
        """Partitions are numbered from 0; an unpartitioned topic is its only one."""
        self.assertEqual(partitions("t", 2), ["t-partition-0", "t-partition-1"])
        self.assertEqual(partitions("t", 0), ["t"])
