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
from sniproxy.admin.rendering import by_label, counter_family, gauge_family, render_batches
from sniproxy.admin.slices import Steps, finish
from sniproxy.admin.sources import (
    LimitsStatus,
    LiveConnection,
    RelayStatus,
    Reloads,
    Resolutions,
    ResolverStatus,
    TargetStatus,
)
from sniproxy.admin.statusmetrics import limit_metrics, relay_metrics
from sniproxy.admin.tally import Counts, TallyCounter
from sniproxy.events import Connection, Result
from sniproxy.inspector.entries import failed_step
from sniproxy.pulsar.events import Event

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

_NONE = ""  # Prometheus treats an empty label as absent; no route has an empty name


class Metrics(Collector):
    """Counts connections and events, and renders all metrics.

    L{count_connection} is an observer of connections (C{sniproxy.events.Observer}); L{count_event} takes the events of
    the inspector. Each scrape calls the other sources.

    @param live: the open connections. @param access_log_lost: lines of the access log that could not be written.
    @param reloads: the results of reloads. @param resolvers: the resolvers. @param targets: the tracked targets.
    @param limits: the limits of connections. @param instance: the number of this worker; None without workers.
    @param seconds: a monotonic clock. Large numbers of connections are counted at most once a second.
    @param admin_refused: refusals of the admin endpoint, by cause. @param resolutions: host name lookups.
    @param event_log_lost: lines of the event log that could not be written. @param relay: the relay of plain tunnels.
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
        targets: Callable[[], Iterable[TargetStatus]] = tuple,
        limits: Callable[[], LimitsStatus] = LimitsStatus,
        instance: int | None = None,
        seconds: Callable[[], float] = time.monotonic,
        admin_refused: Callable[[], Mapping[str, int]] = dict,
        resolutions: Callable[[], Resolutions] = Resolutions,
        event_log_lost: Callable[[], int] = int,
        relay: Callable[[], RelayStatus] = RelayStatus,
    ) -> None:
        self._access_log_lost = access_log_lost
        self._event_log_lost = event_log_lost
        self.topics = topics
        self._reloads = reloads
        self._resolvers = resolvers
        self._targets = targets
        self._limits = limits
        self._admin_refused = admin_refused
        self._instance = instance
        self._resolutions = resolutions
        self._relay = relay
        self._ended: Counts = Counter()
        self._refused: Counts = Counter()
        self._tallies = TallyCounter(live, seconds)
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
        if connection.bytes_up or connection.bytes_down:
            self._tallies.add_ended(connection)
        if connection.hello_s is not None:
            self._hello.observe(connection.hello_s)
        if connection.resolve_s is not None:
            self._resolve.observe(connection.resolve_s)
        if connection.connect_s is not None:
            self._connect.observe(connection.connect_s)

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
        labels = {"version": __version__}
        if self._instance is not None:
            labels["instance"] = str(self._instance)
        info = GaugeMetricFamily(
            "sniproxy_info", "Always 1. Labels: the version and, with workers, the worker number.", labels=list(labels)
        )
        info.add_metric(list(labels.values()), 1)
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
        targets = list(self._targets())
        up = by_label({one.target: int(one.state == "up") for one in targets})
        yield gauge_family("sniproxy_target_up", "1 if the target is up, 0 if down or ejected.", ("target",), up)
        connections = by_label({one.target: one.connections for one in targets})
        about = "Connections to a target, including those being dialled."
        yield gauge_family("sniproxy_target_connections", about, ("target",), connections)
        yield from limit_metrics(self._limits())
        yield from relay_metrics(self._relay())
        yield from _resolution_metrics(self._resolutions())
        reloads = self._reloads()
        results = by_label({"succeeded": reloads.succeeded, "failed": reloads.failed})
        yield counter_family("sniproxy_reloads", "Configuration reloads, by result.", ("result",), results)
        yield GaugeMetricFamily(
            "sniproxy_last_reload_successful",
            "1 if the last reload succeeded, 0 if it failed and the previous configuration is still in use.",
            int(reloads.error is None),
        )
        yield from _resolver_metrics(list(self._resolvers()))
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


def _resolution_metrics(names: Resolutions) -> Iterator[Metric]:
    kind, limit = ("kind",), ("limit",)
    yield gauge_family("sniproxy_names_running", "Host name lookups in progress.", kind, by_label(names.running))
    yield gauge_family("sniproxy_names_waiting", "Host name lookups in the queue.", kind, by_label(names.waiting))
    yield counter_family("sniproxy_names_resolved", "Host name lookups.", ("result",), by_label(names.results))
    about = "Host name lookups refused by a limit."
    yield counter_family("sniproxy_names_limited", about, limit, by_label(names.limited))
    about = "Uses of the last good answer because a host name lookup failed."
    yield CounterMetricFamily("sniproxy_names_stale", about, names.stale)


def _resolver_metrics(resolvers: Sequence[ResolverStatus]) -> Iterator[Metric]:
    for name, count, about in (
        ("questions", "questions", "Queries to a resolver."),
        ("failures", "failures", "Queries that a resolver did not answer: errors and timeouts."),
        ("refusals", "refused", "Answers of a resolver that refuse a name."),
    ):
        counts = by_label({one.name: one.counts[count] for one in resolvers})
        yield counter_family(f"sniproxy_resolver_{name}", about, ("resolver",), counts)
    unasked: Counts = Counter(
        {(one.name, name): one.counts[name] for one in resolvers for name in ("hits", "shared", "stale")}
    )
    yield counter_family(
        "sniproxy_resolver_unasked",
        "Requests answered without a query: from the cache (hits), by a pending query (shared), by an old answer "
        "(stale).",
        ("resolver", "how"),
        unasked,
    )
    opened = by_label({one.name: int(one.breaker != "closed") for one in resolvers})
    yield gauge_family("sniproxy_resolver_open", "1 while the circuit breaker is open.", ("resolver",), opened)
    failing = by_label({one.name: int(one.error is not None) for one in resolvers if one.watch is not None})
    about = "1 if the last refresh of a watching resolver failed."
    yield gauge_family("sniproxy_resolver_watch_failing", about, ("resolver",), failing)
