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
    """Connections that wait for one answer."""

    def setUp(self) -> None:
        self.flight = SingleFlight("key", "cache key", 0, False)
        self.left: list[SingleFlight] = []

    def test_cancelled(self) -> None:
        """A cancelled waiter is removed; the others still wait."""
        one, two = (self.flight.add_waiter(REQUEST, self.left.append) for _ in range(2))
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertEqual(([two], [self.flight]), (self.flight.waiters(), self.left))

    def test_timers(self) -> None:
        """Removing a waiter cancels its timer; cancelling the query cancels the query's timeout."""
        clock = Clock()
        waiter = self.flight.add_waiter(REQUEST, self.left.append)
        self.flight.set_timer(waiter, clock.callLater(1, self.fail, "too late"))
        self.flight.timer = clock.callLater(1, self.fail, "too late")
        self.assertEqual(REQUEST, self.flight.remove_waiter(waiter))
        self.flight.cancel_timer()
        self.flight.cancel()
        self.assertEqual([], clock.getDelayedCalls())

    def test_cancel(self) -> None:
        """Cancelling the flight cancels the resolver's answer."""
        self.flight.answer = Deferred()
        self.flight.cancel()
        self.failureResultOf(self.flight.answer, CancelledError)

    def test_moved(self) -> None:
        """A moved waiter gets the other answer; cancelling it cancels the other."""
        for cancel in (False, True):
            waiter = self.flight.add_waiter(REQUEST, self.left.append)
            self.flight.remove_waiter(waiter)
            other: Deferred[Resolution] = Deferred()
            self.flight.move_waiter(waiter, other)
            if cancel:
                waiter.cancel()
                self.failureResultOf(waiter, CancelledError)
            else:
                other.callback(ANSWER)
                self.assertEqual(ANSWER, self.successResultOf(waiter))
            self.assertTrue(other.called)
        self.assertEqual([], self.left)
