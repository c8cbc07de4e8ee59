"""The real Java client as a load: the bench with real Pulsar runs."""

from __future__ import annotations

from bench.pulsar import Brokers, run
from tests.peers.case import PulsarTestCase


class LoadTests(PulsarTestCase):
    """A short run."""

    def test_through(self) -> None:
        """The client produces at full rate and at a pace through the proxy, and says how fast that was."""
        sample = run(Brokers(), "ours", "1 kB", 0.5, {})
        self.assertGreater(min(sample.values()), 0)
