"""Tests for sniproxy.inspector.entries. test_ledger tests folding with a ledger."""

from collections import deque

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.entries import MAX_MOVES, Move, TopicEntry, fold, merged


class MergedTests(SynchronousTestCase):
    """merged: two entries for a topic."""

    def test_merged(self) -> None:
        """The entry seen last has the owner; counts are added, moves are in order and bounded."""
        moves = [Move(float(n), f"{n}", None, f"{n + 1}", None, "lookup") for n in range(MAX_MOVES)]
        old = TopicEntry("t", "pulsar://a", lookups=2, failures=1, last_error="busy", first_seen=1.0, last_seen=5.0)
        new = TopicEntry("t", "pulsar://b", lookups=3, redirects=1, first_seen=2.0, last_seen=6.0)
        old.moves, new.moves = deque(moves[::2]), deque([*moves[1::2], Move(99.0, "b", None, "c", None, "close")])
        for entry in (merged(old, new), merged(new, old)):
            self.assertEqual(
                ("pulsar://b", 1.0, 6.0, "busy"),
                (entry.broker_url, entry.first_seen, entry.last_seen, entry.last_error),
            )
            self.assertEqual((5, 1, 1), (entry.lookups, entry.redirects, entry.failures))
            self.assertEqual([*(move.time for move in moves[1:]), 99.0], [move.time for move in entry.moves])


class FoldTests(SynchronousTestCase):
    """fold: one entry for all partitions."""

    def test_clusters(self) -> None:
        """Partitions of two clusters are two topics."""
        entries = [TopicEntry(f"t-partition-{number % 2}", cluster="ab"[number // 2]) for number in range(4)]
        self.assertEqual([("t", 2, "a"), ("t", 2, "b")], [(e.topic, e.partitions, e.cluster) for e in fold(entries)])
