"""The metrics of the supervisor itself, and of each worker as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sniproxy import __version__
from sniproxy.admin.process import ProcessMetrics
from sniproxy.admin.rendering import by_label, counter_family
from sniproxy.admin.statusmetrics import old_process_metrics
from sniproxy.server.workers.admin.metrics import Family, value_of
from sniproxy.server.workers.admin.state import SupervisorState


@attrs.define(eq=False)  # a registry hashes it
class OwnMetrics(Collector):
    """Renders the metrics.

    @ivar admin_refused: requests and connections that the admin endpoint has refused, by cause.
    @ivar workers: the metrics of each worker that has answered, by index.
    """

    state: SupervisorState
    admin_refused: Mapping[str, int]
    workers: Mapping[int, Mapping[str, Family]]

    def text(self) -> str:
        """The metrics in the Prometheus text format."""
        registry = CollectorRegistry()
        registry.register(self)
        registry.register(ProcessMetrics())
        return generate_latest(registry).decode()

    def describe(self) -> Iterator[Metric]:
        """Nothing. Otherwise the registry would call L{collect} on registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics, for the registry."""
        state = self.state
        info = GaugeMetricFamily("sniproxy_info", "Always 1. Label: the version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        about = "1 if the proxy accepts connections, 0 while it drains."
        yield GaugeMetricFamily("sniproxy_ready", about, int(state.ready))
        about = "Processes that the configuration asks for."
        yield GaugeMetricFamily("sniproxy_workers", about, state.configuration.workers)
        results = by_label({"succeeded": state.reloads.succeeded, "failed": state.reloads.failed})
        yield counter_family("sniproxy_reloads", "Configuration reloads, by result.", ("result",), results)
        about = "1 if the last reload succeeded, 0 if it failed and the previous configuration is still in use."
        yield GaugeMetricFamily("sniproxy_last_reload_successful", about, int(state.reloads.error is None))
        about = "Requests and connections that the admin endpoint refused, by cause."
        yield counter_family("sniproxy_admin_refused", about, ("cause",), by_label(self.admin_refused))
        yield from old_process_metrics(state.find_old_processes())
        yield from self._collect_workers()

    def _collect_workers(self) -> Iterator[Metric]:
        label = ["worker"]
        about = "1 if the worker has answered to this request, 0 if it does not run, is starting, or is blocked."
        up = GaugeMetricFamily("sniproxy_worker_up", about, labels=label)
        for index in range(self.state.configuration.workers):
            up.add_metric([str(index)], int(index in self.workers))
        yield up
        open_ = GaugeMetricFamily("sniproxy_worker_connections", "Open connections of a worker.", labels=label)
        about = "Start time of a worker since unix epoch in seconds."
        started = GaugeMetricFamily("sniproxy_worker_start_time_seconds", about, labels=label)
        about = "User and system CPU time of a worker in seconds."
        cpu = CounterMetricFamily("sniproxy_worker_cpu_seconds", about, labels=label)
        for index, families in sorted(self.workers.items()):
            for family, source in (
                (open_, "sniproxy_listener_connections"),
                (started, "process_start_time_seconds"),
                (cpu, "process_cpu_seconds_total"),
            ):
                value = value_of(families, source)
                if value is not None:
                    family.add_metric([str(index)], value)
        yield from (open_, started, cpu)
