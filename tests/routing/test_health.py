"""Tests for sniproxy.routing.health."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.routing.health import Health


class HealthTests(SynchronousTestCase):
    """The defaults."""

    def test_nothing_asked(self) -> None:
        """By default targets are neither checked nor ejected."""
        health = Health()
        self.assertIsNone(health.check)
        self.assertEqual(0.0, health.eject)
