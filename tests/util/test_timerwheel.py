"""Deadlines that share a timer."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.timerwheel import TICK_S, TimerWheel, timer_wheel_of


class WheelTests(SynchronousTestCase):
    """The time and order of calls."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = TimerWheel(self.clock)
        self.made: list[str] = []

    def after(self, seconds: float, name: str) -> object:
        return self.wheel.after(seconds, lambda: self.made.append(name))

    def test_order(self) -> None:
        """Each call runs less than a tick after its time, never before it, for any order of setting."""
        for seconds in (5.0, 0.3, 1.0, 0.31):
            self.after(seconds, str(seconds))
        self.clock.advance(0.299)
        self.assertEqual([], self.made)
        self.clock.advance(0.01 + TICK_S)
        self.assertEqual(["0.3", "0.31"], self.made)
        self.clock.pump([TICK_S] * 40)
        self.assertEqual(["0.3", "0.31", "1.0", "5.0"], self.made)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_one_timer(self) -> None:
        """The reactor has one delayed call for any number of deadlines."""
        for number in range(1000):
            self.after(10 + number / 100, str(number))
        self.assertEqual(1, len(self.clock.getDelayedCalls()))

    def test_cancelled(self) -> None:
        """A cancelled call does not run; without calls the reactor has no delayed call."""
        first, second = self.wheel.after(1, self.fail), self.wheel.after(2, self.fail)
        first.cancel()
        first.cancel()
        second.cancel()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(3)

    def test_cancelled_by_each_other(self) -> None:
        """A call may cancel another one of the same tick, and set a new one."""
        second = None

        def first() -> None:
            assert second is not None
            second.cancel()
            self.after(1, "third")

        self.wheel.after(1, first)
        second = self.wheel.after(1, self.fail)
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual(["third"], self.made)

    def test_failing(self) -> None:
        """An exception is logged, and other calls run."""

        def failing() -> None:
            raise KeyError("a fault")

        self.wheel.after(1, failing)
        self.after(1, "other")
        self.clock.advance(1)
        self.assertEqual(["other"], self.made)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_at_once(self) -> None:
        """A call in 0 seconds runs in the next round of the reactor."""
        self.after(0, "now")
        self.assertEqual([], self.made)
        self.clock.advance(TICK_S)
        self.assertEqual(["now"], self.made)

    def test_one_wheel(self) -> None:
        """Each reactor has its own wheel."""
        self.assertIs(timer_wheel_of(self.clock), timer_wheel_of(self.clock))
        self.assertIsNot(timer_wheel_of(self.clock), timer_wheel_of(Clock()))
