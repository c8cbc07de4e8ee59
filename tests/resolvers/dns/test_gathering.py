"""Tests for sniproxy.resolvers.dns.gathering."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.dns.gathering import gather


class GatherTests(SynchronousTestCase):
    """Several lookups, of which some may be late."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[float]] = [Deferred() for _ in range(3)]
        # An answer says itself how long the others may take; 0: as long as they do.
        self.done = gather(self.clock, self.asked, lambda seconds: seconds or None)

    def test_all(self) -> None:
        """When all have finished, the results are in order, and no timer is left."""
        error = ValueError()
        self.asked[2].callback(5)
        self.asked[1].errback(error)
        self.asked[0].callback(0)
        self.assertEqual([0, error, 5], self.successResultOf(self.done))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_late(self) -> None:
        """The shortest grace period counts; late lookups are cancelled."""
        self.asked[0].callback(5)
        self.asked[1].callback(2)
        self.clock.advance(1)
        self.assertNoResult(self.done)
        self.clock.advance(1)
        self.assertEqual([5, 2, None], self.successResultOf(self.done))
        self.assertTrue(self.asked[2].called)

    def test_errors_wait(self) -> None:
        """An error does not limit the others, nor does an answer without a grace period."""
        self.asked[0].errback(ValueError())
        self.asked[1].callback(0)
        self.clock.advance(1000)
        self.assertNoResult(self.done)

    def test_cancelled(self) -> None:
        """Cancelling cancels all lookups and the timer."""
        self.asked[0].callback(5)
        self.done.cancel()
        self.failureResultOf(self.done, CancelledError)
        self.assertEqual([True] * 3, [one.called for one in self.asked])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_none(self) -> None:
        """Without lookups the result is immediate."""
        self.assertEqual([], self.successResultOf(gather(self.clock, [], lambda _: None)))
