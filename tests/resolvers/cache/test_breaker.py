"""Tests for sniproxy.resolvers.cache.breaker."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.cache.breaker import CALM_S, MAX_COUNTED, MAX_FAILURES, PASSES, Breaker, State


class BreakerTests(SynchronousTestCase):
    """When a resolver is asked only a few questions a second."""

    def opened(self) -> Breaker:
        breaker = Breaker()
        for number in range(MAX_FAILURES):
            self.assertTrue(breaker.lets(number, 0.0))
            breaker.failed(number, f"{number}.test", 0.0)
        self.assertIs(State.OPEN, breaker.state)
        return breaker

    def test_one_bad_name(self) -> None:
        """One name may fail for all clients: other names are asked about."""
        breaker = Breaker()
        for client in range(100):
            breaker.failed(client, "bad", 0.0)
        self.assertTrue(breaker.lets("c", 0.0))
        self.assertIs(State.CLOSED, breaker.state)

    def test_one_bad_client(self) -> None:
        """One client's names may all fail: it counts once."""
        breaker = Breaker()
        for name in range(100):
            breaker.failed("c", name, 0.0)
        self.assertIs(State.CLOSED, breaker.state)

    def test_success_between(self) -> None:
        """An answer to any name clears all failures before, and keeps it closed for a moment."""
        breaker = Breaker()
        for number in range(10 * MAX_FAILURES):
            breaker.failed(number, number, 0.0)
            if number % (MAX_FAILURES - 1) == 0:
                breaker.succeeded(0.0)
        self.assertIs(State.CLOSED, breaker.state)
        for number in range(10 * MAX_FAILURES):
            breaker.failed(number, number, CALM_S - 0.1)
        self.assertIs(State.CLOSED, breaker.state)
        self.assertEqual(10 * MAX_FAILURES, breaker.clients)
        breaker.failed(0, 0, CALM_S)
        self.assertIs(State.OPEN, breaker.state)

    def test_passes(self) -> None:
        """While it is open a few questions a second pass, one for each client; those that fail leave places free."""
        breaker = self.opened()
        for now in (10.0, 11.0):
            failing = [breaker.lets(client, now) for client in range(MAX_FAILURES)]
            self.assertEqual([True] * PASSES + [False] * (MAX_FAILURES - PASSES), failing)
            self.assertTrue(breaker.lets("other", now))
            self.assertFalse(breaker.lets("other", now + 0.9))
            others = [breaker.lets(f"other {number}", now) for number in range(PASSES)]
            self.assertEqual([True] * (PASSES - 1) + [False], others)

    def test_closes(self) -> None:
        """One answer closes it; failures keep it open."""
        breaker = self.opened()
        breaker.failed("x", "x", 1.0)
        self.assertIs(State.OPEN, breaker.state)
        breaker.succeeded(2.0)
        self.assertEqual([True] * 20, [breaker.lets("x", 2.0) for _ in range(20)])
        self.assertEqual(0, breaker.clients)

    def test_bounded(self) -> None:
        """Clients choose the names, and may have many addresses: no more than a bound are kept."""
        breaker = Breaker()
        for number in range(2 * MAX_COUNTED):
            breaker.failed(number, number, 0.0)
        self.assertEqual(MAX_COUNTED, breaker.clients)
