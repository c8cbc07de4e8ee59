"""Tests for sniproxy.util.bounded."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.bounded import BoundedMap, Kept, LRUMap


class BoundedMapTests(SynchronousTestCase):
    """BoundedMap: the oldest entry makes room."""

    def setUp(self) -> None:
        self.memory: BoundedMap[str, int] = BoundedMap(most=2)

    def test_remembers(self) -> None:
        """A stored entry is there until it is popped."""
        self.memory.put("a", 1, 10.0)
        self.assertEqual(self.memory.get("a"), 1)
        self.assertEqual(self.memory.pop("a"), Kept("a", 1, 10.0))
        self.assertEqual((self.memory.get("a"), self.memory.pop("a"), len(self.memory)), (None, None, 0))

    def test_bounded(self) -> None:
        """A put into a full map removes and returns the oldest entry; storing a key again makes it the newest."""
        self.assertIsNone(self.memory.put("a", 1, 10.0))
        self.assertIsNone(self.memory.put("b", 2, 11.0))
        self.assertIsNone(self.memory.put("a", 3, 12.0))
        self.assertEqual(self.memory.put("c", 4, 13.0), Kept("b", 2, 11.0))
        self.assertEqual((self.memory.get("a"), self.memory.get("c"), len(self.memory)), (3, 4, 2))

    def test_older(self) -> None:
        """Entries stored before a time are removed, oldest first."""
        self.memory.put("a", 1, 10.0)
        self.memory.put("b", 2, 11.0)
        self.assertEqual(self.memory.older(10.0), [])
        self.assertEqual(self.memory.older(11.0), [Kept("a", 1, 10.0)])
        self.assertEqual(self.memory.older(99.0), [Kept("b", 2, 11.0)])
        self.assertEqual(len(self.memory), 0)

    def test_clear(self) -> None:
        """All entries are removed and returned, oldest first."""
        self.memory.put("a", 1, 10.0)
        self.memory.put("b", 2, 11.0)
        self.assertEqual([kept.key for kept in self.memory.clear()], ["a", "b"])
        self.assertEqual(len(self.memory), 0)


class LRUMapTests(SynchronousTestCase):
    """LRUMap: the least recently used entry makes room."""

    def test_bounded(self) -> None:
        """A full map removes the entry that was not used for the longest time."""
        memory: LRUMap[str, int] = LRUMap(2)
        memory.put("a", 1)
        memory.put("b", 2)
        self.assertEqual(1, memory.get("a"))
        memory.put("c", 3)
        self.assertEqual([None, 1, 3], [memory.get(key) for key in "bac"][:1] + list(memory.values()))
        self.assertEqual(2, len(memory))

    def test_put_again(self) -> None:
        """A new value replaces the old one and is the most recently used."""
        memory: LRUMap[str, int] = LRUMap(2)
        for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
            memory.put(key, value)
        self.assertEqual([None, 3, 4], [memory.get(key) for key in "bac"])

    def test_drop_and_clear(self) -> None:
        """A dropped entry is gone; dropping an absent key does nothing."""
        memory: LRUMap[str, int] = LRUMap(2)
        memory.put("a", 1)
        memory.put("b", 2)
        memory.drop("a")
        memory.drop("a")
        self.assertEqual([2], list(memory.values()))
        memory.clear()
        self.assertEqual(0, len(memory))
