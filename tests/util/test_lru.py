"""Tests for sniproxy.util.lru."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.lru import LRUMap


class MemoryTests(SynchronousTestCase):
    """What is kept, and what is forgotten."""

    def test_bounded(self) -> None:
        """When it is full, what was not used for the longest time goes."""
        memory: LRUMap[str, int] = LRUMap(2)
        memory.put("a", 1)
        memory.put("b", 2)
        self.assertEqual(1, memory.get("a"))
        memory.put("c", 3)
        self.assertEqual([None, 1, 3], [memory.get(key) for key in "bac"][:1] + list(memory.values()))
        self.assertEqual(2, len(memory))

    def test_put_again(self) -> None:
        """A new value takes the old one's place, and is the youngest."""
        memory: LRUMap[str, int] = LRUMap(2)
        for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
            memory.put(key, value)
        self.assertEqual([None, 3, 4], [memory.get(key) for key in "bac"])

    def test_drop_and_clear(self) -> None:
        """What is dropped is gone; what is not there can be dropped, too."""
        memory: LRUMap[str, int] = LRUMap(2)
        memory.put("a", 1)
        memory.put("b", 2)
        memory.drop("a")
        memory.drop("a")
        self.assertEqual([2], list(memory.values()))
        memory.clear()
        self.assertEqual(0, len(memory))
