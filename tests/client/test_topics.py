"""Tests for sniproxy.client.topics."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.topics import BadTopic, full_name, partitions


class TopicTests(SynchronousTestCase):
    """How topics are written."""

    def test_full_name(self) -> None:
        """Short forms become full names, full ones stay; a topic may have slashes."""
        for text, name in (
            ("orders", "persistent://public/default/orders"),
            ("a/b/orders", "persistent://a/b/orders"),
            ("persistent://a/b/orders", "persistent://a/b/orders"),
            ("non-persistent://a/b/c/d", "non-persistent://a/b/c/d"),
        ):
            self.assertEqual(full_name(text), name)

    def test_bad(self) -> None:
        """Other texts are refused, in one line."""
        for text in ("", "a/b", "http://a/b/c", "persistent://a/b", "persistent://a//c", "a/b/c\n", "://a/b/c"):
            self.assertTrue(str(self.assertRaises(BadTopic, full_name, text)).isprintable(), text)

    def test_partitions(self) -> None:
        """Partitions are counted from 0; a topic without is itself."""
        self.assertEqual(partitions("t", 2), ["t-partition-0", "t-partition-1"])
        self.assertEqual(partitions("t", 0), ["t"])
