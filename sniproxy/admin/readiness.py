"""Prometheus metrics of readiness, workers and drains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from sniproxy.admin.rendering import gauge_family
from sniproxy.admin.sources import Readiness
from sniproxy.admin.tally import Counts


def readiness_metrics(readiness: Readiness) -> Iterator[Metric]:
    """Whether the proxy is ready, its number of workers, and its drains."""
    about = "1 if the proxy accepts connections, 0 while it drains."
    yield GaugeMetricFamily("sniproxy_ready", about, int(readiness.ready))
    about = "Processes that the configuration asks for; each has metrics of its own."
    yield GaugeMetricFamily("sniproxy_workers", about, readiness.workers)
    left: Counts = Counter({(drain.kind, drain.name): drain.left for drain in readiness.drains})
    about = "Remaining connections of a target or a route that an operator drains, until the drain is undone."
    yield gauge_family("sniproxy_drain_connections", about, ("kind", "name"), left)
