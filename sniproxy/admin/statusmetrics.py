"""Prometheus metrics of the limits, the relay, name lookups and resolvers, from what C{/status} has of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from sniproxy.admin.rendering import by_label, counter_family, gauge_family
from sniproxy.admin.sources import LimitsStatus, OldProcess, RelayStatus, Reloads, Resolutions, ResolverStatus
from sniproxy.admin.tally import Counts


def limit_metrics(limits: LimitsStatus) -> Iterator[Metric]:
    """The limits of connections, and their effects."""
    yield GaugeMetricFamily("sniproxy_max_connections", "Maximum of open connections.", limits.max_connections)
    about = "Maximum of connections that have sent a ClientHello and are not yet tunnels."
    yield GaugeMetricFamily("sniproxy_max_connecting", about, limits.max_connecting)
    yield CounterMetricFamily(
        "sniproxy_loops", "ClientHellos that came back to this proxy through another one.", limits.loops
    )
    about = "Connections refused by a limit, including those without an access log record."
    yield counter_family("sniproxy_limited", about, ("limit",), by_label(limits.refused))
    about = "Pauses of accept because a global limit was reached."
    yield counter_family("sniproxy_limit_waits", about, ("limit",), by_label(limits.waited))
    reached = {limit: int(limit == limits.reached) for limit in limits.waited}
    about = "1 while a global limit is reached, so that new connections wait."
    yield gauge_family("sniproxy_limit_reached", about, ("limit",), by_label(reached))


def relay_metrics(relay: RelayStatus) -> Iterator[Metric]:
    """The relay of new plain tunnels, and the relay engine."""
    about = "Always 1. Label: the relay of new plain tunnels, engine or python."
    yield gauge_family("sniproxy_relay_info", about, ("relay",), by_label({relay.relay: 1}))
    for name, about, value in (
        ("threads", "Threads of the relay engine. 0: it does not run.", relay.threads),
        ("tunnels", "Open tunnels of the relay engine.", relay.tunnels),
        ("held_bytes", "Bytes that the relay engine holds for slow readers.", relay.held_bytes),
        ("pipes", "Open pipes of the relay engine, of two descriptors each.", relay.pipes),
    ):
        yield GaugeMetricFamily(f"sniproxy_relay_{name}", about, value)


def old_process_metrics(processes: Iterable[OldProcess]) -> Iterator[Metric]:
    """The tunnels of the processes that upgrades have replaced."""
    about = "Tunnels that stay with the processes that upgrades have replaced, until they end."
    yield GaugeMetricFamily("sniproxy_old_process_tunnels", about, sum(one.tunnels for one in processes))


def reload_metrics(reloads: Reloads) -> Iterator[Metric]:
    """The results of reloads."""
    results = by_label({"succeeded": reloads.succeeded, "failed": reloads.failed})
    yield counter_family("sniproxy_reloads", "Configuration reloads, by result.", ("result",), results)
    yield GaugeMetricFamily(
        "sniproxy_last_reload_successful",
        "1 if the last reload succeeded, 0 if it failed and the previous configuration is still in use.",
        int(reloads.error is None),
    )


def fault_metrics(counts: Mapping[str, int]) -> Iterator[Metric]:
    """The faults on purpose. @param counts: how often they were applied, by action."""
    about = "Faults on purpose that were applied, by action."
    yield counter_family("sniproxy_faults", about, ("action",), by_label(counts))


def resolution_metrics(names: Resolutions) -> Iterator[Metric]:
    """The metrics of host name lookups."""
    kind, limit = ("kind",), ("limit",)
    yield gauge_family("sniproxy_names_running", "Host name lookups in progress.", kind, by_label(names.running))
    yield gauge_family("sniproxy_names_waiting", "Host name lookups in the queue.", kind, by_label(names.waiting))
    yield counter_family("sniproxy_names_resolved", "Host name lookups.", ("result",), by_label(names.results))
    about = "Host name lookups refused by a limit."
    yield counter_family("sniproxy_names_limited", about, limit, by_label(names.limited))
    about = "Uses of the last good answer because a host name lookup failed."
    yield CounterMetricFamily("sniproxy_names_stale", about, names.stale)


def resolver_metrics(resolvers: Sequence[ResolverStatus]) -> Iterator[Metric]:
    """The metrics of resolvers."""
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
