"""Tests for sniproxy.admin.rendering."""

from __future__ import annotations

from collections import Counter

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.rendering import BATCH, counter_family, gauge_family, render_batches
from sniproxy.admin.tally import Counts


class RenderTests(SynchronousTestCase):
    """The text of a metric in batches."""

    def test_many(self) -> None:
        """Many samples are rendered in batches, with one header."""
        counts: Counts = Counter({(f"t{number}",): number + 1 for number in range(2 * BATCH + 1)})
        for metric, name in (
            (counter_family("n", "Help.", ("target",), counts), "n_total"),
            (gauge_family("n", "", ("target",), counts), "n"),
        ):
            made = list(render_batches(metric))
            self.assertEqual(3, len(made))
            text = b"".join(made).decode()
            self.assertEqual(1, text.count("# TYPE"))
            (family,) = text_string_to_metric_families(text)
            found = {sample.labels["target"]: sample.value for sample in family.samples if sample.name == name}
            self.assertEqual({key: value for (key,), value in counts.items()}, found)
            self.assertEqual(len(counts), len(metric.samples))

    def test_few(self) -> None:
        """A metric without samples, and a metric of the library, are one batch."""
        (text,) = render_batches(gauge_family("n", "Help.", ("target",), Counter()))
        self.assertEqual(b"# HELP n Help.\n# TYPE n gauge\n", text)
        (text,) = render_batches(GaugeMetricFamily("n", "Help.", 3))
        self.assertEqual(b"# HELP n Help.\n# TYPE n gauge\nn 3.0\n", text)
