"""Tests for sniproxy.admin.readiness."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.readiness import readiness_metrics
from sniproxy.admin.sources import DrainStatus, Readiness


def samples(readiness: Readiness) -> dict[tuple[str, ...], float]:
    """The values by name and labels."""
    found = (sample for family in readiness_metrics(readiness) for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in found}


class ReadinessTests(SynchronousTestCase):
    """Readiness, workers and drains."""

    def test_ready(self) -> None:
        """A ready proxy without drains has two metrics."""
        expected: dict[tuple[str, ...], float] = {("sniproxy_ready",): 1, ("sniproxy_workers",): 4}
        self.assertEqual(expected, samples(Readiness(True, 4)))

    def test_draining(self) -> None:
        """A proxy that stops is not ready."""
        self.assertEqual(0, samples(Readiness(False))[("sniproxy_ready",)])

    def test_drains(self) -> None:
        """Each drain has its remaining connections, also when none is left."""
        drains = [
            DrainStatus("target", "10.0.0.7:6651", 1.0, 5.0, 2, 3, 40, ["192.0.2.1:5"]),
            DrainStatus("route", "*.pulsar.test", 1.0, 5.0, 2, 3, 0, []),
        ]
        found = samples(Readiness(drains=drains))
        self.assertEqual(40, found["sniproxy_drain_connections", "target", "10.0.0.7:6651"])
        self.assertEqual(0, found["sniproxy_drain_connections", "route", "*.pulsar.test"])
