"""The Java client of the benchmark with real Pulsar."""

from __future__ import annotations

from bench.pulsar import Brokers, run
from tests.peers.case import PulsarTestCase


class LoadTests(PulsarTestCase):
    """A short run."""

    def test_through(self) -> None:
        """The client produces at full rate and at a fixed rate through the proxy, and reports its rate."""
        sample = run(Brokers(), "ours", "1 kB", 0.5, {})
        self.assertGreater(min(sample.values()), 0)
