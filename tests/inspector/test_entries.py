"""Tests for sniproxy.inspector.entries. test_ledger tests folding with a ledger."""

from collections import deque

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.entries import (
    LOOKUP,
    MAX_MOVES,
    PARTITIONED_METADATA,
    Move,
    TopicEntry,
    failed_step,
    fold,
    merged,
)
from sniproxy.inspector.layouts import Layout, Segment
from sniproxy.pulsar.events import Event, Fields


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

    def test_same_move(self) -> None:
        """A move that both entries have counts once."""
        old, new = (TopicEntry("t", last_seen=seen, moves_total=1) for seen in (1.0, 2.0))
        for entry in (old, new):
            entry.moves.append(Move(1.0, "a", None, "b", None, "lookup"))
        both = merged(old, new)
        self.assertEqual((1, 1), (len(both.moves), both.moves_total))

    def test_owner(self) -> None:
        """The owner is one that is known, and rather one that a lookup named than one of a layout."""
        layout = Layout(0, None, 5.0, 1)
        segment = Segment("topic://a/b/c", 0, None, None, False, (), 5.0)
        old = TopicEntry("t", "pulsar://a", source="lookup", last_seen=1.0, migrated=True, leader_url="pulsar://l")
        for new in (
            TopicEntry("t", last_seen=2.0, layout=layout, segment=segment),
            TopicEntry("t", "pulsar://b", source="scalable_topic", last_seen=2.0, layout=layout, segment=segment),
        ):
            for entry in (merged(old, new), merged(new, old)):
                self.assertEqual(("pulsar://a", "lookup", True), (entry.broker_url, entry.source, entry.migrated))
                self.assertEqual((layout, segment, "pulsar://l"), (entry.layout, entry.segment, entry.leader_url))
                self.assertEqual(2.0, entry.last_seen)
        both = merged(new, TopicEntry("t", last_seen=3.0, leader_url_tls="pulsar+ssl://m"))
        self.assertEqual(("pulsar://b", "pulsar+ssl://m"), (both.broker_url, both.leader_url_tls))


class FoldTests(SynchronousTestCase):
    """fold: one entry for all partitions."""

    def test_clusters(self) -> None:
        """Partitions of two clusters are two topics."""
        entries = [TopicEntry(f"t-partition-{number % 2}", cluster="ab"[number // 2]) for number in range(4)]
        self.assertEqual([("t", 2, "a"), ("t", 2, "b")], [(e.topic, e.partitions, e.cluster) for e in fold(entries)])

    def test_segments(self) -> None:
        """Segments are folded into their topic, which has the layout; its last owner is one that is known."""
        layout = Layout(0, None, 5.0, 2)
        topic = TopicEntry("topic://a/b/c", last_seen=9.0, layout=layout)
        segments = [
            TopicEntry(f"segment://a/b/c/0000-ffff-{at}", f"pulsar://{at}", last_seen=1.0 + at) for at in (0, 1)
        ]
        for entries in ([topic, *segments], [*segments, topic]):
            [entry] = fold(entries)
            self.assertEqual(
                ("topic://a/b/c", 2, 0, layout), (entry.topic, entry.segments, entry.partitions, entry.layout)
            )
            self.assertEqual(("pulsar://1", 9.0), (entry.broker_url, entry.last_seen))

    def test_sealed(self) -> None:
        """A broker gives up segments that are sealed: their topic is not unloaded, unless another segment is."""
        for last in (False, True):
            segments = [
                TopicEntry(
                    f"segment://a/b/c/0000-ffff-{at}",
                    unsettled=sealed or last,
                    segment=Segment("topic://a/b/c", at, 0, 0xFFFF, sealed, (), 1.0),
                )
                for at, sealed in ((0, True), (1, False))
            ]
            self.assertEqual([last], [entry.unsettled for entry in fold(segments)])

    def test_no_partitions(self) -> None:
        """A topic without partitions stays as it is."""
        entry = TopicEntry("t", lookups=3)
        self.assertEqual([entry], fold([entry]))

    def test_moves_and_errors(self) -> None:
        """A folded topic has the moves of all partitions in order, the newest error, and whether one is unsettled."""
        entries = [TopicEntry(f"t-partition-{number}", last_seen=number, lookups=1) for number in range(3)]
        for number, moved_at in ((0, 7.0), (1, 5.0)):
            entries[number].moves.append(Move(moved_at, "a", None, "b", None, "lookup"))
            entries[number].last_error = f"error {number}"
        entries[1].unsettled = True
        [topic] = fold(entries)
        self.assertEqual(
            (3, [5.0, 7.0], "error 1", True),
            (topic.lookups, [move.time for move in topic.moves], topic.last_error, topic.unsettled),
        )


class FailedStepTests(SynchronousTestCase):
    """failed_step: which step of a lookup failed."""

    def test_steps(self) -> None:
        """A failed answer or an ERROR names its step; a good answer, and an ERROR for another request, name none."""
        cases: tuple[tuple[str, Fields, str | None], ...] = (
            ("lookup", {"response": "failed"}, LOOKUP),
            ("lookup", {"response": "connect"}, None),
            ("partitions", {"status": "failed"}, PARTITIONED_METADATA),
            ("partitions", {"status": "success"}, None),
            ("error", {"request": "LOOKUP"}, LOOKUP),
            ("error", {"request": "PARTITIONED_METADATA"}, PARTITIONED_METADATA),
            ("error", {"request": "PRODUCER"}, None),
            ("close", {}, None),
        )
        for name, fields, step in cases:
            self.assertEqual(step, failed_step(Event(name, 0.0, "c-1", fields)), (name, fields))
