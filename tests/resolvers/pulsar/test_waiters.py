"""Tests for sniproxy.resolvers.pulsar.waiters."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.pulsar.waiters import Waiters


class WaitersTests(SynchronousTestCase):
    """Waiting and releasing."""

    def setUp(self) -> None:
        self.waiters = Waiters()
        self.fired: list[str] = []

    def wait(self, name: str) -> Deferred[None]:
        return self.waiters.wait().addCallback(lambda _: self.fired.append(name))

    def test_release(self) -> None:
        """A release fires all waiters in their order, once."""
        for name in "abc":
            self.wait(name)
        self.assertEqual([], self.fired)
        self.waiters.release()
        self.waiters.release()
        self.assertEqual(["a", "b", "c"], self.fired)

    def test_cancelled(self) -> None:
        """A cancelled waiter is not fired."""
        self.wait("a")
        cancelled = self.wait("b")
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.waiters.release()
        self.assertEqual(["a"], self.fired)

    def test_cancelled_by_another(self) -> None:
        """A waiter may cancel the next one; those behind it fire."""
        first, cancelled = self.wait("a"), self.wait("b")
        first.addCallback(lambda _: cancelled.cancel())
        self.wait("c")
        self.waiters.release()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(["a", "c"], self.fired)

    def test_wait_again(self) -> None:
        """A waiter that waits again fires at the next release."""
        self.wait("a").addCallback(lambda _: self.wait("again"))
        self.waiters.release()
        self.assertEqual(["a"], self.fired)
        self.waiters.release()
        self.assertEqual(["a", "again"], self.fired)
