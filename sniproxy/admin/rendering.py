"""Renders the Prometheus text format in batches of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from sniproxy.admin.tally import Counts

BATCH = 50
"""Samples rendered in one step."""


class LazyMetric(Metric):
    """A metric with many samples, which are made when they are rendered. @param empty: the metric without samples."""

    def __init__(self, empty: Metric) -> None:
        Metric.__init__(self, empty.name, empty.documentation, empty.type)

    def batches(self) -> Iterator[list[Any]]:
        """The samples, some at a time."""
        raise NotImplementedError

    @property
    def samples(self) -> list[Any]:
        """All samples."""
        return [sample for batch in self.batches() for sample in batch]

    @samples.setter
    def samples(self, empty: list[Any]) -> None:
        """Ignored: C{Metric.__init__} sets an empty list."""


class BatchedMetric(LazyMetric):
    """A metric with a value for each combination of label values.

    @param empty: the metric without samples. @param counts: the values by label values.
    """

    def __init__(self, empty: CounterMetricFamily | GaugeMetricFamily, counts: Counts) -> None:
        LazyMetric.__init__(self, empty)
        self._empty = empty
        self._counts = counts

    def batches(self) -> Iterator[list[Any]]:
        """The samples, L{BATCH} at a time."""
        for number, (values, count) in enumerate(sorted(self._counts.items()), 1):
            self._empty.add_metric(values, count)
            if not number % BATCH:
                yield self._take()
        yield self._take()

    def _take(self) -> list[Any]:
        taken, self._empty.samples = self._empty.samples, []
        return taken


class _SingleMetric:
    """A registry with one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def render_batches(family: Metric) -> Iterator[bytes]:
    """The text of a metric, L{BATCH} samples at a time. The first batch has HELP and TYPE."""
    batches: Iterable[list[Any]] = family.batches() if isinstance(family, LazyMetric) else (family.samples,)
    for number, samples in enumerate(batches):
        batch = Metric(family.name, family.documentation, family.type)
        batch.samples = samples
        text = generate_latest(cast(CollectorRegistry, _SingleMetric(batch)))
        yield text.split(b"\n", 2)[2] if number else text


def by_label(values: Mapping[str, int]) -> Counts:
    """Values of a metric with one label."""
    return Counter({(label,): value for label, value in values.items()})


def counter_family(name: str, help: str, labels: tuple[str, ...], counts: Counts) -> Metric:
    """A counter with a value for each combination of label values."""
    return BatchedMetric(CounterMetricFamily(name, help, labels=labels), counts)


def gauge_family(name: str, help: str, labels: tuple[str, ...], counts: Counts) -> Metric:
    """A gauge with a value for each combination of label values."""
    return BatchedMetric(GaugeMetricFamily(name, help, labels=labels), counts)
