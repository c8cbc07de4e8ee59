"""Tests for sniproxy.admin.metrics."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import __version__
from sniproxy.admin.metrics import BUCKETS, MAX_CLUSTERS, MAX_ERRORS, REFUSALS, Metrics
from sniproxy.admin.sources import (
    DrainStatus,
    LimitsStatus,
    Readiness,
    Reloads,
    Resolutions,
    ResolverStatus,
    TargetStatus,
)
from sniproxy.events import Result
from sniproxy.pulsar.events import Event
from tests.admin.sample import SampleLive, connection, listed, lookup, refused, target_stats
from tests.support.reference import names, rows


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """The values by name and label values, as the Prometheus parser reads them."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


class EndedTests(SynchronousTestCase):
    """Connections that ended."""

    def test_counted(self) -> None:
        """By listener, route and result."""
        metrics = Metrics()
        for number in range(3):
            metrics.count_connection(connection(number))
        metrics.count_connection(connection(result=Result.RESET))
        found = samples(metrics)
        self.assertEqual(3, found["sniproxy_connections_total", "public", "ok", "*.pulsar.test"])
        self.assertEqual(1, found["sniproxy_connections_total", "public", "reset", "*.pulsar.test"])

    def test_refused(self) -> None:
        """Refusals are counted by result and alert, from zero; without an alert, the label is empty.

        A tunnel is not a refusal.
        """
        metrics = Metrics()
        metrics.count_connection(connection())
        metrics.count_connection(refused())
        metrics.count_connection(connection(result=Result.CONNECT_FAILED))
        found = {name: value for name, value in samples(metrics).items() if name[0] == "sniproxy_refusals_total"}
        expected = {("sniproxy_refusals_total", "", str(result)): 0 for result in REFUSALS}
        expected["sniproxy_refusals_total", "unrecognized_name", "no_route"] = 1
        expected["sniproxy_refusals_total", "", "connect_failed"] = 1
        self.assertEqual(expected, found)
        self.assertEqual({"no_route": 1, "connect_failed": 1}, metrics.refused_by_result())

    def test_reloads(self) -> None:
        """Reloads are counted by result; a gauge shows the last one."""
        reloads = Reloads(2)
        metrics = Metrics(reloads=lambda: reloads)
        self.assertEqual(1, samples(metrics)[("sniproxy_last_reload_successful",)])
        reloads = reloads.with_failure("bad", 1.0)
        found = samples(metrics)
        self.assertEqual(2, found["sniproxy_reloads_total", "succeeded"])
        self.assertEqual(1, found["sniproxy_reloads_total", "failed"])
        self.assertEqual(0, found[("sniproxy_last_reload_successful",)])

    def test_targets(self) -> None:
        """Tracked targets, whether they are up, and their connections."""
        targets = [
            TargetStatus("a:1", "up", 3, "", up=True),
            TargetStatus("b:1", "ejected", 0, "refused", up=False),
            TargetStatus("c:1", "unchecked", 0, ""),
        ]
        found = samples(Metrics(targets=listed(targets), stats=target_stats(a=3, b=0, c=0)))
        self.assertNotIn(("sniproxy_target_up", "c:1"), found)
        self.assertEqual((1, 0), (found["sniproxy_target_up", "a:1"], found["sniproxy_target_up", "b:1"]))
        self.assertEqual(3, found["sniproxy_target_connections", "a:1"])

    def test_resolutions(self) -> None:
        """Host name lookups by kind, result and limit."""
        counts = Resolutions({"written": 1}, {"client_formed": 2}, {"no_name": 3}, {"queue": 4}, 5)
        found = {
            name: value for name, value in samples(Metrics(resolutions=lambda: counts)).items() if "names" in name[0]
        }
        expected = {
            ("sniproxy_names_running", "written"): 1,
            ("sniproxy_names_waiting", "client_formed"): 2,
            ("sniproxy_names_resolved_total", "no_name"): 3,
            ("sniproxy_names_limited_total", "queue"): 4,
            ("sniproxy_names_stale_total",): 5,
        }
        self.assertEqual(expected, {name: value for name, value in found.items() if "_names_" in name[0]})

    def test_results(self) -> None:
        """Every result is either a refusal or an end by the peers or the operator."""
        others = {Result.OK, Result.IDLE_TIMEOUT, Result.RESET, Result.DRAINED, Result.SHUTDOWN, Result.CLIENT_GONE}
        self.assertEqual(set(Result), {*REFUSALS, *others, Result.INTERNAL_ERROR})

    def test_bounded_labels(self) -> None:
        """Server names of clients create no time series."""
        metrics = Metrics()
        metrics.count_connection(refused(server_name="first.test"))
        before = set(samples(metrics))
        for number in range(1_000):
            metrics.count_connection(refused(number, server_name=f"{number}.test", reason=f"no {number}.test"))
        self.assertEqual(before, set(samples(metrics)))
        self.assertNotIn(b"first.test", metrics.text())

    def test_escaped(self) -> None:
        """A listener name with quotes and newlines is escaped."""
        metrics = Metrics()
        metrics.count_connection(connection(listener='a "b"\\\nc'))
        self.assertIn(("sniproxy_connections_total", 'a "b"\\\nc', "ok", "*.pulsar.test"), samples(metrics))

    def test_stages(self) -> None:
        """Each stage that was reached is in its histogram."""
        metrics = Metrics()
        metrics.count_connection(connection(hello_s=0.004, resolve_s=0.2, connect_s=30.0))
        metrics.count_connection(connection(hello_s=0.001))
        found = samples(metrics)
        self.assertEqual(1, found["sniproxy_hello_seconds_bucket", "0.001"])
        self.assertEqual(2, found["sniproxy_hello_seconds_bucket", "0.005"])
        self.assertEqual(2, found["sniproxy_hello_seconds_count",])
        self.assertEqual(0.005, found["sniproxy_hello_seconds_sum",])
        self.assertEqual(1, found["sniproxy_resolve_seconds_count",])
        self.assertEqual(0, found["sniproxy_connect_seconds_bucket", "10.0"])
        self.assertEqual(1, found["sniproxy_connect_seconds_bucket", "+Inf"])

    def test_totals(self) -> None:
        """Totals include the bytes of open tunnels."""
        metrics = Metrics(lambda: [SampleLive(connection(), 10, 1_000)])
        metrics.count_connection(connection(bytes_up=5, bytes_down=7))
        metrics.count_connection(refused())
        self.assertEqual({"ended": 2, "refused": 1, "bytes_up": 15, "bytes_down": 1_007}, metrics.totals())


class LiveTests(SynchronousTestCase):
    """Gauges are read on each scrape."""

    def test_not_asked_before(self) -> None:
        """The constructor calls no source: the sources may not be ready."""

        def answer() -> list[SampleLive]:
            raise AssertionError("asked")

        Metrics(answer)

    def test_bytes_grow(self) -> None:
        """The bytes of a tunnel are counted once, while it is open and after its end."""
        live = [SampleLive(connection(), 100, 2_000)]
        metrics = Metrics(lambda: live)
        down = "sniproxy_bytes_total", "down", "public", "*.pulsar.test"
        self.assertEqual(2_000, samples(metrics)[down])
        live[0].bytes_down = 3_000
        self.assertEqual(3_000, samples(metrics)[down])
        live.clear()
        metrics.count_connection(connection(bytes_up=100, bytes_down=3_500))
        self.assertEqual(3_500, samples(metrics)[down])

    def test_tunnels(self) -> None:
        """Tunnels by route, down to zero; connections that are not yet tunnels by state."""
        live = [SampleLive(connection()), SampleLive(connection(), state="half_closed")]
        live += [SampleLive(connection(route=None), state=state) for state in ("hello", "hello", "connect")]
        metrics = Metrics(lambda: live)
        found = samples(metrics)
        self.assertEqual(2, found["sniproxy_tunnels", "public", "*.pulsar.test"])
        self.assertEqual(2, found["sniproxy_opening", "public", "hello"])
        self.assertEqual(1, found["sniproxy_opening", "public", "connect"])
        live.clear()
        metrics.count_connection(connection(bytes_up=1))
        self.assertEqual(0, samples(metrics)["sniproxy_tunnels", "public", "*.pulsar.test"])

    def test_process(self) -> None:
        """The version, the lost lines of both logs, and the process metrics."""
        found = samples(Metrics(access_log_lost=lambda: 7, event_log_lost=lambda: 8))
        self.assertEqual(1, found["sniproxy_info", __version__])
        self.assertEqual(7, found["sniproxy_access_log_lines_lost_total",])
        self.assertEqual(8, found["sniproxy_event_log_lines_lost_total",])
        for name in ("resident_memory_bytes", "open_fds", "cpu_seconds_total", "start_time_seconds"):
            self.assertGreater(found[f"process_{name}",], 0)


class ResolverTests(SynchronousTestCase):
    """Metrics of resolvers."""

    def test_resolvers(self) -> None:
        """Counts by resolver, the state of its breaker, and whether the last refresh of a watching one failed."""
        counts = {"questions": 1, "hits": 2, "shared": 3, "stale": 4, "refused": 5, "failures": 6}
        none = dict.fromkeys(counts, 0)
        resolvers = [ResolverStatus("b", "dns", counts, "open"), ResolverStatus("a", "file", none, watch="", error="x")]
        found = samples(Metrics(resolvers=lambda: resolvers))
        for name, value in (("questions", 1), ("refusals", 5), ("failures", 6)):
            self.assertEqual(value, found[f"sniproxy_resolver_{name}_total", "b"])
        for how, value in (("hits", 2), ("shared", 3), ("stale", 4)):
            self.assertEqual(value, found["sniproxy_resolver_unasked_total", how, "b"])
        self.assertEqual((1, 0), (found["sniproxy_resolver_open", "b"], found["sniproxy_resolver_open", "a"]))
        self.assertEqual(1, found["sniproxy_resolver_watch_failing", "a"])
        self.assertNotIn(("sniproxy_resolver_watch_failing", "b"), found)


class PulsarTests(SynchronousTestCase):
    """Metrics of the inspector."""

    def test_lookups(self) -> None:
        """Lookups by response, failures by error, their seconds, moves, and the size of the ledger."""
        metrics = Metrics(topics=lambda: Counter({"east.test": 12, "west.test": 3}))
        for event in (lookup(), lookup("redirect"), lookup("failed", "ServiceNotReady", latency_s=None)):
            metrics.count_event(event)
        metrics.count_event(Event("moved", 0.0, "1", {"topic": "persistent://a/b/c", "cluster": "east.test"}))
        metrics.count_event(Event("connected", 0.0, "1", {"latency_s": 0.5}))
        found = samples(metrics)
        self.assertEqual(1, found["sniproxy_lookups_total", "connect"])
        self.assertEqual(1, found["sniproxy_lookups_total", "redirect"])
        self.assertEqual(1, found["sniproxy_lookup_failures_total", "ServiceNotReady", "lookup"])
        self.assertEqual(2, found["sniproxy_lookup_seconds_count",])
        self.assertEqual(1, found["sniproxy_topic_moves_total", "east.test"])
        self.assertEqual((12, 3), (found["sniproxy_topics", "east.test"], found["sniproxy_topics", "west.test"]))

    def test_partitions(self) -> None:
        """A failed PARTITIONED_METADATA is a failed lookup with its own step; a successful one is not counted."""
        metrics = Metrics(topics=Counter)
        metrics.count_event(Event("partitions", 0.0, "1", {"topic": "t", "status": "failed", "error": "TopicNotFound"}))
        metrics.count_event(Event("partitions", 0.0, "1", {"topic": "t", "status": "success", "error": None}))
        found = samples(metrics)
        self.assertEqual(1, found["sniproxy_lookups_total", "failed"])
        self.assertEqual(1, found["sniproxy_lookup_failures_total", "TopicNotFound", "partitioned_metadata"])

    def test_error_answers(self) -> None:
        """An ERROR that answers a step of a lookup is a failed lookup; other ERRORs are not counted."""
        metrics = Metrics(topics=Counter)
        for request in ("LOOKUP", "PARTITIONED_METADATA", "PRODUCER", None):
            metrics.count_event(Event("error", 0.0, "1", {"request": request, "topic": "t", "error": None}))
        found = samples(metrics)
        self.assertEqual(2, found["sniproxy_lookups_total", "failed"])
        self.assertEqual(1, found["sniproxy_lookup_failures_total", "unknown", "lookup"])
        self.assertEqual(1, found["sniproxy_lookup_failures_total", "unknown", "partitioned_metadata"])

    def test_clusters_bounded(self) -> None:
        """Cluster names from clients create a bounded number of series."""
        names = [f"x{number}.test" for number in range(MAX_CLUSTERS + 5)]
        metrics = Metrics(topics=lambda: Counter(names))
        for name in names:
            metrics.count_event(Event("moved", 0.0, "1", {"topic": "t", "cluster": name}))
        for metric in ("sniproxy_topic_moves_total", "sniproxy_topics"):
            found = {name: value for name, value in samples(metrics).items() if name[0] == metric}
            self.assertEqual((MAX_CLUSTERS + 1, 5), (len(found), found[metric, "other"]))

    def test_errors_bounded(self) -> None:
        """Error names from brokers create a bounded number of series."""
        metrics = Metrics(topics=Counter)
        for number in range(1_000):
            metrics.count_event(lookup("failed", f"ServerError {number}"))
        found = {name: value for name, value in samples(metrics).items() if name[0] == "sniproxy_lookup_failures_total"}
        self.assertEqual(MAX_ERRORS + 1, len(found))
        self.assertEqual(1_000 - MAX_ERRORS, found["sniproxy_lookup_failures_total", "other", "lookup"])

    def test_nothing_inspected(self) -> None:
        """Without inspection there are no Pulsar metrics."""
        self.assertEqual([], [name for name in samples(Metrics()) if "lookup" in name[0] or "topic" in name[0]])


class ReferenceTests(SynchronousTestCase):
    """docs/reference/metrics.md."""

    def test_all(self) -> None:
        """The page lists exactly the metrics and their labels."""
        stats = target_stats(t=1)
        metrics = Metrics(
            lambda: [SampleLive(connection(), state="hello"), SampleLive(connection(2))],
            topics=lambda: Counter({"east.test": 12}),
            resolvers=lambda: [ResolverStatus("b", "x", Counter(), watch="w")],
            targets=listed([TargetStatus("t:1", "up", 1, "", up=True)]),
            stats=stats,
            limits=lambda: LimitsStatus(1, 1, {"max_hellos": 1}, {"max_hellos": 1}),
            admin_refused=lambda: {"host": 1},
            faults=lambda: {"drop": 1},
            readiness=lambda: Readiness(drains=[DrainStatus("target", "t", 1.0, 1.0, 0, 0, 1, [])]),
        )
        metrics.count_connection(refused(3, bytes_up=1, hello_s=0.1))
        for event in (lookup(), lookup("failed", "ServiceNotReady"), Event("moved", 0.0, "1", {"cluster": "c"})):
            metrics.count_event(event)
        found: dict[str, set[str]] = {}
        metrics.text()  # lists the targets
        for family in metrics.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
            self.assertTrue(family.samples, name)
        table = rows("Metrics")
        self.assertEqual(set(found), set(table))
        for name, labels in found.items():
            self.assertEqual(labels, set(names(table[name].partition("|")[0])), name)


class HistogramTests(SynchronousTestCase):
    """Seconds by buckets."""

    def test_bounds(self) -> None:
        """A bound belongs to its own bucket (le: less or equal)."""
        for place, bound in enumerate(BUCKETS):
            metrics = Metrics()
            metrics.count_connection(connection(hello_s=bound))
            (family,) = [one for one in metrics.collect() if one.name == "sniproxy_hello_seconds"]
            counts = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
            self.assertEqual([0.0] * place + [1.0] * (len(BUCKETS) + 1 - place), counts)

    def test_samples(self) -> None:
        """A histogram has buckets, a sum and a count, and nothing else."""
        self.assertEqual(
            {f"sniproxy_hello_seconds{end}" for end in ("_bucket", "_sum", "_count")},
            {name for name, *_ in samples(Metrics()) if name.startswith("sniproxy_hello_seconds")},
        )
