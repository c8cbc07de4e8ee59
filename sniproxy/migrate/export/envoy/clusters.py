"""Writes Envoy's clusters. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import attrs

from sniproxy.config.schema import File, HealthTable, ListenerTable, RouteEntry, Timeouts
from sniproxy.migrate.export.envoy.termination import API, upstream
from sniproxy.migrate.export.fronts import Leading, fixed_targets, shown
from sniproxy.migrate.model import Notes

REFUSED = "refused"
"""The name of a cluster without endpoints: Envoy closes its connections."""

UNLIMITED = 1_000_000
"""Envoy's own limits are 1024 connections of a cluster; this proxy has none."""

Targets = tuple[tuple[str, int, int], ...]


@attrs.define
class Clusters:
    """Makes a cluster for each destination. @ivar made: by name."""

    file: File
    report: Notes
    made: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    _names: dict[object, str] = attrs.field(factory=dict)

    def name_for(self, one: Leading, port: int | None, listener: ListenerTable | None = None) -> str:
        """The name of the cluster that some names lead to. @param port: of their C{listener}."""
        targets = tuple(fixed_targets(one, port, self.report))
        if not targets:
            self.made.setdefault(
                REFUSED, {"name": REFUSED, "type": "STATIC", "load_assignment": _assignment(REFUSED, ())}
            )
            return REFUSED
        table = one.table
        limit = None if isinstance(table, ListenerTable) else table.max_connections
        balance = None if isinstance(table, ListenerTable) else table.balance
        # A limit is for one route; clusters without one may be shared.
        send_proxy, tls = table.send_proxy, None
        if listener is not None and listener.certificates is not None:
            tls = (listener.upstream_trust, listener.upstream_certificate)
            if send_proxy is not None:
                why = "send_proxy: the header goes inside TLS here; Envoy sends it before TLS, so it is left out"
                self.report.left_out(one.place, f"{shown(one.pattern)}: {why}", decides=True)
            send_proxy = None
        key = (targets, balance, send_proxy, tls, (limit, one.place) if limit is not None else None)
        if key not in self._names:
            name = self._new_name(one)
            self._names[key] = name
            self.made[name] = self._cluster(name, targets, balance, send_proxy, limit)
            if tls is not None and listener is not None:
                self.made[name]["transport_socket"] = upstream(listener)
        return self._names[key]

    def attempts(self, name: str) -> int:
        """How many targets a cluster has, at least 1."""
        groups = self.made[name]["load_assignment"]["endpoints"]
        return max(1, sum(len(group["lb_endpoints"]) for group in groups))

    def _new_name(self, one: Leading) -> str:
        base = {"*": "default", "": "no_server_name"}.get(one.pattern, one.pattern)
        if isinstance(one.table, ListenerTable):
            base = one.table.name or one.table.endpoint
        name = base
        while name in (*self.made, REFUSED):
            name += "+"
        return name

    def _cluster(
        self, name: str, targets: Targets, balance: str | None, send_proxy: str | None, limit: int | None
    ) -> dict[str, Any]:
        by_name = any(not _is_ip(host) for host, _, _ in targets)
        most = {"max_pending_requests": UNLIMITED, "max_requests": UNLIMITED, "max_connections": limit or UNLIMITED}
        cluster: dict[str, Any] = {
            "name": name,
            "type": "STRICT_DNS" if by_name else "STATIC",
            "connect_timeout": duration(self.file.timeouts.connect),
            "circuit_breakers": {"thresholds": [most]},
        }
        if balance == "least_connections":
            cluster["lb_policy"] = "LEAST_REQUEST"
        cluster["load_assignment"] = _assignment(name, targets)
        cluster.update(_health(self.file.health, self.file.timeouts))
        if send_proxy is not None:
            cluster["transport_socket"] = _header(send_proxy)
        return cluster


def report_differences(leading: Sequence[Leading], file: File, report: Notes) -> None:
    """Report what clusters do otherwise."""
    reported: set[str] = set()

    def once(one: Leading, key: str, why: str) -> None:
        if key not in reported:
            reported.add(key)
            report.different(one.place, f"{shown(one.pattern)}: {why}")

    for one in leading:
        weights = [template.weight for template in one.targets]
        if 0 in weights and any(weights) and not (file.health.check or file.health.eject):
            why = "Envoy uses spares (priority 1) only while health checks or ejection find all others down"
            once(one, "spares", f"{why}: write [health]")
        if any(template.target is not None and not _is_ip(template.target.host) for template in one.targets):
            once(one, "names", "Envoy looks host names up every 5 s, not for each connection")
        if one.table.proxy_tlvs:
            report.left_out(one.place, "proxy_tlvs: Envoy's header gets no fields of the connection")
        if one.table.target_source is not None:
            report.left_out(one.place, "target_source: needs Envoy's original_src filter and its routing rules")
        if isinstance(one.table, RouteEntry) and one.table.max_connections is not None:
            once(one, "limit", "max_connections is for all of Envoy's workers together, and approximate")


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def duration(seconds: float) -> str:
    """A duration as protobuf writes it."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _assignment(name: str, targets: Sequence[tuple[str, int, int]]) -> dict[str, Any]:
    """The endpoints. Targets of weight 0 get priority 1, unless all have weight 0."""
    groups: dict[int, list[dict[str, Any]]] = {}
    weighted = any(weight for _, _, weight in targets)
    for host, port, weight in targets:
        endpoint: dict[str, Any] = {"endpoint": {"address": socket_address(host, port)}}
        if weight > 1:
            endpoint["load_balancing_weight"] = weight
        groups.setdefault(1 if weighted and not weight else 0, []).append(endpoint)
    endpoints = [
        {"priority": priority, "lb_endpoints": groups[priority]} if priority else {"lb_endpoints": groups[priority]}
        for priority in sorted(groups)
    ]
    return {"cluster_name": name, "endpoints": endpoints}


def socket_address(host: str, port: int) -> dict[str, Any]:
    """An address."""
    return {"socket_address": {"address": host, "port_value": port}}


def _health(health: HealthTable, timeouts: Timeouts) -> Mapping[str, Any]:
    """Health checks and outlier detection."""
    found: dict[str, Any] = {}
    if health.check is not None:
        check = {
            "timeout": duration(min(health.interval, timeouts.connect)),
            "interval": duration(health.interval),
            "unhealthy_threshold": health.fall,
            "healthy_threshold": health.rise,
            "tcp_health_check": {},
        }
        found["health_checks"] = [check]
    if health.eject:
        found["outlier_detection"] = {
            "consecutive_5xx": health.fall,
            "base_ejection_time": duration(health.eject),
            "max_ejection_time": duration(health.eject),
            "max_ejection_percent": 100,
        }
    return found


def _header(version: str) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": {
            "@type": f"{API}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            "config": {"version": version.upper()},
            "transport_socket": {
                "name": "envoy.transport_sockets.raw_buffer",
                "typed_config": {"@type": f"{API}.transport_sockets.raw_buffer.v3.RawBuffer"},
            },
        },
    }
