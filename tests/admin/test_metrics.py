"""Tests for sniproxy.admin.metrics."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import __version__
from sniproxy.admin.metrics import BUCKETS, MAX_CLUSTERS, MAX_ERRORS, REFUSALS, Histogram, Metrics
from sniproxy.admin.sources import LimitsStatus, Reloads, Resolutions, ResolverStatus, TargetStatus
from sniproxy.events import Result
from sniproxy.pulsar.events import Event
from tests.admin.sample import SampleLive, connection, lookup, refused
from tests.support.reference import names, rows


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """What Prometheus's own parser reads: values by name and label values, in the order of the labels' names."""
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
            metrics.ended(connection(number))
        metrics.ended(connection(result=Result.RESET))
        found = samples(metrics)
        self.assertEqual(3, found["sniproxy_connections_total", "public", "ok", "*.pulsar.test"])
        self.assertEqual(1, found["sniproxy_connections_total", "public", "reset", "*.pulsar.test"])

    def test_refused(self) -> None:
        """Refusals by result and alert, an absent alert as an empty label; a tunnel is none."""
        metrics = Metrics()
        metrics.ended(connection())
        metrics.ended(refused())
        metrics.ended(connection(result=Result.CONNECT_FAILED))
        found = {name: value for name, value in samples(metrics).items() if name[0] == "sniproxy_refusals_total"}
        self.assertEqual(
            {
                ("sniproxy_refusals_total", "unrecognized_name", "no_route"): 1,
                ("sniproxy_refusals_total", "", "connect_failed"): 1,
            },
            found,
        )

    def test_reloads(self) -> None:
        """Reloads by how they went, and whether the last one is in force."""
        reloads = Reloads(2)
        metrics = Metrics(reloads=lambda: reloads)
        self.assertEqual(1, samples(metrics)[("sniproxy_last_reload_successful",)])
        reloads = reloads.refused("bad", 1.0)
        found = samples(metrics)
        self.assertEqual(2, found["sniproxy_reloads_total", "succeeded"])
        self.assertEqual(1, found["sniproxy_reloads_total", "failed"])
        self.assertEqual(0, found[("sniproxy_last_reload_successful",)])

    def test_targets(self) -> None:
        """Targets that are looked after, whether they are up, and their connections."""
        targets = [TargetStatus("a:1", "up", 3, ""), TargetStatus("b:1", "ejected", 0, "refused")]
        found = samples(Metrics(targets=lambda: targets))
        self.assertEqual((1, 0), (found["sniproxy_target_up", "a:1"], found["sniproxy_target_up", "b:1"]))
        self.assertEqual(3, found["sniproxy_target_connections", "a:1"])

    def test_limits(self) -> None:
        """What limits there are, how many they refused, and how often accepting had to wait."""
        status = LimitsStatus(9, 5, {"rate_per_client": 3}, {"max_connections": 2}, 7, 1, 4)
        found = samples(Metrics(limits=lambda: status))
        self.assertEqual(7, found[("sniproxy_max_connecting",)])
        self.assertEqual(4, found[("sniproxy_loops_total",)])
        self.assertEqual(9, found[("sniproxy_max_connections",)])
        self.assertEqual(3, found["sniproxy_limited_total", "rate_per_client"])
        self.assertEqual(2, found["sniproxy_limit_waits_total", "max_connections"])

    def test_resolutions(self) -> None:
        """Host names that are looked up, by kind, result and limit."""
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
        """Every result is either of a refusal or of what the peers or the operator ended."""
        others = {Result.OK, Result.IDLE_TIMEOUT, Result.RESET, Result.DRAINED, Result.SHUTDOWN, Result.CLIENT_GONE}
        self.assertEqual(set(Result), {*REFUSALS, *others, Result.INTERNAL_ERROR})

    def test_bounded_labels(self) -> None:
        """Clients that ask for a thousand names make no series."""
        metrics = Metrics()
        metrics.ended(refused(server_name="first.test"))
        before = set(samples(metrics))
        for number in range(1_000):
            metrics.ended(refused(number, server_name=f"{number}.test", reason=f"no {number}.test"))
        self.assertEqual(before, set(samples(metrics)))
        self.assertNotIn(b"first.test", metrics.text())

    def test_escaped(self) -> None:
        """A listener's name with quotes and newlines is read back as it was."""
        metrics = Metrics()
        metrics.ended(connection(listener='a "b"\\\nc'))
        self.assertIn(("sniproxy_connections_total", 'a "b"\\\nc', "ok", "*.pulsar.test"), samples(metrics))

    def test_stages(self) -> None:
        """The seconds of each stage that was reached."""
        metrics = Metrics()
        metrics.ended(connection(hello_s=0.004, resolve_s=0.2, connect_s=30.0))
        metrics.ended(connection(hello_s=0.001))
        found = samples(metrics)
        self.assertEqual(1, found["sniproxy_hello_seconds_bucket", "0.001"])
        self.assertEqual(2, found["sniproxy_hello_seconds_bucket", "0.005"])
        self.assertEqual(2, found["sniproxy_hello_seconds_count",])
        self.assertEqual(0.005, found["sniproxy_hello_seconds_sum",])
        self.assertEqual(1, found["sniproxy_resolve_seconds_count",])
        self.assertEqual(0, found["sniproxy_connect_seconds_bucket", "10.0"])
        self.assertEqual(1, found["sniproxy_connect_seconds_bucket", "+Inf"])

    def test_totals(self) -> None:
        """The sums of all, with the bytes of live tunnels."""
        metrics = Metrics(lambda: [SampleLive(connection(), 10, 1_000)])
        metrics.ended(connection(bytes_up=5, bytes_down=7))
        metrics.ended(refused())
        self.assertEqual({"ended": 2, "refused": 1, "bytes_up": 15, "bytes_down": 1_007}, metrics.totals())


class LiveTests(SynchronousTestCase):
    """What is true now is asked for when Prometheus asks."""

    def test_not_asked_before(self) -> None:
        """Making the metrics asks nobody: what answers may not be there yet."""

        def answer() -> list[SampleLive]:
            raise AssertionError("asked")

        Metrics(answer)

    def test_bytes_grow(self) -> None:
        """Bytes count while a tunnel lives, and once when it has ended."""
        live = [SampleLive(connection(), 100, 2_000)]
        metrics = Metrics(lambda: live)
        down = "sniproxy_bytes_total", "down", "public", "*.pulsar.test"
        self.assertEqual(2_000, samples(metrics)[down])
        live[0].bytes_down = 3_000
        self.assertEqual(3_000, samples(metrics)[down])
        live.clear()
        metrics.ended(connection(bytes_up=100, bytes_down=3_500))
        self.assertEqual(3_500, samples(metrics)[down])

    def test_tunnels(self) -> None:
        """Tunnels by route, down to zero; those that are none yet by what they wait for."""
        live = [SampleLive(connection()), SampleLive(connection(), state="half_closed")]
        live += [SampleLive(connection(route=None), state=state) for state in ("hello", "hello", "connect")]
        metrics = Metrics(lambda: live)
        found = samples(metrics)
        self.assertEqual(2, found["sniproxy_tunnels", "public", "*.pulsar.test"])
        self.assertEqual(2, found["sniproxy_opening", "public", "hello"])
        self.assertEqual(1, found["sniproxy_opening", "public", "connect"])
        live.clear()
        metrics.ended(connection(bytes_up=1))
        self.assertEqual(0, samples(metrics)["sniproxy_tunnels", "public", "*.pulsar.test"])

    def test_instance(self) -> None:
        """One of several workers says which it is."""
        self.assertIn(b'sniproxy_info{instance="3",version="', Metrics(instance=3).text())
        self.assertNotIn(b"instance", Metrics().text().replace(b"instances", b""))

    def test_process(self) -> None:
        """The version, the lost lines of both logs, and the process's own figures."""
        found = samples(Metrics(access_log_lost=lambda: 7, event_log_lost=lambda: 8))
        self.assertEqual(1, found["sniproxy_info", __version__])
        self.assertEqual(7, found["sniproxy_access_log_lines_lost_total",])
        self.assertEqual(8, found["sniproxy_event_log_lines_lost_total",])
        for name in ("resident_memory_bytes", "open_fds", "cpu_seconds_total", "start_time_seconds"):
            self.assertGreater(found[f"process_{name}",], 0)


class ResolverTests(SynchronousTestCase):
    """How resolvers do."""

    def test_resolvers(self) -> None:
        """Counts by resolver, and whether it is left alone; of one that watches, whether its last look failed."""
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
    """What the inspector saw."""

    def test_lookups(self) -> None:
        """Lookups by response, failures by error, their seconds, moves, and the size of the ledger."""
        metrics = Metrics(topics=lambda: Counter({"east.test": 12, "west.test": 3}))
        for event in (lookup(), lookup("redirect"), lookup("failed", "ServiceNotReady", latency_s=None)):
            metrics.event(event)
        metrics.event(Event("moved", 0.0, "1", {"topic": "persistent://a/b/c", "cluster": "east.test"}))
        metrics.event(Event("connected", 0.0, "1", {"latency_s": 0.5}))
        found = samples(metrics)
        self.assertEqual(1, found["sniproxy_lookups_total", "connect"])
        self.assertEqual(1, found["sniproxy_lookups_total", "redirect"])
        self.assertEqual(1, found["sniproxy_lookup_failures_total", "ServiceNotReady", "lookup"])
        self.assertEqual(2, found["sniproxy_lookup_seconds_count",])
        self.assertEqual(1, found["sniproxy_topic_moves_total", "east.test"])
        self.assertEqual((12, 3), (found["sniproxy_topics", "east.test"], found["sniproxy_topics", "west.test"]))

    def test_partitions(self) -> None:
        """A failed PARTITIONED_METADATA is a failed lookup, of a step of its own; one that succeeds is none."""
        metrics = Metrics(topics=Counter)
        metrics.event(Event("partitions", 0.0, "1", {"topic": "t", "status": "failed", "error": "TopicNotFound"}))
        metrics.event(Event("partitions", 0.0, "1", {"topic": "t", "status": "success", "error": None}))
        found = samples(metrics)
        self.assertEqual(1, found["sniproxy_lookups_total", "failed"])
        self.assertEqual(1, found["sniproxy_lookup_failures_total", "TopicNotFound", "partitioned_metadata"])

    def test_error_answers(self) -> None:
        """An ERROR that answers a step of a lookup is a failed lookup; one of another request is none."""
        metrics = Metrics(topics=Counter)
        for request in ("LOOKUP", "PARTITIONED_METADATA", "PRODUCER", None):
            metrics.event(Event("error", 0.0, "1", {"request": request, "topic": "t", "error": None}))
        found = samples(metrics)
        self.assertEqual(2, found["sniproxy_lookups_total", "failed"])
        self.assertEqual(1, found["sniproxy_lookup_failures_total", "unknown", "lookup"])
        self.assertEqual(1, found["sniproxy_lookup_failures_total", "unknown", "partitioned_metadata"])

    def test_clusters_bounded(self) -> None:
        """Clients that make up names make no more series than there can be."""
        names = [f"x{number}.test" for number in range(MAX_CLUSTERS + 5)]
        metrics = Metrics(topics=lambda: Counter(names))
        for name in names:
            metrics.event(Event("moved", 0.0, "1", {"topic": "t", "cluster": name}))
        for metric in ("sniproxy_topic_moves_total", "sniproxy_topics"):
            found = {name: value for name, value in samples(metrics).items() if name[0] == metric}
            self.assertEqual((MAX_CLUSTERS + 1, 5), (len(found), found[metric, "other"]))

    def test_errors_bounded(self) -> None:
        """A broker that makes up errors makes no more series than there can be."""
        metrics = Metrics(topics=Counter)
        for number in range(1_000):
            metrics.event(lookup("failed", f"ServerError {number}"))
        found = {name: value for name, value in samples(metrics).items() if name[0] == "sniproxy_lookup_failures_total"}
        self.assertEqual(MAX_ERRORS + 1, len(found))
        self.assertEqual(1_000 - MAX_ERRORS, found["sniproxy_lookup_failures_total", "other", "lookup"])

    def test_nothing_inspected(self) -> None:
        """Without inspection no metric speaks of Pulsar."""
        self.assertEqual([], [name for name in samples(Metrics()) if "lookup" in name[0] or "topic" in name[0]])


class ReferenceTests(SynchronousTestCase):
    """docs/reference/metrics.md."""

    def test_all(self) -> None:
        """Each metric is there with its labels, and no other."""
        metrics = Metrics(
            lambda: [SampleLive(connection(), state="hello"), SampleLive(connection(2))],
            topics=lambda: Counter({"east.test": 12}),
            resolvers=lambda: [ResolverStatus("b", "x", Counter(), watch="w")],
            targets=lambda: [TargetStatus("t", "up", 1, "")],
            limits=lambda: LimitsStatus(1, 1, {"max_hellos": 1}, {"max_hellos": 1}),
            instance=1,
            admin_refused=lambda: {"host": 1},
        )
        metrics.ended(refused(3, bytes_up=1, hello_s=0.1))
        for event in (lookup(), lookup("failed", "ServiceNotReady"), Event("moved", 0.0, "1", {"cluster": "c"})):
            metrics.event(event)
        found: dict[str, set[str]] = {}
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
            histogram = Histogram()
            histogram.observe(bound)
            counts = [sample.value for sample in histogram.family("x", "").samples if sample.name == "x_bucket"]
            self.assertEqual([0.0] * place + [1.0] * (len(BUCKETS) + 1 - place), counts)
