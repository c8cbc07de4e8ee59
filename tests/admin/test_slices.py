"""Tests for sniproxy.admin.slices."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.slices import SLICE_S, Slices, Steps, finish
from tests.support.rounds import Rounds


class SlicesTests(SynchronousTestCase):
    """Work that is split over iterations of the reactor."""

    def setUp(self) -> None:
        self.clock = Rounds()
        self.now = 0.0
        self.done: list[str] = []
        self.slices = Slices(self.clock, lambda: self.now)

    def work(self, name: str, count: int) -> Steps[str]:
        """A generator whose steps each take a third of a slice."""
        for number in range(count):
            self.now += SLICE_S / 3
            self.done.append(f"{name}{number}")
            yield
        return name

    def test_slice(self) -> None:
        """One iteration does one slice of work; the Deferred fires with the result of the last step."""
        result = self.slices.run(self.work("a", 7))
        self.assertEqual([], self.done)
        for wanted in (3, 6, 7):
            self.clock.round()
            self.assertEqual(wanted, len(self.done))
        self.assertEqual("a", self.successResultOf(result))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_turns(self) -> None:
        """Two jobs share each slice."""
        both = [self.slices.run(self.work(name, 3)) for name in "ab"]
        self.clock.round()
        self.assertEqual(["a0", "b0", "a1"], self.done)
        self.clock.round()
        self.clock.round()
        self.assertEqual(["a", "b"], [self.successResultOf(one) for one in both])

    def test_fault(self) -> None:
        """An exception fails its own job; the other jobs continue."""

        def fault() -> Steps[str]:
            yield
            raise ZeroDivisionError

        bad, good = self.slices.run(fault()), self.slices.run(self.work("a", 1))
        self.clock.round()
        self.failureResultOf(bad, ZeroDivisionError)
        self.assertEqual("a", self.successResultOf(good))

    def test_cancel(self) -> None:
        """Cancelled work is dropped, and a stop drops all work."""
        first = self.slices.run(self.work("a", 9))
        self.clock.round()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.slices.run(self.work("b", 9))
        self.slices.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(3, len(self.done))

    def test_finish(self) -> None:
        """finish() runs all remaining steps at once."""
        self.assertEqual("a", finish(self.work("a", 9)))
