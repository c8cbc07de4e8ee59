"""Tests for sniproxy.resolvers.cache.singleflight."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Request, Resolution, Target
from sniproxy.resolvers.cache.singleflight import SingleFlight

REQUEST = Request("a.test", (), "192.0.2.7:1", "public", port=1)
ANSWER = Resolution([Target("b.test", 1)])


class FlightTests(SynchronousTestCase):
    """Who waits for an answer."""

    def setUp(self) -> None:
        self.flight = SingleFlight("key", "question", 0, False)
        self.left: list[SingleFlight] = []

    def test_cancelled(self) -> None:
        """Who is cancelled leaves, and the others go on waiting."""
        one, two = (self.flight.wait(REQUEST, self.left.append) for _ in range(2))
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertEqual(([two], [self.flight]), (self.flight.waiting(), self.left))

    def test_timers(self) -> None:
        """A timer of a wait ends with it; the deadline ends with the flight."""
        clock = Clock()
        waiter = self.flight.wait(REQUEST, self.left.append)
        self.flight.limit(waiter, clock.callLater(1, self.fail, "too late"))
        self.flight.timer = clock.callLater(1, self.fail, "too late")
        self.assertEqual(REQUEST, self.flight.leave(waiter))
        self.flight.end()
        self.flight.cancel()
        self.assertEqual([], clock.getDelayedCalls())

    def test_cancel(self) -> None:
        """The resolver is told that nobody waits."""
        self.flight.answer = Deferred()
        self.flight.cancel()
        self.failureResultOf(self.flight.answer, CancelledError)

    def test_moved(self) -> None:
        """Who was moved gets the other answer, and when it is cancelled, the other one is."""
        for cancel in (False, True):
            waiter = self.flight.wait(REQUEST, self.left.append)
            self.flight.leave(waiter)
            other: Deferred[Resolution] = Deferred()
            self.flight.move(waiter, other)
            if cancel:
                waiter.cancel()
                self.failureResultOf(waiter, CancelledError)
            else:
                other.callback(ANSWER)
                self.assertEqual(ANSWER, self.successResultOf(waiter))
            self.assertTrue(other.called)
        self.assertEqual([], self.left)
