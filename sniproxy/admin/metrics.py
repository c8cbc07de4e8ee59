"""Prometheus metrics.

Connections and events are counted in dictionaries of integers; the text is made for each scrape. The set of label
values is bounded: they come from the configuration, from closed sets and from a few clusters, never from clients.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sniproxy import __version__
from sniproxy.admin.process import ProcessMetrics
from sniproxy.admin.readiness import readiness_metrics
from sniproxy.admin.rendering import by_label, counter_family, gauge_family, render_batches
from sniproxy.admin.slices import Steps, finish
from sniproxy.admin.sources import (
    LimitsStatus,
    LiveConnection,
    OldProcess,
    Readiness,
    RelayStatus,
    Reloads,
    Resolutions,
    ResolverStatus,
    TargetStatus,
)
from sniproxy.admin.statusmetrics import (
    fault_metrics,
    limit_metrics,
    old_process_metrics,
    relay_metrics,
    reload_metrics,
    resolution_metrics,
    resolver_metrics,
)
from sniproxy.admin.tally import Counts, Tally, TallyCounter
from sniproxy.admin.targetmetrics import MAX_ROWS, LabelledTargets, label_steps, listener_metrics, target_metrics
from sniproxy.events import Connection, Result
from sniproxy.inspector.entries import failed_step
from sniproxy.pulsar.events import Event
from sniproxy.routing.targetstats import TargetStatsTable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of L{Metrics.text} (Prometheus, "Exposition formats")."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of histogram buckets, in seconds: up to the longest default timeout."""

MAX_ERRORS = 64
"""Maximum of distinct broker errors; more are counted as ``other``. The protocol has fewer."""

MAX_CLUSTERS = 64
"""Maximum of distinct clusters; more are counted as ``other``."""

REFUSALS = frozenset(
    {
        Result.NO_ROUTE,
        Result.NO_SERVER_NAME,
        Result.NO_CERTIFICATE,
        Result.DENIED,
        Result.MALFORMED_HELLO,
        Result.NOT_TLS,
        Result.NOT_PULSAR,
        Result.PROXY_HEADER,
        Result.HELLO_TIMEOUT,
        Result.RESOLVER_FAILED,
        Result.CONNECT_FAILED,
        Result.CONNECT_TIMEOUT,
        Result.UPSTREAM_TLS_FAILED,
        Result.TLS_FAILED,
        Result.LIMIT,
    }
)
"""Results of connections that the proxy refused before they became tunnels."""


def _no_targets(limit: int) -> Steps[tuple[Sequence[TargetStatus], int]]:
    yield
    return (), 0


_NONE = ""  # Prometheus treats an empty label as absent; no route has an empty name


class Metrics(Collector):
    """Counts connections and events, and renders all metrics.

    L{count_connection} is an observer of connections (C{sniproxy.events.Observer}); L{count_event} takes the events of
    the inspector. Each scrape calls the other sources.

    @param live: the open connections. @param access_log_lost: lines of the access log that could not be written.
    @param reloads: the results of reloads. @param resolvers: the resolvers.
    @param targets: lists the targets in steps, up to a number. @param stats: the counts of targets.
    @param limits: the limits of connections.
    @param seconds: a monotonic clock. Large numbers of connections are counted at most once a second.
    @param admin_refused: refusals of the admin endpoint, by cause. @param resolutions: host name lookups.
    @param event_log_lost: lines of the event log that could not be written. @param relay: the relay of plain tunnels.
    @param listeners: their names.
    @param readiness: whether the proxy is ready, its workers and its drains.
    @param old_processes: those that upgrades have replaced.
    @param faults: how often faults on purpose were applied, by action.
    @ivar topics: the number of topics in the ledger, by cluster. None if nothing is inspected: then there are no
        metrics of Pulsar.
    """

    def __init__(
        self,
        live: Callable[[], Iterable[LiveConnection]] = tuple,
        access_log_lost: Callable[[], int] = int,
        topics: Callable[[], Counter[str]] | None = None,
        reloads: Callable[[], Reloads] = Reloads,
        resolvers: Callable[[], Iterable[ResolverStatus]] = tuple,
        targets: Callable[[int], Steps[tuple[Sequence[TargetStatus], int]]] = _no_targets,
        stats: TargetStatsTable | None = None,
        limits: Callable[[], LimitsStatus] = LimitsStatus,
        seconds: Callable[[], float] = time.monotonic,
        admin_refused: Callable[[], Mapping[str, int]] = dict,
        resolutions: Callable[[], Resolutions] = Resolutions,
        event_log_lost: Callable[[], int] = int,
        relay: Callable[[], RelayStatus] = RelayStatus,
        listeners: Callable[[], Iterable[str]] = tuple,
        readiness: Callable[[], Readiness] = Readiness,
        old_processes: Callable[[], Iterable[OldProcess]] = tuple,
        faults: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._access_log_lost = access_log_lost
        self._event_log_lost = event_log_lost
        self.topics = topics
        self._reloads = reloads
        self._resolvers = resolvers
        self._targets = targets
        self._stats = TargetStatsTable() if stats is None else stats
        self._labelled = LabelledTargets()
        self._limits = limits
        self._admin_refused = admin_refused
        self._resolutions = resolutions
        self._relay = relay
        self._listeners = listeners
        self._readiness = readiness
        self._old_processes = old_processes
        self._faults = faults
        self._ended: Counts = Counter()
        # Zero, too: Prometheus sees the first refusal only as the growth of a count that existed before.
        self._refused: Counts = Counter({(result, _NONE): 0 for result in REFUSALS})
        self._tallies = TallyCounter(live, seconds, self._stats.ended_bytes)
        self._hello = _histogram("sniproxy_hello_seconds", "Seconds from accept to the complete ClientHello.")
        self._resolve = _histogram("sniproxy_resolve_seconds", "Seconds to resolve a server name to targets.")
        self._connect = _histogram("sniproxy_connect_seconds", "Seconds to connect to a target, or to fail.")
        self._lookup = _histogram("sniproxy_lookup_seconds", "Seconds from a topic lookup to its response.")
        self._lookups: Counter[str] = Counter()
        self._errors: Counts = Counter()
        self._moves: Counter[str] = Counter()
        self._clusters: set[str] = set()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._registry.register(ProcessMetrics())

    def count_connection(self, connection: Connection) -> None:
        """Count a connection that has ended."""
        route, result = connection.route or _NONE, connection.result
        listener = connection.listener
        self._ended[listener, route, result] += 1
        if result in REFUSALS:
            alert = connection.alert
            self._refused[result, _NONE if alert is None else alert.title] += 1
        self._tallies.add_ended(connection, result in REFUSALS)
        if connection.hello_s is not None:
            self._hello.observe(connection.hello_s)
        if connection.resolve_s is not None:
            self._resolve.observe(connection.resolve_s)
        if connection.connect_s is not None:
            self._connect.observe(connection.connect_s)

    def count_left(self, connection: Connection) -> None:
        """Keep the count of an open connection that leaves for another process, and of its bytes so far."""
        self._tallies.add_ended(connection)

    def count_adopted(self, connection: Connection, bytes_up: int, bytes_down: int) -> None:
        """Do not count a connection that another process has accepted, nor its bytes so far, but those that follow."""
        self._tallies.add_adopted(connection, bytes_up, bytes_down)

    def count_event(self, event: Event) -> None:
        """Count an event of the inspector: a lookup, a failed step of a lookup, or a move."""
        fields, step = event.fields, failed_step(event)
        if event.name == "lookup":
            self._lookups[str(fields["response"])] += 1
            latency = fields["latency_s"]
            if isinstance(latency, float):
                self._lookup.observe(latency)
        elif event.name == "moved":
            self._moves[self._cluster(str(fields["cluster"]))] += 1
        elif step is not None:
            self._lookups["failed"] += 1
        if step is not None:
            self._count_failure(step, str(fields["error"] or "unknown"))

    def _count_failure(self, step: str, error: str) -> None:
        known = (step, error) in self._errors or len(self._errors) < MAX_ERRORS
        self._errors[step, error if known else "other"] += 1

    def _cluster(self, name: str) -> str:
        """The label value of a cluster."""
        if len(self._clusters) < MAX_CLUSTERS:
            self._clusters.add(name)
        return name if name in self._clusters else "other"

    @property
    def tally(self) -> Tally:
        """The latest count of connections and bytes."""
        return self._tallies.latest

    def refused_by_result(self) -> dict[str, int]:
        """Refused connections since the start, by result."""
        found: Counter[str] = Counter()
        for (result, _), count in self._refused.items():
            if count:
                found[str(result)] += count
        return dict(found)

    def totals(self) -> dict[str, int]:
        """Totals since the start: ended and refused connections, and bytes, including open tunnels."""
        finish(self.refresh_steps())
        tally = self._tallies.latest
        return {
            "ended": self._ended.total(),
            "refused": self._refused.total(),
            "bytes_up": tally.up.total(),
            "bytes_down": tally.down.total(),
        }

    def refresh_steps(self) -> Steps[None]:
        """Count the open tunnels and their bytes in steps, unless a recent count exists."""
        return self._tallies.count()

    def text(self) -> bytes:
        """All metrics in the Prometheus text format, L{CONTENT_TYPE}."""
        return finish(self.text_steps())

    def text_steps(self) -> Steps[bytes]:
        """Render the L{text} in steps."""
        yield from self.refresh_steps()
        rows, _ = yield from self._targets(MAX_ROWS)
        self._labelled = yield from label_steps(rows, self._stats, self.tally)
        batches = []
        for family in self._registry.collect():
            for batch in render_batches(family):
                batches.append(batch)
                yield
        return b"".join(batches)

    def describe(self) -> Iterable[Metric]:
        """Nothing. Otherwise the registry would call L{collect} in the constructor, before the sources are ready."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics, for the registry."""
        finish(self.refresh_steps())  # L{text_steps} has refreshed the counts already
        info = GaugeMetricFamily("sniproxy_info", "Always 1. Label: the version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield counter_family(
            "sniproxy_connections",
            "Connections that ended, by route (empty: none) and result.",
            ("listener", "route", "result"),
            self._ended,
        )
        yield counter_family(
            "sniproxy_refusals",
            "Connections refused before they became tunnels, by result and TLS alert (empty: none).",
            ("result", "alert"),
            self._refused,
        )
        yield from self._collect_live()
        for histogram in (self._hello, self._resolve, self._connect):
            yield _family(histogram)
        yield CounterMetricFamily(
            "sniproxy_access_log_lines_lost", "Access log lines that could not be written.", self._access_log_lost()
        )
        about = "Requests and connections that the admin endpoint refused, by cause."
        yield counter_family("sniproxy_admin_refused", about, ("cause",), by_label(self._admin_refused()))
        yield CounterMetricFamily(
            "sniproxy_event_log_lines_lost", "Event log lines that could not be written.", self._event_log_lost()
        )
        yield from target_metrics(self._labelled)
        yield from listener_metrics(self.tally, self._listeners())
        yield from limit_metrics(self._limits())
        yield from relay_metrics(self._relay())
        yield from readiness_metrics(self._readiness())
        yield from old_process_metrics(self._old_processes())
        yield from resolution_metrics(self._resolutions())
        yield from reload_metrics(self._reloads())
        yield from fault_metrics(self._faults())
        yield from resolver_metrics(list(self._resolvers()))
        if self.topics is not None:
            yield from self._collect_pulsar(self.topics())

    def _collect_live(self) -> Iterator[Metric]:
        tally = self._tallies.latest
        yield gauge_family("sniproxy_tunnels", "Open tunnels.", ("listener", "route"), tally.tunnels)
        yield gauge_family(
            "sniproxy_opening",
            "Connections that are not yet tunnels, by state: hello, resolve, connect, handshake.",
            ("listener", "state"),
            tally.opening,
        )
        passed: Counts = Counter({(*key, "up"): count for key, count in tally.up.items()})
        passed.update({(*key, "down"): count for key, count in tally.down.items()})
        yield counter_family(
            "sniproxy_bytes",
            "Bytes sent to targets (up) and to clients (down), including open tunnels.",
            ("listener", "route", "direction"),
            passed,
        )

    def _collect_pulsar(self, topics: Counter[str]) -> Iterator[Metric]:
        known: Counter[str] = Counter()
        for cluster, count in topics.items():
            known[self._cluster(cluster)] += count
        about = "Topic lookups, by response."
        yield counter_family("sniproxy_lookups", about, ("response",), by_label(self._lookups))
        about = "Failed topic lookups, by step and error."
        yield counter_family("sniproxy_lookup_failures", about, ("step", "error"), self._errors)
        yield _family(self._lookup)
        about = "Topics that moved to another broker."
        yield counter_family("sniproxy_topic_moves", about, ("cluster",), by_label(self._moves))
        yield gauge_family("sniproxy_topics", "Topics whose broker is known.", ("cluster",), by_label(known))


def _histogram(name: str, about: str) -> Histogram:
    return Histogram(name, about, buckets=BUCKETS, registry=None)


def _family(histogram: Histogram) -> Metric:
    """The metric of a histogram, without the samples of its creation time."""
    (family,) = histogram.collect()
    family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    return family
