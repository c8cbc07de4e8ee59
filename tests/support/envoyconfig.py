"""Builds configurations of Envoy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sniproxy.migrate.envoy import read
from sniproxy.migrate.model import Imported, Notes, SourceFile

API = "type.googleapis.com/envoy.extensions"


def tcp_proxy(cluster: str | Mapping[str, int], **more: Any) -> dict[str, Any]:
    """The filter C{tcp_proxy}. @param cluster: its name, or weights by name."""
    where: dict[str, Any] = {"cluster": cluster}
    if not isinstance(cluster, str):
        where = {"weighted_clusters": {"clusters": [{"name": name, "weight": one} for name, one in cluster.items()]}}
    config = {"@type": f"{API}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t", **where, **more}
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def chain(cluster: str, *filters: dict[str, Any], **match: Any) -> dict[str, Any]:
    """A filter chain. @param filters: before C{tcp_proxy}. @param match: its C{filter_chain_match}."""
    return {"filter_chain_match": match, "filters": [*filters, tcp_proxy(cluster)]}


def address(port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    """An address."""
    return {"socket_address": {"address": host, "port_value": port}}


TLS_INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": {"@type": f"{API}.filters.listener.tls_inspector.v3.TlsInspector"},
}
PROXY_PROTOCOL = {
    "name": "envoy.filters.listener.proxy_protocol",
    "typed_config": {"@type": f"{API}.filters.listener.proxy_protocol.v3.ProxyProtocol"},
}


def listener(name: str, port: int, chains: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A listener that reads hellos, unless C{listener_filters} says otherwise."""
    return {
        "name": name,
        "address": address(port),
        "listener_filters": [TLS_INSPECTOR],
        "filter_chains": list(chains),
        **more,
    }


def cluster(name: str, *targets: str, **more: Any) -> dict[str, Any]:
    """A cluster of C{host:port} targets."""
    places = [target.rpartition(":") for target in targets]
    endpoints = [{"endpoint": {"address": address(int(port), host)}} for host, _, port in places]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": assignment, **more}


def bootstrap(listeners: Sequence[dict[str, Any]], clusters: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A bootstrap."""
    return {"static_resources": {"listeners": list(listeners), "clusters": list(clusters)}}


def as_json(document: object) -> str:
    """JSON is YAML."""
    return json.dumps(document, indent=2)


def filter_of(where: str, kind: str, message: str, **config: Any) -> dict[str, Any]:
    """A filter. @param where: C{network} or C{listener}. @param kind: as C{rbac}. @param message: as C{RBAC}."""
    full = f"{API}.filters.{where}.{kind}.v3.{message}"
    return {"name": f"envoy.filters.{where}.{kind}", "typed_config": {"@type": full, **config}}


def tls_socket(side: str, **common: Any) -> dict[str, Any]:
    """A transport socket. @param side: C{Downstream} or C{Upstream}. @param common: its C{common_tls_context}."""
    config = {"@type": f"{API}.transport_sockets.tls.v3.{side}TlsContext", "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def imported(document: object, **others: str) -> Imported:
    """The import of a bootstrap. @param others: texts of more files, by name."""
    files = [SourceFile("envoy.yaml", as_json(document)), *(SourceFile(*one) for one in others.items())]
    return read(files)


def one_listener(chains: Sequence[dict[str, Any]], *clusters: dict[str, Any], **more: Any) -> Imported:
    """The import of one listener. Without clusters: C{a}, C{b} and C{c}, each with one target C{NAME.test:6651}."""
    given = clusters or [cluster(name, f"{name}.test:6651", type="STRICT_DNS") for name in "abc"]
    return imported(bootstrap([listener("public", 4443, chains, **more)], list(given)))


def rules(found: Imported) -> list[tuple[str, tuple[str, ...]]]:
    """The patterns and targets of an import."""
    return [(rule.pattern, tuple(rule.targets)) for rule in found.rules]


def notes(report: Notes, decides: bool | None = None) -> str:
    """The lines of a report. @param decides: only those that decide, or do not."""
    chosen = [one for one in report.notes if decides in (None, one.decides)]
    return "\n".join(f"{one.kind} {one.place.key}: {one.text}" for one in chosen)
