"""Tests for sniproxy.util.bounded."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.bounded import BoundedMap, Kept


class MemoryTests(SynchronousTestCase):
    """Memory: a bounded dictionary."""

    def setUp(self) -> None:
        self.memory: BoundedMap[str, int] = BoundedMap(most=2)

    def test_remembers(self) -> None:
        """What was put is there until it is popped."""
        self.memory.put("a", 1, 10.0)
        self.assertEqual(self.memory.get("a"), 1)
        self.assertEqual(self.memory.pop("a"), Kept("a", 1, 10.0))
        self.assertEqual((self.memory.get("a"), self.memory.pop("a"), len(self.memory)), (None, None, 0))

    def test_bounded(self) -> None:
        """One more than fits pushes out the oldest, and says which; putting a key again makes it the newest."""
        self.assertIsNone(self.memory.put("a", 1, 10.0))
        self.assertIsNone(self.memory.put("b", 2, 11.0))
        self.assertIsNone(self.memory.put("a", 3, 12.0))
        self.assertEqual(self.memory.put("c", 4, 13.0), Kept("b", 2, 11.0))
        self.assertEqual((self.memory.get("a"), self.memory.get("c"), len(self.memory)), (3, 4, 2))

    def test_older(self) -> None:
        """What was put before some time is forgotten, oldest first."""
        self.memory.put("a", 1, 10.0)
        self.memory.put("b", 2, 11.0)
        self.assertEqual(self.memory.older(10.0), [])
        self.assertEqual(self.memory.older(11.0), [Kept("a", 1, 10.0)])
        self.assertEqual(self.memory.older(99.0), [Kept("b", 2, 11.0)])
        self.assertEqual(len(self.memory), 0)

    def test_clear(self) -> None:
        """All is forgotten, oldest first."""
        self.memory.put("a", 1, 10.0)
        self.memory.put("b", 2, 11.0)
        self.assertEqual([kept.key for kept in self.memory.clear()], ["a", "b"])
        self.assertEqual(len(self.memory), 0)
