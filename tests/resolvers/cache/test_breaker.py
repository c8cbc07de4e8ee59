"""Tests for sniproxy.resolvers.cache.breaker."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.cache.breaker import (
    MAX_COUNTED,
    MAX_FAILURES,
    MAX_PROBES_PER_S,
    SUCCESS_GRACE_S,
    BreakerState,
    CircuitBreaker,
)


class BreakerTests(SynchronousTestCase):
    """When the breaker opens, and what passes then."""

    def opened(self) -> CircuitBreaker:
        breaker = CircuitBreaker()
        for number in range(MAX_FAILURES):
            self.assertTrue(breaker.allows(number, 0.0))
            breaker.record_failure(number, f"{number}.test", 0.0)
        self.assertIs(BreakerState.OPEN, breaker.state)
        return breaker

    def test_one_bad_name(self) -> None:
        """A single name that fails for all clients does not open it."""
        breaker = CircuitBreaker()
        for client in range(100):
            breaker.record_failure(client, "bad", 0.0)
        self.assertTrue(breaker.allows("c", 0.0))
        self.assertIs(BreakerState.CLOSED, breaker.state)

    def test_one_bad_client(self) -> None:
        """A client whose names all fail counts once."""
        breaker = CircuitBreaker()
        for name in range(100):
            breaker.record_failure("c", name, 0.0)
        self.assertIs(BreakerState.CLOSED, breaker.state)

    def test_success_between(self) -> None:
        """An answer to any name clears all failures and keeps the breaker closed for SUCCESS_GRACE_S."""
        breaker = CircuitBreaker()
        for number in range(10 * MAX_FAILURES):
            breaker.record_failure(number, number, 0.0)
            if number % (MAX_FAILURES - 1) == 0:
                breaker.record_success(0.0)
        self.assertIs(BreakerState.CLOSED, breaker.state)
        for number in range(10 * MAX_FAILURES):
            breaker.record_failure(number, number, SUCCESS_GRACE_S - 0.1)
        self.assertIs(BreakerState.CLOSED, breaker.state)
        self.assertEqual(10 * MAX_FAILURES, breaker.failed_clients)
        breaker.record_failure(0, 0, SUCCESS_GRACE_S)
        self.assertIs(BreakerState.OPEN, breaker.state)

    def test_probes(self) -> None:
        """An open breaker passes a few queries a second, one for each client. Some probes are left for others."""
        breaker = self.opened()
        for now in (10.0, 11.0):
            failing = [breaker.allows(client, now) for client in range(MAX_FAILURES)]
            self.assertEqual([True] * MAX_PROBES_PER_S + [False] * (MAX_FAILURES - MAX_PROBES_PER_S), failing)
            self.assertTrue(breaker.allows("other", now))
            self.assertFalse(breaker.allows("other", now + 0.9))
            others = [breaker.allows(f"other {number}", now) for number in range(MAX_PROBES_PER_S)]
            self.assertEqual([True] * (MAX_PROBES_PER_S - 1) + [False], others)

    def test_closes(self) -> None:
        """One answer closes the breaker; failures keep it open."""
        breaker = self.opened()
        breaker.record_failure("x", "x", 1.0)
        self.assertIs(BreakerState.OPEN, breaker.state)
        breaker.record_success(2.0)
        self.assertEqual([True] * 20, [breaker.allows("x", 2.0) for _ in range(20)])
        self.assertEqual(0, breaker.failed_clients)

    def test_bounded(self) -> None:
        """The number of remembered clients and names is bounded."""
        breaker = CircuitBreaker()
        for number in range(2 * MAX_COUNTED):
            breaker.record_failure(number, number, 0.0)
        self.assertEqual(MAX_COUNTED, breaker.failed_clients)
