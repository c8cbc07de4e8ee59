"""The schedule of dials to several targets."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.net.overlapping import MIN_ATTEMPT_S, MIN_PAUSE_S, Overlapping, times


class TimesTests(SynchronousTestCase):
    """The time of each target, and the start of the next one."""

    def test_equal_shares(self) -> None:
        """With enough time, each target has an equal share, and attempts do not overlap."""
        self.assertEqual((5.0, 5.0), times(10.0, 2))
        self.assertEqual((1.0, 1.0), times(10.0, 10))

    def test_overlapping(self) -> None:
        """Each target has at least a second, and the last one starts a second before the end."""
        length, pause = times(10.0, 60)
        self.assertEqual(MIN_ATTEMPT_S, length)
        self.assertAlmostEqual(9.0, 59 * pause)

    def test_little_time(self) -> None:
        """With less than a second, each target has the remaining time."""
        self.assertEqual((0.4, 0.4), times(0.4, 1))
        self.assertEqual((0.4, MIN_PAUSE_S), times(0.4, 3))


class OverlappingTests(SynchronousTestCase):
    """Attempts whose ends a test controls."""

    def begin(self, count: int, seconds: float = 10.0, refused: int = 0) -> Overlapping[str]:
        """@param refused: the first ones fail at once."""
        self.clock = Clock()
        self.attempts: list[Deferred[str]] = []
        self.cancelled: list[str] = []
        self.failed: list[str] = []
        targets = [Target(f"t{number}", 6651) for number in range(count)]

        def attempt(target: Target, length: float) -> Deferred[str]:
            one: Deferred[str] = Deferred(lambda _: self.cancelled.append(target.host))
            if len(self.attempts) < refused:
                one = fail(ValueError("refused"))
            else:
                timer = self.clock.callLater(length, one.errback, TimeoutError())

                def over(result: Any) -> Any:
                    if timer.active():
                        timer.cancel()
                    return result

                one.addBoth(over)
            self.attempts.append(one)
            return one

        return Overlapping(self.clock, targets, seconds, attempt, lambda target, _: self.failed.append(target.host))

    def test_first(self) -> None:
        """The first success is the result, and no further attempt starts."""
        dialling = self.begin(3)
        self.attempts[0].callback("socket")
        self.assertEqual((Target("t0", 6651), "socket"), self.successResultOf(dialling.result))
        self.assertEqual((1, []), (len(self.attempts), self.clock.getDelayedCalls()))

    def test_next(self) -> None:
        """The next attempt starts when the previous one has failed, at once or later, or used its time."""
        dialling = self.begin(4, refused=1)
        self.assertEqual((2, ["t0"]), (len(self.attempts), self.failed))
        self.attempts[1].errback(ValueError("refused"))
        self.assertEqual(3, len(self.attempts))
        self.clock.advance(5)
        self.assertEqual((4, ["t0", "t1", "t2"]), (len(self.attempts), self.failed))
        self.clock.advance(5)
        self.assertIsNone(self.successResultOf(dialling.result))

    def test_sixty(self) -> None:
        """Each of sixty silent targets gets a second, and the total time is never exceeded."""
        dialling = self.begin(60)
        self.clock.pump([0.01] * 1001)
        self.assertEqual((60, 60, 0), (len(self.attempts), len(self.failed), dialling.untried))
        self.assertIsNone(self.successResultOf(dialling.result))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_time_is_up(self) -> None:
        """Targets without remaining time are not tried, and are counted."""
        dialling = self.begin(10, seconds=0.2)
        self.clock.pump([0.05] * 5)
        self.assertIsNone(self.successResultOf(dialling.result))
        self.assertEqual(10 - len(self.attempts), dialling.untried)
        self.assertLess(len(self.attempts), 10)

    def test_others_are_cancelled(self) -> None:
        """When one attempt succeeds, the others are cancelled and do not count as failed."""
        dialling = self.begin(20)
        self.clock.advance(0.5)
        self.clock.advance(0.48)
        self.attempts[1].callback("socket")
        self.assertEqual("t1", self.successResultOf(dialling.result)[0].host)  # type: ignore[index]
        self.assertEqual((["t0", "t2"], []), (sorted(self.cancelled + self.failed), self.clock.getDelayedCalls()))

    def test_cancel(self) -> None:
        """A cancellation cancels all attempts and starts no other."""
        dialling = self.begin(20)
        self.clock.advance(0.5)
        dialling.result.cancel()
        self.failureResultOf(dialling.result, CancelledError)
        self.assertEqual((["t0", "t1"], 2), (sorted(self.cancelled), len(self.attempts)))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_fault(self) -> None:
        """An exception of the caller is the result, and cancels all attempts."""

        def failed(target: Target, failure: Failure) -> None:
            failure.raiseException()

        def attempt(target: Target, length: float) -> Deferred[str]:
            raise RuntimeError("a fault")

        dialling: Overlapping[str] = Overlapping(Clock(), [Target("a", 1), Target("b", 1)], 1.0, attempt, failed)
        self.failureResultOf(dialling.result, RuntimeError)
