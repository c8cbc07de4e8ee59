"""Tests for sniproxy.connection.rates."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.connection import rates as connection_rates
from sniproxy.connection.rates import Rates


class RatesTests(SynchronousTestCase):
    """Token buckets."""

    def test_burst_then_rate(self) -> None:
        """A full bucket gives its tokens at once, then refills at the rate."""
        rates = Rates()
        self.assertEqual([True, True, True, False], [rates.take("a", 5.0, 2, 3) for _ in range(4)])
        self.assertFalse(rates.take("a", 5.4, 2, 3))
        self.assertEqual([True, False], [rates.take("a", 5.5, 2, 3) for _ in range(2)])
        self.assertEqual([True] * 3 + [False], [rates.take("a", 100.0, 2, 3) for _ in range(4)])

    def test_each(self) -> None:
        """Each client has its own bucket."""
        rates = Rates()
        self.assertEqual([True, True, False], [rates.take(client, 0.0, 1, 1) for client in "aba"])

    def test_another_rate(self) -> None:
        """After a rate change, or if the clock was set back, a bucket needs no longer than a full refill."""
        rates = Rates()
        self.assertEqual([True, False], [rates.take("a", 5000.0, 0.001, 1) for _ in range(2)])
        self.assertEqual([False, True], [rates.take("a", now, 2, 1) for now in (5000.0, 5000.5)])
        self.assertEqual([False, False, True], [rates.take("a", now, 2, 1) for now in (100.0, 100.4, 100.5)])

    def test_forgotten(self) -> None:
        """Full buckets are dropped when other clients connect."""
        rates = Rates()
        for number in range(1000):
            rates.take(str(number), float(number), 1, 5)
        self.assertLessEqual(len(rates), 3)

    def test_two_at_once(self) -> None:
        """A call drops two full buckets, so that they never pile up."""
        rates = Rates()
        for client, now in (("a", 0.0), ("b", 0.0), ("c", 0.0), ("d", 100.0)):
            rates.take(client, now, 1, 1)
        self.assertEqual(2, len(rates))

    def test_bounded(self) -> None:
        """The number of buckets is bounded; the oldest one is dropped."""
        rates = Rates()
        with patch.object(connection_rates, "MAX_RATES", 10):
            for number in range(50):
                rates.take(str(number), 0.0, 1, 1)
                self.assertLessEqual(len(rates), 10)
            self.assertEqual([False, True], [rates.take(client, 0.0, 1, 1) for client in ("49", "0")])

    @given(
        st.floats(0.01, 1000),
        st.integers(1, 50),
        st.lists(st.floats(0, 10), max_size=100),
    )
    def test_as_counted(self, rate: float, burst: int, gaps: list[float]) -> None:
        """The stored number gives the same result as a counting bucket, except for rounding."""
        rates, tokens, now = Rates(), float(burst), 1000.0
        for gap in gaps:
            now += gap
            tokens = min(tokens + gap * rate, burst)
            near = abs(tokens - 1) < 1e-3
            took = rates.take("a", now, rate, burst)
            if not near:
                self.assertEqual(tokens >= 1, took)
            if took:
                tokens -= 1
