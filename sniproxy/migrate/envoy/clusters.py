"""Reads Envoy's clusters: their endpoints become targets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from sniproxy.migrate.envoy.messages import entries, number, text, typed, unused
from sniproxy.migrate.envoy.sources import Sources, eds_name
from sniproxy.migrate.model import Notes, Place
from sniproxy.migrate.weights import host_port, share
from sniproxy.migrate.yamlnodes import YamlNode
from sniproxy.routing.targets import MAX_PORT, BadTarget, parse_target

DYNAMIC = "dynamic_forward_proxy"
"""The cluster type that dials the host that a filter names."""

_STATIC, _DNS = "STATIC", ("STRICT_DNS", "LOGICAL_DNS", "1", "2")
_BALANCE = {
    "": "round_robin", "ROUND_ROBIN": "round_robin", "LEAST_REQUEST": "least_connections", "RANDOM": "round_robin",
}  # fmt: skip
_POLICIES = {"round_robin": "ROUND_ROBIN", "least_request": "LEAST_REQUEST", "random": "RANDOM"}

_KNOWN = frozenset((
    "@type", "name", "alt_stat_name", "type", "cluster_type", "load_assignment", "hosts", "lb_policy",
    "connect_timeout", "load_balancing_policy", "health_checks", "outlier_detection", "transport_socket",
    "circuit_breakers", "common_lb_config", "dns_lookup_family", "dns_refresh_rate", "respect_dns_ttl",
    "eds_cluster_config", "dns_failure_refresh_rate", "dns_jitter", "per_connection_buffer_limit_bytes", "metadata",
    "original_dst_lb_config", "round_robin_lb_config", "least_request_lb_config", "ring_hash_lb_config",
    "maglev_lb_config", "cleanup_interval", "typed_extension_protocol_options", "use_tcp_for_dns_lookups",
    "typed_dns_resolver_config", "dns_resolvers", "upstream_connection_options",
    "close_connections_on_host_health_failure", "ignore_health_on_host_removal", "wait_for_warm_on_init",
    "http2_protocol_options", "protocol_selection", "track_cluster_stats",
))  # fmt: skip


@attrs.frozen
class Cluster:
    """A cluster.

    @ivar targets: each with its weight; 0: a spare. Empty: its connections are refused.
    @ivar dynamic: a filter names the host.
    @ivar tls: the context of TLS that Envoy itself speaks to the endpoints. None: it passes the client's bytes on.
    @ivar unusable: why it has no targets here; empty: it has.
    """

    name: str
    node: YamlNode
    targets: Sequence[tuple[str, int]] = ()
    dynamic: bool = False
    balance: str | None = None
    send_proxy: str | None = None
    max_connections: int | None = None
    tls: YamlNode | None = None
    unusable: str = ""

    @property
    def place(self) -> Place:
        return attrs.evolve(self.node.place, key=f"cluster {self.name}")


def read_clusters(sources: Sources, report: Notes, used: set[str]) -> Mapping[str, Cluster]:
    """All clusters by name. @param used: the names of those that chains lead to; the others are not reported."""
    return {
        name: _cluster(name, node, sources, report if name in used else Notes())
        for name, node in sources.clusters.items()
    }


def _cluster(name: str, node: YamlNode, sources: Sources, report: Notes) -> Cluster:
    found = Cluster(name, node)
    kind = _kind(node)
    if kind == DYNAMIC:
        return attrs.evolve(found, dynamic=True)
    assignment = node.get("load_assignment")
    if assignment is None and kind in ("EDS", "3"):
        assignment = sources.assignments.get(eds_name(node))
    if kind not in (_STATIC, "0", *_DNS, "EDS", "3"):
        return attrs.evolve(found, unusable=f"its endpoints are known to Envoy only while it runs (type {kind})")
    if assignment is None and node.get("hosts") is None:
        missing = "they come from EDS, and no file has them" if kind in ("EDS", "3") else "it has no load_assignment"
        return attrs.evolve(found, unusable=f"its endpoints are unknown: {missing}")
    unused(node, _KNOWN, report, f"cluster {name}")
    targets = _hosts(node, report) if assignment is None else _targets(assignment, node, report)
    if kind in _DNS and targets:
        report.different(
            found.place, "the addresses of a host name are tried in order, for each connection, not balanced"
        )
    found = attrs.evolve(
        found,
        targets=targets,
        balance=_balance(node, report),
        max_connections=_max_connections(node),
        unusable="" if targets or _is_empty(assignment) else "it has no usable endpoint",
    )
    return _transport(found, node.get("transport_socket"), report)


def _is_empty(assignment: YamlNode | None) -> bool:
    """Whether a cluster has no endpoint on purpose: Envoy refuses its connections, and so do we."""
    return assignment is not None and not any(entries(one, "lb_endpoints") for one in entries(assignment, "endpoints"))


def _kind(node: YamlNode) -> str:
    """The way in which a cluster finds its endpoints, as the values of C{type}."""
    custom = node.get("cluster_type")
    if custom is None:
        return text(node, "type") or _STATIC
    kind, _ = typed(custom)
    known = {"dns": "STRICT_DNS", "strict_dns": "STRICT_DNS", "logical_dns": "LOGICAL_DNS", "static": _STATIC}
    known |= {"eds": "EDS", "original_dst": "ORIGINAL_DST"}
    return known.get(kind, kind)


def _targets(assignment: YamlNode, node: YamlNode, report: Notes) -> list[tuple[str, int]]:
    """The endpoints of priority 0 with their weights; those of the other priorities are spares."""
    groups: list[tuple[int, list[tuple[str, int]]]] = []
    spares: dict[int, list[str]] = {}
    localities = entries(assignment, "endpoints")
    first = min((number(one, "priority") or 0 for one in localities if entries(one, "lb_endpoints")), default=0)
    by_locality = node.at("common_lb_config", "locality_weighted_lb_config") is not None
    for locality in localities:
        priority = number(locality, "priority") or 0
        found = [one for endpoint in entries(locality, "lb_endpoints") if (one := _endpoint(endpoint, report))]
        if priority > first:
            spares.setdefault(priority, []).extend(target for target, _ in found)
        else:
            own = number(locality, "load_balancing_weight")
            groups.append((own or 0 if by_locality else sum(weight for _, weight in found), found))
    targets = share(groups)
    if spares:
        place = assignment.place
        report.different(place, "endpoints of a lower priority are spares (weight=0): dialled when all others fail")
    used = {target for target, _ in targets}
    late = [target for priority in sorted(spares) for target in spares[priority] if target not in used]
    return [*targets, *((target, 0) for target in dict.fromkeys(late))]


def _endpoint(node: YamlNode, report: Notes) -> tuple[str, int] | None:
    """An endpoint and its weight, or None."""
    endpoint = node.get("endpoint")
    if text(node, "health_status") in ("UNHEALTHY", "DRAINING", "TIMEOUT", "2", "3", "4"):
        report.different(node.place, "left out, as Envoy does: its health_status says that it gets no connections")
        return None
    address = None if endpoint is None else endpoint.get("address")
    target = None if address is None else _socket(address, report)
    return None if target is None else (target, number(node, "load_balancing_weight") or 1)


def _hosts(node: YamlNode, report: Notes) -> list[tuple[str, int]]:
    """The endpoints of a cluster as old versions of Envoy wrote them."""
    return share([(1, [(target, 1) for one in entries(node, "hosts") if (target := _socket(one, report))])])


def _socket(address: YamlNode, report: Notes) -> str | None:
    """The target of an address, or None."""
    socket = address.get("socket_address")
    if socket is None:
        report.left_out(address.place, "a target has a host and a port, or an IP address and a port", decides=True)
        return None
    host, port = text(socket, "address"), number(socket, "port_value")
    if port is None or not 1 <= port <= MAX_PORT:
        report.left_out(socket.place, f"{host}: no port from 1 to {MAX_PORT} in port_value", decides=True)
        return None
    target = host_port(host, port)
    try:
        parse_target(target)
    except BadTarget as error:
        report.left_out(socket.place, f"{target}: {error}", decides=True)
        return None
    return target


def _balance(node: YamlNode, report: Notes) -> str | None:
    """Our C{balance}. None: round robin, our default."""
    policy = text(node, "lb_policy")
    for choice in entries(node.get("load_balancing_policy"), "policies"):
        extension = choice.get("typed_extension_config")
        kind = "" if extension is None else typed(extension)[0]
        policy = _POLICIES.get(kind, kind.upper())
        break
    numbers = {"0": "ROUND_ROBIN", "1": "LEAST_REQUEST", "2": "RING_HASH", "3": "RANDOM", "5": "MAGLEV"}
    policy = numbers.get(policy, policy)
    if policy not in _BALANCE or policy == "RANDOM":
        report.different(node.place, f"{policy}: targets are taken in turn (round_robin)")
    balance = _BALANCE.get(policy, "round_robin")
    return None if balance == "round_robin" else balance


def _max_connections(node: YamlNode) -> int | None:
    """The written limit of connections of a cluster, of the default priority."""
    for threshold in entries(node.get("circuit_breakers"), "thresholds"):
        if text(threshold, "priority") in ("", "DEFAULT", "0"):
            return number(threshold, "max_connections")
    return None


def _transport(cluster: Cluster, transport: YamlNode | None, report: Notes) -> Cluster:
    """Read the transport socket: a PROXY protocol header, TLS, or neither."""
    if transport is None:
        return cluster
    kind, config = typed(transport)
    if kind in ("upstream_proxy_protocol", "proxy_protocol"):
        version = "" if config is None else text(config, "config", "version")
        cluster = attrs.evolve(cluster, send_proxy="v2" if version in ("V2", "1") else "v1")
        inner = None if config is None else config.get("transport_socket")
        if inner is None:
            return cluster
        kind, config = typed(inner)
    if kind == "tls":
        return attrs.evolve(cluster, tls=config or transport)
    if kind != "raw_buffer":
        why = f"Envoy speaks {kind} to its endpoints"
        report.left_out(transport.place, f"{why}: cluster {cluster.name} is left out", decides=True)
        return attrs.evolve(cluster, unusable=why)
    return cluster
