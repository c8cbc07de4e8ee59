"""Tests for sniproxy.admin.statusmetrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.sources import LimitsStatus, RelayStatus
from sniproxy.admin.statusmetrics import limit_metrics, relay_metrics


def samples(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """The values by name and labels."""
    found = (sample for family in families for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in found}


class StatusMetricsTests(SynchronousTestCase):
    """Metrics of parts of the status."""

    def test_limits(self) -> None:
        """Limits, refusals and pauses of accept."""
        found = samples(limit_metrics(LimitsStatus(9, 5, {"rate_per_client": 3}, {"max_connections": 2}, 7, 1, 4)))
        self.assertEqual(7, found[("sniproxy_max_connecting",)])
        self.assertEqual(4, found[("sniproxy_loops_total",)])
        self.assertEqual(9, found[("sniproxy_max_connections",)])
        self.assertEqual(3, found["sniproxy_limited_total", "rate_per_client"])
        self.assertEqual(2, found["sniproxy_limit_waits_total", "max_connections"])

    def test_relay(self) -> None:
        """The relay of new tunnels is a label; the engine has four figures."""
        expected: dict[tuple[str, ...], float] = {
            ("sniproxy_relay_info", "engine"): 1,
            ("sniproxy_relay_threads",): 2,
            ("sniproxy_relay_tunnels",): 9,
            ("sniproxy_relay_held_bytes",): 70,
            ("sniproxy_relay_pipes",): 3,
        }
        self.assertEqual(expected, samples(relay_metrics(RelayStatus("engine", "", 2, 9, 70, 3))))
        self.assertEqual(1, samples(relay_metrics(RelayStatus(why="no engine")))["sniproxy_relay_info", "python"])
