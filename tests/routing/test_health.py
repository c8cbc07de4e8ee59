"""Tests for the values that say how targets are checked."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.routing.health import Health


class HealthTests(SynchronousTestCase):
    """Without a configuration."""

    def test_nothing_asked(self) -> None:
        """Targets are neither checked nor ejected."""
        health = Health()
        self.assertIsNone(health.check)
        self.assertEqual(0.0, health.eject)
