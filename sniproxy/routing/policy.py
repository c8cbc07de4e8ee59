"""The destination policy: the targets that a client's name may form. Pure.

A client that chooses a name can also choose what it resolves to. So the policy checks the resolved address at the
moment of connecting, which defeats DNS rebinding and aliases.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import attrs

from sniproxy.interfaces import BadValue, Target
from sniproxy.routing.patterns import route_pattern
from sniproxy.routing.table import RouteTable
from sniproxy.routing.targets import DEFAULT_PORT
from sniproxy.util.names import BadName

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SPECIAL = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified: this host or network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared address space"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "IETF protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.88.99.0/24", "6to4 relay anycast"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "local-use NAT64"),
        ("100::/64", "discard-only"),
        ("100:0:0:1::/64", "dummy prefix"),
        ("2001::/23", "IETF protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing SIDs"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
"""IANA's special-purpose registries (RFC 6890, section 2.2), and multicast. For NAT64 and 6to4 see L{_inner}."""

_SPECIAL_BY_VERSION = {
    version: [(network, what) for network, what in SPECIAL if network.version == version] for version in (4, 6)
}
_GLOBAL = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@attrs.frozen
class _Name:
    server_name: str
    listener: str | None = None


def _table(names: Iterable[str] | None) -> RouteTable[_Name] | None:
    return None if names is None else RouteTable(map(_Name, names))


@attrs.frozen
class Policy:
    """Restricts targets that a client's name formed (L{Target.client_formed}). It allows all other targets.

    @ivar allow_cidrs: networks that are allowed in addition to public addresses.
    @ivar allow_ports: the allowed ports.
    @ivar allow_names: patterns of the allowed hosts, as in a route. None: all hosts that the routes allow.
    """

    allow_cidrs: tuple[Network, ...] = ()
    allow_ports: frozenset[int] = frozenset({DEFAULT_PORT})
    allow_names: tuple[str, ...] | None = None
    _names: RouteTable[_Name] | None = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: _table(self.allow_names), takes_self=True)
    )

    def refuses(self, target: Target, address: str | None) -> str | None:
        """The reason to deny a target. None: it is allowed.

        @param address: an address that its host resolved to. None: it is not resolved yet; ports and names are
            checked alone.
        """
        if not target.client_formed:
            return None
        if target.port not in self.allow_ports:
            ports = ", ".join(map(str, sorted(self.allow_ports)))
            return f"port {target.port} is not in [policy] allow_ports ({ports})"
        if not self.allows_name(target.name or target.host):
            return "the host is not in [policy] allow_names"
        if address is None:
            return None
        special = self.special(address)
        if special is None:
            return None
        return f"the address is {special}, and the client's name chose it; to allow it, add it to [policy] allow_cidrs"

    def allows_name(self, host: str) -> bool:
        return self._names is None or self._names.match(host, "") is not None

    def special(self, address: str) -> str | None:
        """The kind and network of a special address that C{allow_cidrs} does not allow. None: it is allowed."""
        return self._special(_plain(ipaddress.ip_address(address)))

    def _special(self, address: Address) -> str | None:
        if any(_within(address, network) for network in self.allow_cidrs):
            return None
        for network, what in _SPECIAL_BY_VERSION[address.version]:
            if address in network:
                return f"{what} ({network})"
        if isinstance(address, ipaddress.IPv4Address):
            return None
        inner = _inner(address)
        if inner is not None:
            found = self._special(inner)
            return None if found is None else f"{found}, as {inner} inside IPv6"
        return None if address in _GLOBAL else "reserved (not in 2000::/3)"


def make_policy(cidrs: Iterable[str], ports: Sequence[int] | None, names: Iterable[str] | None) -> Policy:
    """Make a policy from the values of C{[policy]}. @param ports: None: Pulsar's TLS port, 6651.

    @raise BadValue: a value is wrong.
    """
    if ports is None:
        ports = [DEFAULT_PORT]
    if not ports:
        raise BadValue("allow_ports", ports, f"an empty list allows nothing; remove the key to allow {DEFAULT_PORT}")
    for port in ports:
        if not 1 <= port <= 65535:
            raise BadValue("allow_ports", port, "must be a number from 1 to 65535")
    patterns = None if names is None else tuple(map(_pattern, names))
    if patterns == ():
        raise BadValue(
            "allow_names", [], "an empty list allows nothing; remove the key to allow all that the routes allow"
        )
    return Policy(tuple(map(network, cidrs)), frozenset(ports), patterns)


def network(text: str, key: str = "allow_cidrs") -> Network:
    """Parse one network of a list. @param key: the list's key. @raise BadValue: the text is no network."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        cure = "a network is written 10.0.0.0/8 or fd00::/8"
        try:
            cure = f"host bits are set; write {ipaddress.ip_network(text, strict=False)}"
        except ValueError:
            pass
        raise BadValue(key, text, cure) from error
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped is not None:
        raise BadValue(key, text, "IPv4-mapped addresses are compared as IPv4; write the IPv4 network")
    return found


def _pattern(text: str) -> str:
    try:
        return route_pattern(text)
    except BadName as error:
        raise BadValue("allow_names", text, str(error)) from error


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _plain(address: Address) -> Address:
    """Unmap an IPv4-mapped address (``::ffff:10.0.0.7``): the kernel connects to the IPv4 address."""
    return getattr(address, "ipv4_mapped", None) or address


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a NAT64 (RFC 6052) or 6to4 (RFC 3056) gateway would connect to."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour
