"""Tests for sniproxy.admin.recentrates."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.recentrates import BYTE_SAMPLES, NEW_SAMPLES, Rates, RecentRates
from sniproxy.admin.tally import Tally

KEY = ("public", "a.test")


def tally(time: float, count: int, size: int) -> Tally:
    """A count with as many connections and bytes of one route, one listener and one target."""
    return Tally(
        up=Counter({KEY: size}),
        down=Counter({KEY: 2 * size}),
        routed_total=Counter({KEY: count}),
        accepted=Counter({"public": count}),
        target_up=Counter({"t": size}),
        target_down=Counter({"t": 2 * size}),
        time=time,
    )


class RateTests(SynchronousTestCase):
    """RecentRates."""

    def test_unknown(self) -> None:
        """Without a sample, and within a second of it, nothing is known."""
        rates = RecentRates()
        self.assertEqual((None, Rates()), (rates.of_listener("public", Tally()), rates.of_target("t", 5, Tally())))
        rates.add(tally(0.0, 0, 0), {})
        self.assertEqual(Rates(), rates.of_route([KEY], tally(0.9, 5, 5)))

    def test_windows(self) -> None:
        """New connections are of the last minute, bytes of the last samples."""
        rates = RecentRates()
        for step in range(NEW_SAMPLES + 3):  # one connection and 100 bytes per second, more bytes at last
            rates.add(tally(10.0 * step, 10 * step, 1000 * step), {"t": 10 * step})
        now = tally(100.0, 130, 29_000)
        span = 10.0 * NEW_SAMPLES
        new, up = round((130 - (100 - span)) / span, 3), (29_000 - 8_000) / (10 * BYTE_SAMPLES)
        self.assertEqual(new, rates.of_listener("public", now))
        self.assertEqual(Rates(new, up, 2 * up), rates.of_route([KEY], now))
        self.assertEqual(Rates(new, up, 2 * up), rates.of_target("t", 130, now))
        self.assertEqual(Rates(0.0, 0.0, 0.0), rates.of_route([("public", "none")], now))

    def test_dropped(self) -> None:
        """The counts of a target that begin again give no negative rate."""
        rates = RecentRates()
        rates.add(tally(0.0, 9, 9), {"t": 9})
        self.assertEqual(Rates(0.0, 0.0, 0.0), rates.of_target("t", 1, Tally(time=10.0)))
