"""Tests for sniproxy.server.workers.admin.metrics."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers.admin import metrics
from sniproxy.server.workers.admin.metrics import GREATEST, LEAST, MetricsMerger, parse, value_of
from tests.admin.sample import SampleSite
from tests.support.reactor import reactor

LINES = ("# HELP a b", "# TYPE a counter", "# TYPE b gauge", "a 1", "a x", "b 1", "a NaN", "#", "a", "")


def text(name: str, kind: str, *samples: str) -> str:
    """A metric as text."""
    lines = "".join(f"{name}{sample}\n" for sample in samples)
    return f"# HELP {name} About it.\n# TYPE {name} {kind}\n{lines}"


def values(found: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, as the Prometheus library reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(found)
        for sample in family.samples
    }


class ParseTests(SynchronousTestCase):
    """parse: reads what workers render."""

    def test_all(self) -> None:
        """All metrics of a proxy are read as the Prometheus library reads them, whatever the labels have."""
        sample = SampleSite(reactor)
        sample.fill()
        whole = sample.site.metrics.text().decode()
        merged = MetricsMerger().merge({1: parse(whole)}, "")
        self.assertEqual(values(whole), values(merged))
        self.assertEqual(whole, merged)
        self.assertIn("HELP", merged)

    def test_labels(self) -> None:
        """Labels may have spaces, quotes, backslashes and braces."""
        line = r'{name="a b\"c\\d\n} 7"} 1.5'
        self.assertEqual({f"a{line[:-4]}": 1.5}, parse(text("a", "gauge", line))["a"].samples)

    @given(st.text() | st.lists(st.sampled_from(LINES)).map("\n".join))
    def test_any(self, whole: str) -> None:
        """Any text is read. What is merged is read as the same."""
        found = parse(whole)
        again = parse(MetricsMerger().merge({0: found}, ""))
        self.assertEqual(
            {name: one.samples for name, one in found.items()}, {name: one.samples for name, one in again.items()}
        )

    def test_value(self) -> None:
        """The sum of a metric; None without one."""
        found = parse(text("a", "gauge", '{b="1"} 2', '{b="2"} 3') + text("c", "gauge"))
        self.assertEqual([5.0, None, None], [value_of(found, name) for name in ("a", "c", "d")])


class MergeTests(SynchronousTestCase):
    """MetricsMerger: the metrics of all workers."""

    def setUp(self) -> None:
        self.merger = MetricsMerger()

    def merged(self, *texts: str | None, own: str = "", first: int = 0) -> dict[str, float]:
        """Merge the metrics of workers, which have numbers from the first on. None: one that does not answer."""
        found = {number: parse(one) for number, one in enumerate(texts, first) if one is not None}
        merged = parse(self.merger.merge(found, own)).values()
        return {key: value for one in merged for key, value in one.samples.items()}

    def test_kinds(self) -> None:
        """Counters and histograms are added up; of gauges the sum, the smallest or the largest is shown."""
        for name, kind, expected in (
            ("sniproxy_bytes_total", "counter", 7.0),
            ("sniproxy_hello_seconds", "histogram", 7.0),
            ("sniproxy_tunnels", "gauge", 7.0),
            *((name, "gauge", 3.0) for name in LEAST),
            *((name, "gauge", 4.0) for name in GREATEST),
        ):
            found = self.merged(text(name, kind, " 3", '{a="b"} 1'), text(name, kind, " 4"))
            self.assertEqual({name: expected, f'{name}{{a="b"}}': 1.0}, found)
            self.merger = MetricsMerger()

    def test_own(self) -> None:
        """The supervisor's metrics replace those of workers; those of its process are added."""
        worker = text("sniproxy_ready", "gauge", " 1") + text("process_cpu_seconds_total", "counter", " 5")
        own = text("sniproxy_ready", "gauge", " 0") + text("process_cpu_seconds_total", "counter", " 1")
        expected = {"sniproxy_ready": 0.0, "process_cpu_seconds_total": 11.0}
        self.assertEqual(expected, self.merged(worker, worker, own=own))

    def test_silent(self) -> None:
        """Counters of a worker that does not answer still count, its gauges do not: no counter decreases."""
        one = text("a_total", "counter", " 5") + text("b", "gauge", " 5")
        self.assertEqual({"a_total": 10.0, "b": 10.0}, self.merged(one, one))
        self.assertEqual({"a_total": 10.0, "b": 5.0}, self.merged(one, None))
        self.assertEqual({"a_total": 10.0}, self.merged(None, None))

    def test_ended(self) -> None:
        """What a worker counted that has ended still counts, beside what its successor counts."""
        for number in (5, 7):
            self.merged(text("a_total", "counter", f" {number}"))
        self.merger.end(0)
        self.merger.end(1)
        self.assertEqual({"a_total": 8.0}, self.merged(text("a_total", "counter", " 1"), first=2))
        self.assertEqual({"a_total": 9.0}, self.merged(text("a_total", "counter", " 2"), first=2))

    def test_end_after_answer(self) -> None:
        """A worker that ends after its answer counts once."""
        self.merger.end(0)
        one = text("a_total", "counter", " 5") + text("b", "gauge", " 5")
        self.assertEqual({"a_total": 10.0, "b": 5.0}, self.merged(one, one))
        self.assertEqual({"a_total": 10.0, "b": 5.0}, self.merged(None, one))

    def test_bound(self) -> None:
        """Samples of ended workers are bounded: beyond that only those are kept that current workers have."""
        self.patch(metrics, "MAX_PAST", 2)
        self.merged(text("a_total", "counter", *(f'{{n="{number}"}} 5' for number in range(3))))
        self.merger.end(0)
        found = self.merged(None, text("a_total", "counter", '{n="1"} 2'))
        self.assertEqual({'a_total{n="1"}': 7.0}, found)

    def test_restored(self) -> None:
        """Another program continues with the same sums; gauges are those of workers that answer."""
        one = text("a_total", "counter", " 5") + text("b", "gauge", " 5")
        self.merged(one, one)
        self.merger.end(0)
        past, latest = self.merger.state()
        self.assertEqual(([1], True), (list(latest), "a_total 5" in past))
        self.merger = MetricsMerger()
        self.merger.restore(past, latest)
        self.assertEqual({"a_total": 10.0}, self.merged(None, None))
        self.assertEqual({"a_total": 12.0, "b": 1.0}, self.merged(None, one.replace(" 5", " 7").replace("b 7", "b 1")))
