"""Reads the network filters of a filter chain: where its connections go. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network

import attrs

from sniproxy.migrate.envoy.clusters import Cluster
from sniproxy.migrate.envoy.messages import entries, number, text, typed, unused
from sniproxy.migrate.model import Notes, Place
from sniproxy.migrate.weights import share, weighted
from sniproxy.migrate.yamlnodes import YamlNode
from sniproxy.routing.targets import MAX_PORT

_WITHOUT_EFFECT = ("tls_inspector", "echo_stats", "wasm_stats")
_ACCESS = {
    "rbac": "write its networks as only_from of the routes",
    "ext_authz": "it asks another program which clients are let in; a resolver plugin can do so here",
    "geoip": "write networks as only_from of the routes",
}
_LIMITS = {
    "connection_limit": "[limits] max_connections limits all connections of the proxy",
    "local_ratelimit": "[limits] rate_per_client limits each client's connections",
    "ratelimit": "[limits] rate_per_client limits each client's connections",
}

_DECIDING = ("metadata_match", "tunneling_config", "on_demand")
_KNOWN = frozenset((
    "@type", "stat_prefix", "cluster", "weighted_clusters", "idle_timeout", "max_connect_attempts", "access_log",
    "access_log_options", "access_log_flush_interval", "flush_access_log_on_connected", "downstream_idle_timeout",
    "upstream_idle_timeout", "backoff_options", "proxy_protocol_tlvs", *_DECIDING,
))  # fmt: skip


@attrs.frozen
class Destination:
    """Where the connections of a chain go. Without targets they are refused.

    @ivar dynamic_port: the port of C{sni_dynamic_forward_proxy}. None: targets are fixed.
    @ivar clients: the networks that are let in, by C{rbac}. None: all.
    @ivar by_name: the clusters by name, if the server name chooses among them (C{sni_cluster}).
    """

    targets: Sequence[str] = ()
    balance: str | None = None
    send_proxy: str | None = None
    clusters: Sequence[Cluster] = ()
    dynamic_port: int | None = None
    clients: Sequence[str] | None = None
    by_name: Mapping[str, Cluster] | None = None
    proxy: YamlNode | None = None

    @property
    def tls(self) -> Sequence[YamlNode]:
        """The contexts of TLS that Envoy itself speaks to the endpoints. Empty: it passes the client's bytes on."""
        return [one.tls for one in self.clusters if one.tls is not None]

    def same_as(self, other: Destination) -> bool:
        """Whether connections go to the same targets in the same way."""
        ours, theirs = ((one.targets, one.balance, one.send_proxy, one.by_name, one.clients) for one in (self, other))
        return ours == theirs


REFUSED = Destination()


def used_clusters(chain: YamlNode, names: set[str]) -> set[str]:
    """The names of the clusters that a chain leads to. @param names: of all clusters."""
    found: set[str] = set()
    for kind, config, _ in _filters(chain):
        if kind == "sni_cluster":
            return names
        if kind == "tcp_proxy" and config is not None:
            found.add(text(config, "cluster"))
            found |= {text(one, "name") for one in entries(config.get("weighted_clusters"), "clusters")}
    return found


def read_filters(chain: YamlNode, clusters: Mapping[str, Cluster], report: Notes) -> Destination:
    """The destination of a chain. @param clusters: all, by name."""
    filters = list(_filters(chain))
    if not any(kind == "tcp_proxy" and config is not None for kind, config, _ in filters):
        kinds = ", ".join(kind for kind, _, _ in filters) or "no filter"
        why = f"it has {kinds}, and no tcp_proxy, which is the only one with a counterpart; its names are refused"
        report.left_out(chain.place, why, decides=True)
        return REFUSED
    port: int | None = None
    by_name = False
    found, clients = REFUSED, None
    for kind, config, node in filters:
        if kind == "tcp_proxy" and config is not None:
            found = _tcp_proxy(config, clusters, port, report)
            break
        if kind == "sni_dynamic_forward_proxy":
            port = _dynamic_port(node, config, report)
        elif kind == "sni_cluster":
            by_name = True
        elif kind == "rbac" and clients is None and config is not None and (own := allowed_clients(config)):
            clients = own
        else:
            _other(kind, node.place, report)
    return attrs.evolve(found, by_name=clusters if by_name else None, clients=clients)


def _filters(chain: YamlNode) -> Iterator[tuple[str, YamlNode | None, YamlNode]]:
    for node in entries(chain, "filters"):
        kind, config = typed(node)
        yield kind, config, node


def _other(kind: str, place: Place, report: Notes) -> None:
    if kind in _ACCESS:
        report.left_out(place, f"{kind} decides which clients are let in: {_ACCESS[kind]}", decides=True)
    elif kind in _LIMITS:
        report.left_out(place, f"{kind}: {_LIMITS[kind]}")
    elif kind not in _WITHOUT_EFFECT:
        report.left_out(place, f"the filter {kind} has no counterpart", decides=True)


def allowed_clients(config: YamlNode) -> list[str] | None:
    """The networks that C{rbac} lets in. None: it decides by something else."""
    rules = config.get("rules")
    policies = None if rules is None else rules.get("policies")
    if policies is None or text(rules, "action") not in ("", "ALLOW", "0"):
        return None
    found = []
    for _, policy in policies.items():
        permissions = entries(policy, "permissions")
        if any(text(one, "any") != "true" for one in permissions) or policy.get("condition") is not None:
            return None
        for principal in entries(policy, "principals"):
            for one in entries(principal.get("or_ids"), "ids") or [principal]:
                address = one.get("remote_ip")
                if address is None:
                    return None
                found.append(network(address))
    return found or None


def network(node: YamlNode) -> str:
    """A network in our form; as it is written, if it is none."""
    address, length = text(node, "address_prefix"), number(node, "prefix_len") or 0
    try:
        return str(ip_network(f"{address}/{length}", strict=False))
    except ValueError:
        return f"{address}/{length}"


def _dynamic_port(node: YamlNode, config: YamlNode | None, report: Notes) -> int:
    """The port of C{sni_dynamic_forward_proxy}; 0: none is known."""
    port = number(config, "port_value") or 0
    if not 1 <= port <= MAX_PORT:
        report.left_out(node.place, f"no port from 1 to {MAX_PORT} in port_value", decides=True)
        return 0
    return port


def _tcp_proxy(proxy: YamlNode, clusters: Mapping[str, Cluster], port: int | None, report: Notes) -> Destination:
    unused(proxy, _KNOWN, report, "tcp_proxy")
    for key in _DECIDING:
        value = proxy.get(key)
        if value is not None:
            report.left_out(value.place, f"{key} has no counterpart", decides=True)
    groups = _groups(proxy, clusters, report)
    found = [cluster for _, cluster in groups]
    if any(cluster.dynamic for cluster in found):
        if port is None:
            report.left_out(proxy.place, "a dynamic_forward_proxy cluster without a filter that names the host")
            return REFUSED
        targets = (f"{{server_name}}:{port}",) if port else ()
        return Destination(targets, clusters=found, dynamic_port=port or None, proxy=proxy)
    attempts = number(proxy, "max_connect_attempts")
    if sum(len(one.targets) for one in found) > 1 or attempts is not None:
        why = "if a connect fails, the next target is tried, until all were tried or timeouts.connect ends"
        report.different(proxy.place, f"max_connect_attempts is {attempts or 1} in Envoy; here, {why}")
    return _combined(groups, proxy, report)


def _groups(proxy: YamlNode, clusters: Mapping[str, Cluster], report: Notes) -> list[tuple[int, Cluster]]:
    """The usable clusters with their weights."""
    written = [(1, proxy.get("cluster"))] if proxy.get("cluster") is not None else []
    for entry in entries(proxy.get("weighted_clusters"), "clusters"):
        written.append((number(entry, "weight") or 0, entry.get("name")))
    found = []
    for weight, name in written:
        if name is None or not weight:
            continue
        cluster = clusters.get(name.text())
        why = "no file has this cluster" if cluster is None else cluster.unusable
        if cluster is None or why:
            more = "its connections are refused" if len(written) == 1 else "its share goes to the other clusters"
            report.left_out(name.place, f"{name.text()}: {why}; {more}", decides=True)
        elif cluster.targets or cluster.dynamic:
            found.append((weight, cluster))
        elif len(written) > 1:
            report.different(name.place, f"{name.text()} has no endpoint: its share goes to the other clusters")
    return found


def _combined(groups: Sequence[tuple[int, Cluster]], proxy: YamlNode, report: Notes) -> Destination:
    if not groups:
        return attrs.evolve(REFUSED, proxy=proxy)
    first = groups[0][1]
    same = [(weight, one) for weight, one in groups if _transport(one) == _transport(first)]
    if len(same) < len(groups):
        report.left_out(
            proxy.place,
            "only some of its clusters get a PROXY protocol header or TLS: those unlike the first are left out",
            decides=True,
        )
    if len({one.balance for _, one in same}) > 1:
        report.different(proxy.place, f"its clusters differ in lb_policy; all are balanced as {first.name}")
    targets = share((weight, one.targets) for weight, one in same)
    used = {target for target, _ in targets}
    spares = dict.fromkeys(target for _, one in same for target, weight in one.targets if not weight)
    texts = [weighted(target, weight) for target, weight in targets]
    texts += [weighted(target, 0) for target in spares if target not in used]
    return Destination(tuple(texts), first.balance, first.send_proxy, tuple(one for _, one in same), proxy=proxy)


def _transport(cluster: Cluster) -> tuple[str | None, bool]:
    return cluster.send_proxy, cluster.tls is not None


def cluster_destination(cluster: Cluster, proxy: YamlNode, report: Notes) -> Destination:
    """The destination of one cluster, for C{sni_cluster}."""
    return _combined([(1, cluster)], proxy, report)
