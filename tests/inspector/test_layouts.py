"""Tests for sniproxy.inspector.layouts."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.layouts import Layout, Segment, next_layout, segment_of, splits_and_merges, tables
from sniproxy.pulsar.events import Fields


def segment(number: int, *parents: int, epoch: int | None = 0, **more: Any) -> dict[str, Any]:
    """A segment in an event."""
    fields: dict[str, Any] = {
        "segment_id": number,
        "segment_topic": f"segment://a/b/c/0000-ffff-{number}",
        "hash_start": 0,
        "hash_end": 65535,
        "sealed": False,
        "parents": [*parents],
        "created_epoch": epoch,
        "created": None if epoch is None else 100.0 + epoch,
    }
    return {**fields, **more}


def update(epoch: int | None, *segments: Fields, **more: Any) -> Fields:
    """The fields of a `scalable_topic` event that belong to its layout."""
    controller = {"controller_broker_url": None, "controller_broker_url_tls": None}
    return {"epoch": epoch, "segments": [*segments], "segments_total": len(segments), **controller, **more}


class NextLayoutTests(SynchronousTestCase):
    """next_layout: whether a layout counts."""

    def test_first(self) -> None:
        """The first layout counts, whatever its epoch; one without an epoch is none."""
        expected = Layout(7, 101.0, 5.0, 2, "pulsar://b", "pulsar+ssl://b")
        controller = {"controller_broker_url": "pulsar://b", "controller_broker_url_tls": "pulsar+ssl://b"}
        self.assertEqual(next_layout(None, update(7, segment(0), segment(1, epoch=1), **controller), 5.0), expected)
        self.assertIsNone(next_layout(None, update(None), 5.0))

    def test_older(self) -> None:
        """A layout with a lower epoch is older, unless its segments are newer: the topic was created again."""
        before = Layout(3, 103.0, 5.0, 2)
        self.assertIsNone(next_layout(before, update(2, segment(0, epoch=2)), 6.0))
        self.assertIsNone(next_layout(before, update(2, segment(0, epoch=None)), 6.0))
        self.assertEqual(next_layout(before, update(0, segment(0, created=200.0)), 6.0), Layout(0, 200.0, 6.0, 1))
        for epoch in (3, 4):
            self.assertEqual(next_layout(before, update(epoch), 6.0), Layout(epoch, None, 6.0, 0))

    def test_controller(self) -> None:
        """A known controller stays until a layout names another one, or the topic was created again."""
        before = Layout(3, 103.0, 5.0, 2, "pulsar://b", None)
        old, split, new = segment(0, epoch=3), segment(0, epoch=4), segment(0, created=200.0)
        for epoch, at, named, expected in (
            (3, old, None, "pulsar://b"),
            (3, old, "pulsar://c", "pulsar://c"),
            (4, split, None, "pulsar://b"),
            (0, new, None, None),
            (3, new, None, None),
        ):
            layout = next_layout(before, update(epoch, at, controller_broker_url=named), 6.0)
            assert layout is not None
            self.assertEqual(layout.controller_url, expected, (epoch, at))


class SegmentTests(SynchronousTestCase):
    """segment_of and tables."""

    def test_segment(self) -> None:
        """A segment with and without its hashes."""
        at = segment(4, 1, 2, sealed=True)
        self.assertEqual(segment_of("topic://a/b/c", at, 9.0), Segment("topic://a/b/c", 4, 0, 65535, True, (1, 2), 9.0))
        at |= {"hash_start": None, "hash_end": None}
        self.assertEqual(segment_of("t", at, 9.0).hash_end, None)

    def test_tables(self) -> None:
        """Only a list's objects count."""
        self.assertEqual((tables([{"a": 1}, "b"]), tables(None)), ([{"a": 1}], []))


class ChangeTests(SynchronousTestCase):
    """splits_and_merges."""

    def changes(self, epoch: int, *segments: Fields) -> list[tuple[str, Any, list[Any], list[Any]]]:
        """Each change: its name and epoch, the ids of the parents and of the children."""
        found = []
        for name, fields in splits_and_merges(segments, epoch):
            parents, children = ([at["segment_id"] for at in tables(fields[key])] for key in ("parents", "children"))
            found.append((name, fields["epoch"], parents, children))
        return found

    def test_split(self) -> None:
        """A segment that became two."""
        segments = segment(0), segment(1), segment(2, 0, epoch=1), segment(3, 0, epoch=1)
        self.assertEqual(self.changes(0, *segments), [("split", 1, [0], [2, 3])])
        self.assertEqual(self.changes(1, *segments), [])
        [(_, fields)] = splits_and_merges(segments, 0)
        brief = {"segment_id": 0, "segment_topic": "segment://a/b/c/0000-ffff-0", "hash_start": 0, "hash_end": 65535}
        self.assertEqual(fields["parents"], [brief])

    def test_merge(self) -> None:
        """Two segments that became one; a parent that is not listed any more is known by its id."""
        segments = segment(1), segment(4, 3, 2, epoch=2)
        self.assertEqual(self.changes(1, segment(2), segment(3), *segments), [("merged", 2, [2, 3], [4])])
        [(_, fields)] = splits_and_merges(segments, 1)
        gone = {"segment_id": 2, "segment_topic": None, "hash_start": None, "hash_end": None}
        self.assertEqual(tables(fields["parents"])[0], gone)

    def test_several(self) -> None:
        """Changes of one layout come in the order of their epochs."""
        segments = (
            *(segment(4, 2, 3, epoch=2), segment(2, 0, epoch=1), segment(3, 0, epoch=1)),
            *(segment(5, 1, epoch=3), segment(6, 1, epoch=3), segment(0), segment(1)),
        )
        expected = [("split", 1, [0], [2, 3]), ("merged", 2, [2, 3], [4]), ("split", 3, [1], [5, 6])]
        self.assertEqual(self.changes(0, *segments), expected)
        self.assertEqual(self.changes(1, *segments), expected[1:])

    def test_nothing(self) -> None:
        """Segments without parents or without an epoch are no change."""
        self.assertEqual(self.changes(0, segment(7, epoch=3), segment(8, 7, epoch=None)), [])

    @given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3), st.integers(0, 4))))
    def test_any(self, made: list[tuple[int, list[int], int]]) -> None:
        """Each new segment with parents is the child of exactly one change."""
        segments = {number: segment(number, *parents, epoch=epoch) for number, parents, epoch in made}
        children = [one for _, _, _, listed in self.changes(1, *segments.values()) for one in listed]
        expected = [at["segment_id"] for at in segments.values() if at["created_epoch"] > 1 and at["parents"]]
        self.assertEqual(sorted(children), sorted(expected))
