"""Tests for sniproxy.admin.statusmetrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.sources import LimitsStatus, OldProcess, RelayStatus, Reloads, Resolutions, ResolverStatus
from sniproxy.admin.statusmetrics import (
    fault_metrics,
    limit_metrics,
    old_process_metrics,
    relay_metrics,
    reload_metrics,
    resolution_metrics,
    resolver_metrics,
)


def samples(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """The values by name and labels."""
    found = (sample for family in families for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in found}


class StatusMetricsTests(SynchronousTestCase):
    """Metrics of parts of the status."""

    def test_limits(self) -> None:
        """Limits, refusals and pauses of accept."""
        found = samples(
            limit_metrics(
                LimitsStatus(
                    9, 5, {"rate_per_client": 3}, {"max_connections": 2, "max_hellos": 0}, 7, 1, 4, "max_connections"
                )
            )
        )
        self.assertEqual(7, found[("sniproxy_max_connecting",)])
        self.assertEqual(4, found[("sniproxy_loops_total",)])
        self.assertEqual(9, found[("sniproxy_max_connections",)])
        self.assertEqual(3, found["sniproxy_limited_total", "rate_per_client"])
        self.assertEqual(2, found["sniproxy_limit_waits_total", "max_connections"])
        self.assertEqual(1, found["sniproxy_limit_reached", "max_connections"])
        self.assertEqual(0, found["sniproxy_limit_reached", "max_hellos"])

    def test_old_processes(self) -> None:
        """The tunnels of all old processes together; 0 without one."""
        found = samples(old_process_metrics([OldProcess(7, 2), OldProcess(8, 3, 1.0)]))
        self.assertEqual({("sniproxy_old_process_tunnels",): 5}, found)
        self.assertEqual([0], list(samples(old_process_metrics(())).values()))

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

    def test_reloads(self) -> None:
        """The results of reloads, and of the last one."""
        found = samples(reload_metrics(Reloads().with_success().with_failure("why", 1.0)))
        self.assertEqual((1, 1), tuple(found["sniproxy_reloads_total", one] for one in ("succeeded", "failed")))
        self.assertEqual(0, found["sniproxy_last_reload_successful",])

    def test_faults(self) -> None:
        """Faults on purpose are counted by action."""
        self.assertEqual({("sniproxy_faults_total", "drop"): 3}, samples(fault_metrics({"drop": 3})))

    def test_resolutions(self) -> None:
        """Host name lookups by kind, result and limit."""
        counts = Resolutions({"written": 1}, {"client_formed": 2}, {"no_name": 3}, {"queue": 4}, 5)
        expected: dict[tuple[str, ...], float] = {
            ("sniproxy_names_running", "written"): 1,
            ("sniproxy_names_waiting", "client_formed"): 2,
            ("sniproxy_names_resolved_total", "no_name"): 3,
            ("sniproxy_names_limited_total", "queue"): 4,
            ("sniproxy_names_stale_total",): 5,
        }
        self.assertEqual(expected, samples(resolution_metrics(counts)))

    def test_resolvers(self) -> None:
        """Queries, failures, refused names, answers without a query, and the states of a resolver that watches."""
        counts = {"questions": 9, "failures": 2, "refused": 3, "hits": 4, "shared": 5, "stale": 6}
        watching = ResolverStatus("w", "file", counts, "open", "2 names", "line 1: not TOML")
        found = samples(resolver_metrics([ResolverStatus("r", "http", counts), watching]))
        for name, count in (("questions", 9), ("failures", 2), ("refusals", 3)):
            self.assertEqual(count, found[f"sniproxy_resolver_{name}_total", "r"])
        for how, count in (("hits", 4), ("shared", 5), ("stale", 6)):
            self.assertEqual(count, found["sniproxy_resolver_unasked_total", "r", how])
        self.assertEqual((0, 1), (found["sniproxy_resolver_open", "r"], found["sniproxy_resolver_open", "w"]))
        self.assertEqual(1, found["sniproxy_resolver_watch_failing", "w"])
        self.assertNotIn(("sniproxy_resolver_watch_failing", "r"), found)
