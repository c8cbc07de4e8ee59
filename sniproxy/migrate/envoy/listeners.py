"""Reads Envoy's listeners. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

import attrs

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.envoy.chains import Chain, ChainRule, ChainRules
from sniproxy.migrate.envoy.clusters import Cluster
from sniproxy.migrate.envoy.filters import REFUSED, read_filters
from sniproxy.migrate.envoy.matchers import Match, Unreadable, matches_of
from sniproxy.migrate.envoy.messages import entries, flag, number, text, typed, unused
from sniproxy.migrate.envoy.termination import downstream_tls, terminated
from sniproxy.migrate.model import NAMELESS, Notes, Place
from sniproxy.migrate.yamlnodes import YamlNode
from sniproxy.routing.targets import MAX_PORT
from sniproxy.util.text import counted

_KNOWN = frozenset((
    "@type", "name", "stat_prefix", "address", "additional_addresses", "filter_chains", "default_filter_chain",
    "listener_filters", "listener_filters_timeout", "continue_on_listener_filters_timeout", "filter_chain_matcher",
    "tcp_backlog_size", "use_original_dst", "bind_to_port", "deprecated_v1", "per_connection_buffer_limit_bytes",
    "traffic_direction", "reuse_port", "enable_reuse_port", "metadata", "drain_type", "transparent",
    "connection_balance_config", "enable_mptcp", "access_log", "max_connections_to_accept_per_socket_event",
))  # fmt: skip
_HARMLESS = ("tls_inspector", "http_inspector")


Address = tuple[str, str, int]
"""An endpoint, the name of a listener, and a port (0: none)."""


@attrs.frozen
class ReadListener:
    """What one listener of Envoy becomes. @ivar waits: its C{listener_filters_timeout}. @ivar used: its chains."""

    tables: Sequence[tuple[Place, ListenerTable]]
    rules: Sequence[ChainRule] = ()
    waits: YamlNode | None = None
    used: Sequence[Chain] = ()


def read_listener(node: YamlNode, name: str, clusters: Mapping[str, Cluster], report: Notes) -> ReadListener:
    """@param name: of the listener here; a further address gets a name with a number."""
    reader = _Listener(node, name, report)
    unused(node, _KNOWN, report, f"listener {name}")
    places = reader.addresses()
    if not places:
        return ReadListener(())
    reader.filters()
    chains = [Chain(one, read_filters(one, clusters, report)) for one in entries(node, "filter_chains")]
    default = node.get("default_filter_chain")
    last = None if default is None else Chain(default, read_filters(default, clusters, report))
    if not reader.inspects and node.get("filter_chain_matcher") is None:
        chains = reader.without_names(chains)
    tls = reader.terminate([*chains, *([last] if last else [])])
    if tls is None:
        if not reader.inspects and node.get("filter_chain_matcher") is None:
            return reader.plain(places, chains, last)
        chains, last = [reader.passing(one) for one in chains], None if last is None else reader.passing(last)
    tables, rules = [], []
    for text_, own, port in places:
        shown, trusted = tls or (None, None)
        table = ListenerTable(text_, own, certificates=shown, upstream_trust=trusted, proxy_protocol=reader.header)
        tables.append((node.place, table))
        matched = reader.matches(port)
        fallback = last if reader.readable else None
        made = ChainRules(own, port, fallback, reader.header is not None, report, reader.transport)
        rules += made.rules(chains) if matched is None else made.matched(matched, chains)
        report.taken(node.place, f"listener {own}: {counted(len(chains), 'filter chain')}")
    used = [*chains, *([last] if last is not None else [])]
    return ReadListener(tables, rules, node.get("listener_filters_timeout"), used)


@attrs.define
class _Listener:
    """@ivar inspects: it reads hellos. @ivar header: our C{proxy_protocol}.

    @ivar readable: C{filter_chain_matcher} has a counterpart.
    """

    node: YamlNode
    name: str
    report: Notes
    inspects: bool = False
    readable: bool = True
    header: str | None = None

    def addresses(self) -> list[Address]:
        """Each address."""
        written = [self.node.get("address")]
        written += [one.get("address") for one in entries(self.node, "additional_addresses")]
        backlog = number(self.node, "tcp_backlog_size")
        suffix = f":backlog={backlog}" if backlog and backlog <= 99_999 else ""
        found: list[Address] = []
        for address in written:
            for endpoint, port in () if address is None else self._endpoints(address):
                name = self.name if not found else f"{self.name}-{len(found) + 1}"
                found.append((endpoint + suffix, name, port))
        if not found:
            self.report.left_out(self.node.place, f"listener {self.name}: no address to listen on", decides=True)
        if text(self.node, "bind_to_port") == "false" or text(self.node, "deprecated_v1", "bind_to_port") == "false":
            why = "bind_to_port is false: Envoy hands it connections of another listener; here it has a port of its own"
            self.report.different(self.node.place, why, decides=True)
        return found

    def _endpoints(self, address: YamlNode) -> Iterator[tuple[str, int]]:
        pipe = text(address, "pipe", "path")
        if pipe and not pipe.startswith("@"):
            escaped = pipe.replace("\\", "\\\\").replace(":", "\\:")
            yield f"unix:{escaped}", 0
            return
        socket = address.get("socket_address")
        port = number(socket, "port_value")
        if socket is None or port is None or port > MAX_PORT or text(socket, "protocol") in ("UDP", "1"):
            self.report.left_out(address.place, "a listener has a TCP port or a unix socket", decides=True)
            return
        host = text(socket, "address") or "0.0.0.0"
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            self.report.left_out(address.place, f"{host}: a listener has an IP address", decides=True)
            return
        kind = "tcp6" if ip.version == 6 else "tcp"
        if ip.is_unspecified:
            yield f"{kind}:{port}", port
        else:
            escaped = str(ip).replace(":", "\\:")
            yield f"{kind}:{port}:interface={escaped}", port

    def filters(self) -> None:
        """Read the listener filters."""
        for one in entries(self.node, "listener_filters"):
            kind, config = typed(one)
            if kind == "tls_inspector":
                self.inspects = True
            elif kind == "proxy_protocol":
                optional = flag(config, "allow_requests_without_proxy_protocol")
                self.header = "optional" if optional else "required"
                why = "Envoy trusts every peer; list your load balancers in proxy_protocol_from"
                self.report.different(one.place, f"proxy_protocol: {why}", decides=True)
            elif kind == "original_dst":
                self._original(one.place)
            elif kind not in _HARMLESS:
                self.report.left_out(one.place, f"the listener filter {kind} has no counterpart", decides=True)
        if flag(self.node, "use_original_dst"):
            self._original(self.node.place)
        if flag(self.node, "continue_on_listener_filters_timeout"):
            why = "a connection without a hello in time is closed, not passed on"
            self.report.different(self.node.place, f"continue_on_listener_filters_timeout: {why}")

    def _original(self, place: Place) -> None:
        why = "the original destination of redirected connections is not known here: name the targets"
        self.report.left_out(place, why, decides=True)

    def matches(self, port: int) -> list[Match] | None:
        """What C{filter_chain_matcher} does at a port. None: the listener has none."""
        matcher = self.node.get("filter_chain_matcher")
        if matcher is None:
            return None
        try:
            found = matches_of(matcher, port)
        except Unreadable as problem:
            why = f"filter_chain_matcher: {problem}; write its names as server_names of filter_chain_match"
            self.report.left_out(problem.node.place, why, decides=True)
            self.readable = False
            return []
        return found if self.inspects else [one for one in found if one.pattern == NAMELESS]

    @property
    def transport(self) -> str:
        """The C{transport_protocol} that Envoy sees in connections with TLS."""
        return "tls" if self.inspects else "raw_buffer"

    def without_names(self, chains: Sequence[Chain]) -> list[Chain]:
        """The chains that a listener without C{tls_inspector} reaches: it knows no names."""
        found = []
        for chain in chains:
            if chain.names() == [""] and text(chain.match, "transport_protocol") != "tls":
                found.append(chain)
            else:
                self.report.left_out(chain.place, "never reached, in Envoy too: the listener has no tls_inspector")
        return found

    def plain(self, places: Sequence[Address], chains: Sequence[Chain], last: Chain | None) -> ReadListener:
        """A listener without C{tls_inspector} knows no names: it connects every client to one destination."""
        tables = []
        for endpoint, name, port in places:
            usable = [self.passing(one) for one in chains]
            fallback = None if last is None else self.passing(last)
            found = ChainRules(name, port, fallback, self.header is not None, Notes(), self.transport).rules(usable)
            rule, destination = found[0] if found else (None, REFUSED)
            if rule is None or not rule.targets or destination.dynamic_port is not None:
                why = "without tls_inspector, and without a destination that all its clients have"
                self.report.left_out(self.node.place, f"listener {name}: {why}", decides=True)
                continue
            why = "no tls_inspector: every connection goes to its target, TLS or not (plaintext = true)"
            self.report.taken(self.node.place, f"listener {name}: {why}")
            table = ListenerTable(
                endpoint,
                name,
                plaintext=True,
                target=list(rule.targets),
                proxy_protocol=self.header,
                only_from=None if rule.only_from is None else list(rule.only_from),
                send_proxy=rule.send_proxy,
            )
            tables.append((self.node.place, table))
        return ReadListener(tables, (), None, [*chains, *([last] if last is not None else [])])

    def terminate(self, chains: Sequence[Chain]) -> tuple[str, str] | None:
        """The certificates and the trust of a listener that terminates TLS. None: it does not."""
        if not chains or any(downstream_tls(one.node) is None for one in chains):
            return None
        return terminated(chains, self.report)

    def passing(self, chain: Chain) -> Chain:
        """The chain, without a destination if Envoy terminates or begins TLS in it."""
        if downstream_tls(chain.node) is not None:
            why = "Envoy terminates TLS in this chain, so its names are refused; a listener here terminates TLS for all"
            cure = "its names, with certificates and upstream_trust in files, and speaks TLS to the targets"
            self.report.left_out(chain.place, f"{why} {cure}", decides=True)
        elif chain.destination.tls:
            why = "Envoy adds TLS towards the endpoints, around what the client sends; the chain's names are refused"
            self.report.left_out(chain.place, why, decides=True)
        else:
            return chain
        return attrs.evolve(chain, destination=REFUSED)
