"""Tests for sniproxy.util.perreactor."""

from __future__ import annotations

import gc
from weakref import ref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.perreactor import PerReactor


class PerReactorTests(SynchronousTestCase):
    """PerReactor: one object for each reactor."""

    def test_one(self) -> None:
        """Each reactor has its own object, which is made once."""
        made: PerReactor[list[Clock]] = PerReactor(lambda reactor: [])
        one, other = Clock(), Clock()
        self.assertIs(made(one), made(one))
        self.assertIsNot(made(one), made(other))
        self.assertIs(made(one), made(one))

    def test_set(self) -> None:
        """A reactor can bring its own object."""
        made: PerReactor[str] = PerReactor(lambda reactor: "made")
        clock = Clock()
        made.set(clock, "own")
        self.assertEqual(["own", "made"], [made(clock), made(Clock())])
        made.set(clock, "another")
        self.assertEqual("another", made(clock))
        made.set(clock, "a third")
        self.assertEqual("a third", made(clock))

    def test_dropped(self) -> None:
        """A reactor that is no longer used is not kept alive."""
        made: PerReactor[str] = PerReactor(lambda reactor: "made")
        clock = Clock()
        made(clock)
        gone = ref(clock)
        del clock
        gc.collect()
        self.assertIsNone(gone())
