"""Prometheus metrics of the limits and of the relay, from what C{/status} has of them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from sniproxy.admin.rendering import by_label, counter_family, gauge_family
from sniproxy.admin.sources import LimitsStatus, RelayStatus


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
