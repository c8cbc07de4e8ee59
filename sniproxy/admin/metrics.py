"""What ended, counted for Prometheus.

Counting is plain integers in dictionaries, because it happens once a connection; the texts are made when somebody asks.
Label values are bounded: the configuration, closed sets and a few clusters give them; no client names one.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sniproxy import __version__
from sniproxy.admin.process import ProcessMetrics
from sniproxy.admin.rendering import counter_family as _counted
from sniproxy.admin.rendering import gauge_family as _gauged
from sniproxy.admin.rendering import render_batches
from sniproxy.admin.slices import Steps, finish
from sniproxy.admin.sources import LimitsStatus, LiveConnection, Reloads, Resolutions, ResolverStatus, TargetStatus
from sniproxy.admin.tally import Counts, TallyCounter
from sniproxy.events import Connection, Result
from sniproxy.inspector.entries import failed_step
from sniproxy.pulsar.events import Event

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of L{Metrics.text} (Prometheus, "Exposition formats")."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: from a hello on the same machine to the longest default timeout."""

MAX_ERRORS = 64
"""Names of brokers' errors that are told apart; the protocol has fewer, and a newer broker's others are ``other``."""

MAX_CLUSTERS = 64
"""Clusters of the ledger that are told apart; all further ones are ``other``."""

REFUSALS = frozenset(
    {
        Result.NO_ROUTE,
        Result.NO_SERVER_NAME,
        Result.NO_CERTIFICATE,
        Result.DENIED,
        Result.MALFORMED_HELLO,
        Result.NOT_TLS,
        Result.NOT_PULSAR,
        Result.HELLO_TIMEOUT,
        Result.RESOLVER_FAILED,
        Result.CONNECT_FAILED,
        Result.CONNECT_TIMEOUT,
        Result.UPSTREAM_TLS_FAILED,
        Result.TLS_FAILED,
        Result.LIMIT,
    }
)
"""Results of connections that the proxy itself did not let become a tunnel."""

_NONE = ""  # Prometheus takes an empty label for an absent one; a route cannot be named so


class Histogram:
    """Seconds, counted by L{BUCKETS}."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, help: str) -> HistogramMetricFamily:
        """As Prometheus has it: each bucket with all below it."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return HistogramMetricFamily(name, help, buckets, self._sum)


class Metrics(Collector):
    """Counts, and L{text} for Prometheus.

    L{ended} is an observer of connections (C{sniproxy.events.Observer}); L{event} takes the inspector's events. What is
    true only now is asked for when Prometheus asks.

    @param targets: those that are looked after. @param limits: of connections.
    @param admin_refused: what the admin endpoint refused, by cause.
    @param reloads: how the configuration was read again. @param resolvers: how they do.
    @param instance: which of several workers this is. None: there is one process.
    @param resolutions: of host names.
    @param live: the connections that have not ended. @param access_log_lost: lines lost so far.
    @param seconds: a monotonic clock: with many connections they are counted once a second at most.
    @param event_log_lost: the same, of the inspector's log.
    @ivar topics: topics in the inspector's ledger, by cluster; None: nothing is inspected, and no metric speaks of
        Pulsar.
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
        self._ended: Counts = Counter()
        self._refused: Counts = Counter()
        self._tallies = TallyCounter(live, seconds)
        self._hello, self._resolve, self._connect, self._lookup = Histogram(), Histogram(), Histogram(), Histogram()
        self._lookups: Counter[str] = Counter()
        self._errors: Counts = Counter()
        self._moves: Counter[str] = Counter()
        self._clusters: set[str] = set()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._registry.register(ProcessMetrics())

    def ended(self, connection: Connection) -> None:
        """Count a connection that has ended."""
        route, result = connection.route or _NONE, connection.result
        listener = connection.listener
        self._ended[listener, route, result] += 1
        if result in REFUSALS:
            alert = connection.alert
            self._refused[result, _NONE if alert is None else alert.title] += 1
        if connection.bytes_up or connection.bytes_down:
            self._tallies.ended(connection)
        if connection.hello_s is not None:
            self._hello.observe(connection.hello_s)
        if connection.resolve_s is not None:
            self._resolve.observe(connection.resolve_s)
        if connection.connect_s is not None:
            self._connect.observe(connection.connect_s)

    def event(self, event: Event) -> None:
        """Count what the inspector saw: ``lookup``, ``moved``, and failed steps of lookups; no other event."""
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
            self._fail(step, str(fields["error"] or "unknown"))

    def _fail(self, step: str, error: str) -> None:
        known = (step, error) in self._errors or len(self._errors) < MAX_ERRORS
        self._errors[step, error if known else "other"] += 1

    def _cluster(self, name: str) -> str:
        """The label of a cluster."""
        if len(self._clusters) < MAX_CLUSTERS:
            self._clusters.add(name)
        return name if name in self._clusters else "other"

    def totals(self) -> dict[str, int]:
        """Since the start: connections ended and refused, bytes both ways, those of live tunnels too."""
        finish(self.counted())
        tally = self._tallies.latest
        return {
            "ended": self._ended.total(),
            "refused": self._refused.total(),
            "bytes_up": tally.up.total(),
            "bytes_down": tally.down.total(),
        }

    def counted(self) -> Steps[None]:
        """Count the open tunnels and their bytes, unless that was done within the last second."""
        return self._tallies.count()

    def text(self) -> bytes:
        """All metrics in Prometheus's text format, L{CONTENT_TYPE}."""
        return finish(self.text_steps())

    def text_steps(self) -> Steps[bytes]:
        """Make the L{text} in steps."""
        yield from self.counted()
        made = []
        for family in self._registry.collect():
            for part in render_batches(family):
                made.append(part)
                yield
        return b"".join(made)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would else collect once when this object is made, before its callbacks can answer."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        finish(self.counted())  # it is fresh already where L{text_steps} asks
        labels = {"version": __version__}
        if self._instance is not None:
            labels["instance"] = str(self._instance)
        about = "Always 1; the labels are the version that runs, and which of several workers this is."
        info = GaugeMetricFamily("sniproxy_info", about, labels=list(labels))
        info.add_metric(list(labels.values()), 1)
        yield info
        yield _counted(
            "sniproxy_connections",
            "Connections that ended, by route (empty: none) and result.",
            ("listener", "route", "result"),
            self._ended,
        )
        yield _counted(
            "sniproxy_refusals",
            "Connections that the proxy did not let become tunnels, by the TLS alert sent (empty: none).",
            ("result", "alert"),
            self._refused,
        )
        yield from self._collect_live()
        yield self._hello.family("sniproxy_hello_seconds", "From accepting to the whole ClientHello.")
        yield self._resolve.family("sniproxy_resolve_seconds", "Until the resolver answered.")
        yield self._connect.family("sniproxy_connect_seconds", "From then until the target was connected, or not.")
        yield CounterMetricFamily(
            "sniproxy_access_log_lines_lost", "Lines that could not be written.", self._access_log_lost()
        )
        about = "Requests and connections that the admin endpoint refused, by cause."
        causes: Counts = Counter({(cause,): count for cause, count in self._admin_refused().items()})
        yield _counted("sniproxy_admin_refused", about, ("cause",), causes)
        yield CounterMetricFamily(
            "sniproxy_event_log_lines_lost",
            "Lines of the inspector's log that could not be written.",
            self._event_log_lost(),
        )
        targets = list(self._targets())
        up: Counts = Counter({(one.target,): int(one.state == "up") for one in targets})
        connections: Counts = Counter({(one.target,): one.connections for one in targets})
        yield _gauged("sniproxy_target_up", "1, or 0: down, or avoided for a time.", ("target",), up)
        about = "Connections that dial a target, or have it, of those that are looked after."
        yield _gauged("sniproxy_target_connections", about, ("target",), connections)
        yield from _limit_metrics(self._limits())
        yield from _resolution_metrics(self._resolutions())
        reloads = self._reloads()
        counts: Counts = Counter({("succeeded",): reloads.succeeded, ("failed",): reloads.failed})
        yield _counted("sniproxy_reloads", "How often the configuration was read again.", ("result",), counts)
        yield GaugeMetricFamily(
            "sniproxy_last_reload_successful",
            "1, or 0 when what was read last was refused and the one before is in force.",
            int(reloads.error is None),
        )
        yield from _resolver_metrics(list(self._resolvers()))
        if self.topics is not None:
            yield from self._collect_pulsar(self.topics())

    def _collect_live(self) -> Iterator[Metric]:
        tally = self._tallies.latest
        yield _gauged("sniproxy_tunnels", "Tunnels open now.", ("listener", "route"), tally.tunnels)
        yield _gauged(
            "sniproxy_opening",
            "Connections that are no tunnels yet, by what they wait for: hello, resolve, connect.",
            ("listener", "state"),
            tally.opening,
        )
        passed: Counts = Counter({(*key, "up"): count for key, count in tally.up.items()})
        passed.update({(*key, "down"): count for key, count in tally.down.items()})
        yield _counted(
            "sniproxy_bytes",
            "Bytes passed to targets (up) and to clients (down), those of open tunnels too.",
            ("listener", "route", "direction"),
            passed,
        )

    def _collect_pulsar(self, topics: Counter[str]) -> Iterator[Metric]:
        moves: Counts = Counter({(cluster,): count for cluster, count in self._moves.items()})
        known: Counts = Counter()
        for cluster, count in topics.items():
            known[self._cluster(cluster),] += count
        lookups: Counts = Counter({(response,): count for response, count in self._lookups.items()})
        yield _counted("sniproxy_lookups", "Topic lookups seen, by their response.", ("response",), lookups)
        yield _counted(
            "sniproxy_lookup_failures", "Topic lookups that failed, by step and error.", ("step", "error"), self._errors
        )
        yield self._lookup.family("sniproxy_lookup_seconds", "From a lookup to its response.")
        yield _counted("sniproxy_topic_moves", "Topics seen to move to another broker.", ("cluster",), moves)
        yield _gauged("sniproxy_topics", "Topics whose broker is known.", ("cluster",), known)


def _limit_metrics(limits: LimitsStatus) -> Iterator[Metric]:
    about = "How many connections there may be at once."
    yield GaugeMetricFamily("sniproxy_max_connections", about, limits.max_connections)
    about = "How many connections whose hello has come may have no tunnel yet."
    yield GaugeMetricFamily("sniproxy_max_connecting", about, limits.max_connecting)
    yield _counted("sniproxy_loops", "Hellos that came back through another proxy.", (), Counter({(): limits.loops}))
    for name, counts, about in (
        ("sniproxy_limited", limits.refused, "Connections refused by a limit, those without a record too."),
        ("sniproxy_limit_waits", limits.waited, "How often accepting paused because a limit of all was reached."),
    ):
        yield _counted(name, about, ("limit",), Counter({(limit,): count for limit, count in counts.items()}))


def _resolution_metrics(names: Resolutions) -> Iterator[Metric]:
    for name, label, by in (("running", "kind", names.running), ("waiting", "kind", names.waiting)):
        now: Counts = Counter({(value,): count for value, count in by.items()})
        yield _gauged(f"sniproxy_names_{name}", f"Host names: {name} resolutions.", (label,), now)
    for name, label, by in (("resolved", "result", names.results), ("limited", "limit", names.limited)):
        since: Counts = Counter({(value,): count for value, count in by.items()})
        yield _counted(f"sniproxy_names_{name}", f"Host names: {name} since the start.", (label,), since)
    yield CounterMetricFamily("sniproxy_names_stale", "Host names: uses of the last good answer.", names.stale)


def _resolver_metrics(resolvers: Sequence[ResolverStatus]) -> Iterator[Metric]:
    for name, count, what in (
        ("questions", "questions", "Questions that resolvers were asked."),
        ("failures", "failures", "Questions that a resolver did not answer: errors, and silence."),
        ("refusals", "refused", "Answers that a name goes nowhere."),
    ):
        counts: Counts = Counter({(one.name,): one.counts[count] for one in resolvers})
        yield _counted(f"sniproxy_resolver_{name}", what, ("resolver",), counts)
    unasked: Counts = Counter(
        {(one.name, name): one.counts[name] for one in resolvers for name in ("hits", "shared", "stale")}
    )
    yield _counted(
        "sniproxy_resolver_unasked",
        "Answered without a question: from memory (hits), with another connection (shared), by an old answer (stale).",
        ("resolver", "how"),
        unasked,
    )
    opened: Counts = Counter({(one.name,): int(one.breaker != "closed") for one in resolvers})
    yield _gauged("sniproxy_resolver_open", "1 while the circuit breaker is open.", ("resolver",), opened)
    failing: Counts = Counter({(one.name,): int(one.error is not None) for one in resolvers if one.watch is not None})
    yield _gauged("sniproxy_resolver_watch_failing", "1 while its last look failed.", ("resolver",), failing)
