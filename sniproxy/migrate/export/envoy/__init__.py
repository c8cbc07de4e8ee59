"""Writes a configuration as a bootstrap of Envoy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from sniproxy.config.schema import File, LimitsTable, ReloadTable
from sniproxy.migrate.export.envoy.clusters import Clusters, duration, report_differences, socket_address
from sniproxy.migrate.export.envoy.matching import REFUSED, matcher, needs_matcher, re2
from sniproxy.migrate.export.envoy.termination import API, downstream, made_filter, named_upstream
from sniproxy.migrate.export.fronts import FILE, Front, Leading, fronts, shown
from sniproxy.migrate.export.plainyaml import to_yaml
from sniproxy.migrate.export.termination import folder_of, report_files
from sniproxy.migrate.model import ANY, NAMELESS, Exported, Notes, Place
from sniproxy.routing.clientlist import make_client_list
from sniproxy.routing.patterns import is_expression
from sniproxy.util.names import ip_literal
from sniproxy.util.text import counted

_HEADER = "# Written by sniproxyctl export. Check it with: envoy --mode validate -c FILE\n"


def write(file: File) -> Exported:
    """Write a bootstrap. @param file: checked."""
    report = Notes()
    clusters = Clusters(file, report)
    listeners = [made for front in fronts(file, report) if (made := _listener(front, file, clusters, report))]
    document: dict[str, Any] = {
        "static_resources": {"listeners": listeners, "clusters": list(clusters.made.values())},
    }
    if file.limits.max_connections is not None:
        document["overload_manager"] = _most_connections(file.limits.max_connections * file.workers)
    _left_out(file, report)
    return Exported(_HEADER + to_yaml([document]), report.without_repeats())


def _listener(front: Front, file: File, clusters: Clusters, report: Notes) -> dict[str, Any] | None:
    address = _address(front, report)
    table = front.table
    if address is None:
        return None
    if table.certificates is not None and (key := folder_of(table)) is not None:
        why = f"{key}: Envoy takes a file; write the name of one, with the ending .pem"
        report.left_out(front.place, f"listener {front.name}: {why}", decides=True)
        return None
    if table.certificates is not None:
        report_files(table, front.place, "Envoy", report)
        front = attrs.evolve(front, leading=[one for one in front.leading if _has_name(one)])
    report_differences(front.leading, file, report)
    chains = _Chains(front, file, clusters, report)
    made: dict[str, Any] = {"name": front.name, "address": address, "tcp_backlog_size": front.endpoint.backlog}
    filters = []
    if table.proxy_protocol is not None:
        optional = {"allow_requests_without_proxy_protocol": True} if table.proxy_protocol == "optional" else {}
        filters.append(made_filter("listener", "proxy_protocol", "ProxyProtocol", optional))
        if table.proxy_protocol_from:
            report.different(front.place, "proxy_protocol_from: Envoy trusts every peer; let only these reach it")
    if not table.plaintext:
        filters.append(made_filter("listener", "tls_inspector", "TlsInspector", {}))
    if filters:
        made["listener_filters"] = filters
        made["listener_filters_timeout"] = duration(file.timeouts.hello)
    written = chains.all()
    report.taken(front.place, f"listener {front.name}: {counted(len(written['filter_chains']), 'filter chain')}")
    return {**made, **written}


def _has_name(one: Leading) -> bool:
    """Whether a listener that terminates TLS leads these names somewhere: it needs a name that is no IP address."""
    return one.pattern != NAMELESS and ip_literal(one.pattern) is None


def _address(front: Front, report: Notes) -> dict[str, Any] | None:
    endpoint = front.endpoint
    if endpoint.host is not None and endpoint.port is not None:
        return socket_address(endpoint.host, endpoint.port)
    if endpoint.kind == "unix":
        path = endpoint.text.partition(":")[2].partition(":backlog=")[0].partition(":mode=")[0]
        return {"pipe": {"path": path.removeprefix("address=").replace("\\:", ":").replace("\\\\", "\\")}}
    report.left_out(front.place, f"listener {front.name}: {endpoint.kind}: is no address of Envoy", decides=True)
    return None


@attrs.define
class _Chains:
    """Makes the filter chains of one listener."""

    front: Front
    file: File
    clusters: Clusters
    report: Notes

    def all(self) -> dict[str, Any]:
        """C{filter_chains}, and C{filter_chain_matcher} if needed."""
        leading = self._writable()
        groups: dict[tuple[str, tuple[str, ...] | None], list[str]] = {}
        for one in leading:
            cluster = self.clusters.name_for(one, self.front.endpoint.port, self.front.table)
            groups.setdefault((cluster, self._networks(one)), []).append(one.pattern)
        if self.front.table.plaintext:
            return {"filter_chains": [self._chain(*key, {}) for key in groups]}
        last = [{ANY, NAMELESS} & set(patterns) for patterns in groups.values()]
        if needs_matcher(leading, all(one in (set(), {ANY, NAMELESS}) for one in last)):
            return self._with_matcher(leading, groups)
        chains = []
        for key, patterns in groups.items():
            names = [one for one in patterns if one not in (ANY, NAMELESS)]
            for match in ([{"server_names": names}] if names else []) + ([{}] if ANY in patterns else []):
                chains.append(self._chain(*key, {**match, "transport_protocol": "tls"}))
        return {"filter_chains": chains}

    def _with_matcher(
        self, leading: Sequence[Leading], groups: dict[tuple[str, tuple[str, ...] | None], list[str]]
    ) -> dict[str, Any]:
        """Clients are limited by a filter in the chain."""
        chains, names = [], {}
        for number, ((cluster, networks), patterns) in enumerate(groups.items(), 1):
            name = f"chain-{number}"
            names.update(dict.fromkeys(patterns, name))
            chains.append({"name": name, **self._filters(cluster, _clients(networks))})
        if NAMELESS in names and ANY not in names:
            refusing = attrs.evolve(leading[-1], pattern=ANY, targets=())
            refused = self.clusters.name_for(refusing, None, self.front.table)
            chains.append({"name": REFUSED, **self._filters(refused)})
        order = [(one.pattern, names[one.pattern]) for one in leading]
        return {"filter_chain_matcher": matcher(order), "filter_chains": chains}

    def _writable(self) -> list[Leading]:
        found = []
        for one in self.front.leading:
            if is_expression(one.pattern) and re2(one.pattern) is None:
                why = "RE2, Envoy's syntax of expressions, lacks a part of it"
                self.report.left_out(one.place, f"{shown(one.pattern)}: {why}", decides=True)
            else:
                found.append(one)
        return found

    def _networks(self, one: Leading) -> tuple[str, ...] | None:
        """The clients of a route. None: all."""
        clients = make_client_list(one.table.only_from)
        if clients is None:
            return None
        if clients.endpoints:
            self.report.left_out(one.place, "only_from: Envoy does not know ids of private endpoints", decides=True)
        return tuple(map(str, clients.networks)) or ("255.255.255.255/32",)

    def _chain(self, cluster: str, networks: tuple[str, ...] | None, match: dict[str, Any]) -> dict[str, Any]:
        if networks is not None:
            match = {**match, "source_prefix_ranges": [_range(one) for one in networks]}
        found = {"filter_chain_match": match} if match else {}
        return {**found, **self._filters(cluster)}

    def _filters(self, cluster: str, first: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        """The filters of a chain, and TLS if it ends here. @param first: filters before the others."""
        table = self.front.table
        if table.certificates is None:
            return {"filters": [*first, self._tcp_proxy(cluster)]}
        return {"filters": [*first, named_upstream(), self._tcp_proxy(cluster)], "transport_socket": downstream(table)}

    def _tcp_proxy(self, cluster: str) -> dict[str, Any]:
        attempts = self.clusters.attempts(cluster)
        config: dict[str, Any] = {"stat_prefix": cluster, "cluster": cluster}
        config["idle_timeout"] = duration(self.file.timeouts.idle)
        if attempts > 1:
            config["max_connect_attempts"] = attempts
        return made_filter("network", "tcp_proxy", "TcpProxy", config)


def _range(network: str) -> dict[str, Any]:
    address, _, length = network.partition("/")
    return {"address_prefix": address, "prefix_len": int(length)}


def _clients(networks: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """The filter that lets only some clients in; none for all."""
    if networks is None:
        return []
    policy = {"permissions": [{"any": True}], "principals": [{"remote_ip": _range(one)} for one in networks]}
    config = {"stat_prefix": "only_from", "rules": {"action": "ALLOW", "policies": {"clients": policy}}}
    return [made_filter("network", "rbac", "RBAC", config)]


def _most_connections(most: int) -> dict[str, Any]:
    kind = f"{API}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    monitor = {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {"@type": kind, "max_active_downstream_connections": most},
    }
    return {"resource_monitors": [monitor]}


def _left_out(file: File, report: Notes) -> None:
    """Report tables without a counterpart."""
    for number in range(len(file.bridge)):
        report.left_out(Place(FILE, 0, f"bridge[{number}]"), "Envoy has no bridge for clients without TLS")
    for key, written, why in (
        ("workers", file.workers != 1, f"start Envoy with --concurrency {file.workers}"),
        ("admin", file.admin is not None, "write Envoy's own admin"),
        ("access_log", file.access_log is not None, "write access_log in each tcp_proxy"),
        ("inspect_log", file.inspect_log is not None, "Envoy does not read Pulsar's commands"),
        ("fault", bool(file.fault), "Envoy's faults do not know Pulsar's commands"),
        ("reload", file.reload != ReloadTable(), "Envoy reloads by xDS, or by a restart"),
        ("limits", _other_limits(file.limits), "only max_connections is written"),
        ("timeouts.half_closed", True, "Envoy has no counterpart; idle_timeout applies"),
        ("health.check", file.health.check == "tls", "checked by a connect only (tcp_health_check)"),
    ):
        if written:
            report.left_out(Place(FILE, 0, key), why)


def _other_limits(limits: LimitsTable) -> bool:
    return limits != LimitsTable(max_connections=limits.max_connections)
