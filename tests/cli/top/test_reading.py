"""Tests for sniproxy.cli.top.reading."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.rates import Rates
from sniproxy.cli.top.reading import Query, Reading, TunnelPage


class ReadingTests(SynchronousTestCase):
    """What is known at first."""

    def test_nothing(self) -> None:
        """Nothing is known, and no tunnels are asked for."""
        reading = Reading()
        self.assertEqual((None, Rates(), None, 0, {}), (
            reading.status, reading.rates, reading.page, reading.instances, reading.errors
        ))  # fmt: skip
        self.assertEqual(0, Query().limit)
        self.assertEqual((0, ()), (TunnelPage(Query()).matched, TunnelPage(Query()).tunnels))
