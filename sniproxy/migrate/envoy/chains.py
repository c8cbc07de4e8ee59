"""Turns Envoy's filter chains into rules. Pure.

Envoy narrows the chains down in a fixed order: destination port, destination address, server name, transport protocol,
application protocols, source. At each step only the most specific chains that match continue, and there is no way
back: a chain for C{a.test} whose source does not match is never replaced by one for C{*.test}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from sniproxy.migrate.envoy.clusters import Cluster
from sniproxy.migrate.envoy.filters import REFUSED, Destination, cluster_destination, network
from sniproxy.migrate.envoy.matchers import Match
from sniproxy.migrate.envoy.messages import entries, number, text
from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place, Rule
from sniproxy.migrate.yamlnodes import YamlNode
from sniproxy.routing.patterns import matches

_UNMATCHABLE = {
    "prefix_ranges": "a destination address",
    "address_suffix": "a destination address",
    "source_type": "whether the client is on the same machine",
    "source_ports": "the client's port",
}


ChainRule = tuple[Rule, Destination]
"""A rule, and the destination that it was made from."""


@attrs.frozen
class Chain:
    """A filter chain. @ivar match: None: it has no match, or is the default chain."""

    node: YamlNode
    destination: Destination

    @property
    def match(self) -> YamlNode | None:
        return self.node.get("filter_chain_match")

    @property
    def place(self) -> Place:
        return self.node.place

    def names(self) -> list[str]:
        """The patterns of server names; an empty one is for every hello."""
        found = [one.text().lower() for one in entries(self.match, "server_names")]
        return found or [""]

    def values(self, key: str) -> list[str]:
        """The texts of a repeated field of the match."""
        return [one.text() for one in entries(self.match, key)]

    def sources(self, key: str) -> list[str]:
        """The networks of a field of the match, in our form."""
        return [network(one) for one in entries(self.match, key)]


@attrs.define
class ChainRules:
    """Makes the rules of one listener.

    @param listener: its name. @param port: 0: it has none. @param default: C{default_filter_chain}.
    @param transport: C{transport_protocol} of its connections.
    """

    listener: str
    port: int
    default: Chain | None
    proxy_protocol: bool
    report: Notes
    transport: str = "tls"

    def rules(self, chains: Sequence[Chain]) -> list[ChainRule]:
        """The rules of all chains, the most specific first."""
        chains = [one for one in self._for_port(chains) if self._usable(one)]
        buckets: dict[str, list[Chain]] = {}
        for chain in chains:
            for name in chain.names():
                if "*" in name.removeprefix("*."):
                    self.report.left_out(chain.place, f"{name}: Envoy accepts *. and a name only", decides=True)
                else:
                    buckets.setdefault(name, []).append(chain)
        found: list[ChainRule] = []
        for name in sorted(buckets, key=_precedence):
            found += self._bucket(name, buckets[name])
        if "" not in buckets and self.default is not None:
            found += self._rules("", self.default, None)
        return sorted(found, key=lambda pair: _precedence(pair[0].pattern))

    def _for_port(self, chains: Sequence[Chain]) -> list[Chain]:
        """The chains for the listener's port, if there are any; else those for all ports."""
        own, general = [], []
        for chain in chains:
            port = number(chain.match, "destination_port")
            if port is None:
                general.append(chain)
            elif port == self.port:
                own.append(chain)
            else:
                why = f"for port {port}, and the listener is on port {self.port}: it gets no connections"
                self.report.left_out(chain.place, why)
        for chain in general if own else ():
            self.report.left_out(chain.place, "never reached: other chains are for the listener's port")
        return own or general

    def _usable(self, chain: Chain) -> bool:
        """Whether our routes can match what a chain does. A chain for some other thing is reported."""
        for key, what in _UNMATCHABLE.items():
            value = None if chain.match is None else chain.match.get(key)
            if value is not None and value.text() not in ("ANY", "0") and not self._everything(chain, key):
                self.report.left_out(value.place, f"a route cannot match {what}", decides=True)
                return False
        return True

    @staticmethod
    def _everything(chain: Chain, key: str) -> bool:
        return key == "prefix_ranges" and set(chain.sources(key)) <= {"0.0.0.0/0", "::/0"}

    def _bucket(self, name: str, chains: Sequence[Chain]) -> list[ChainRule]:
        """The rules for the names whose most specific pattern is this one."""
        place = chains[0].place
        left = self._by_transport(name, chains)
        left = self._by_protocol(name, left)
        if not left:
            return self._otherwise(name, place)
        chain, networks = self._by_source(name, left)
        return self._rules(name, chain, networks)

    def _by_transport(self, name: str, chains: Sequence[Chain]) -> list[Chain]:
        """The chains for TLS: those that say so, or else those that do not say."""
        tls = [one for one in chains if text(one.match, "transport_protocol") == self.transport]
        general = [one for one in chains if not text(one.match, "transport_protocol")]
        for chain in chains:
            if name == "" and chain not in tls and chain.destination.targets:
                self.report.different(chain.place, "Envoy takes connections without TLS, too; here they are refused")
        return tls or general

    def _by_protocol(self, name: str, chains: Sequence[Chain]) -> list[Chain]:
        """The chains for any application protocol."""
        for chain in chains:
            protocols = chain.values("application_protocols")
            if protocols:
                why = f"clients that offer the protocol {' or '.join(protocols)} (ALPN) have a chain of their own"
                self.report.left_out(chain.place, f"{_shown(name)}: {why}; a route cannot match it", decides=True)
        return [one for one in chains if not one.values("application_protocols")]

    def _by_source(self, name: str, chains: Sequence[Chain]) -> tuple[Chain, list[str] | None]:
        """One chain, and its networks: a route cannot choose among targets by the client's address."""
        limited = [(one, self._networks(one)) for one in chains]
        chosen, networks = next((pair for pair in limited if pair[1] is None), limited[0])
        others = [(one, own) for one, own in limited if one is not chosen]
        different = [one for one, _ in others if not one.destination.same_as(chosen.destination)]
        for chain in different:
            why = "the client's address chooses among several chains; a route has one destination for all its clients"
            self.report.left_out(chain.place, f"{_shown(name)}: {why}", decides=True)
        if networks is not None:
            networks = networks + [net for one, own in others if one not in different for net in own or ()]
            if self.default is not None:
                why = "other clients go to default_filter_chain in Envoy; here they are refused"
                self.report.different(chosen.place, f"{_shown(name)}: {why}", decides=True)
        return chosen, networks

    def _networks(self, chain: Chain) -> list[str] | None:
        """The clients that a chain is for. None: all."""
        direct, source = chain.sources("direct_source_prefix_ranges"), chain.sources("source_prefix_ranges")
        if direct and (source or self.proxy_protocol):
            why = "the networks of the connecting peer, beside those of the client, are not matched"
            self.report.left_out(chain.place, f"direct_source_prefix_ranges: {why}", decides=True)
            direct = []
        return source or direct or None

    def _otherwise(self, name: str, place: Place) -> list[ChainRule]:
        """The rules for names whose chains do not match: Envoy uses the default chain or closes the connection."""
        if self.default is not None:
            return self._rules(name, self.default, None)
        return [(Rule(pattern, place, listener=self.listener), REFUSED) for pattern in _patterns(name)]

    def _rules(self, name: str, chain: Chain, networks: Sequence[str] | None) -> list[ChainRule]:
        destination = chain.destination
        found = []
        for pattern in _patterns(name):
            if destination.by_name is not None and pattern != NAMELESS:
                found += self._by_cluster(pattern, chain, networks)
            else:
                nameless = pattern == NAMELESS and destination.dynamic_port is not None
                found.append(self._rule(pattern, chain, REFUSED if nameless else destination, networks))
        return found

    def _by_cluster(self, pattern: str, chain: Chain, networks: Sequence[str] | None) -> list[ChainRule]:
        """The rules of C{sni_cluster}: the server name is the name of the cluster."""
        named: Mapping[str, Cluster] = chain.destination.by_name or {}
        proxy = chain.destination.proxy or chain.node
        found = []
        for name, cluster in named.items():
            if name == name.lower() and (pattern == ANY or matches(pattern, name)):
                if cluster.unusable or cluster.dynamic or cluster.tls is not None:
                    why = cluster.unusable or "it is no plain cluster"
                    self.report.left_out(cluster.place, f"names of sni_cluster: {why}", decides=True)
                    found.append(self._rule(name, chain, REFUSED, networks))
                else:
                    found.append(self._rule(name, chain, cluster_destination(cluster, proxy, self.report), networks))
        if pattern not in named:
            found.append(self._rule(pattern, chain, REFUSED, networks))
        return found

    def _rule(self, pattern: str, chain: Chain, destination: Destination, networks: Sequence[str] | None) -> ChainRule:
        clients = chain.destination.clients
        if clients is not None and networks is not None and list(clients) != list(networks):
            why = "rbac and the networks of filter_chain_match both limit clients; the latter are taken"
            self.report.left_out(chain.place, why, decides=True)
        clients = networks if networks is not None else clients
        rule = Rule(
            pattern,
            chain.place,
            tuple(destination.targets),
            self.listener,
            balance=destination.balance,
            send_proxy=destination.send_proxy,
            only_from=None if clients is None or not destination.targets else tuple(clients),
        )
        return rule, destination

    def matched(self, found: Sequence[Match], chains: Sequence[Chain]) -> list[ChainRule]:
        """The rules of C{filter_chain_matcher}, which names chains. Names without one get the default chain."""
        named = {text(chain.node, "name"): chain for chain in chains}
        made: list[ChainRule] = []
        for match in found:
            chain = named.get(match.chain)
            if chain is not None:
                made.append(self._rule(match.pattern, chain, chain.destination, None))
            else:
                made.append((Rule(match.pattern, match.node.place, listener=self.listener), REFUSED))
        if self.default is not None:
            made += self._rules("", self.default, None)
        return made


def _patterns(name: str) -> Iterable[str]:
    """Our patterns for Envoy's; no server name in a match means every hello."""
    return (ANY, NAMELESS) if name == "" else (name,)


def _precedence(pattern: str) -> tuple[int, int]:
    """The order in which Envoy looks patterns up: exact names, the longest wildcard, all names, no name."""
    if pattern in ("", ANY):
        return (2, pattern == NAMELESS)
    return (1, -len(pattern)) if pattern.startswith("*.") else (0, 0)


def _shown(name: str) -> str:
    return name or "hellos without a chain of their own"
