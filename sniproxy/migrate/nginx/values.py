"""Values of nginx's directives: times, C{allow} and C{deny}, C{listen}. Pure."""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import attrs

from sniproxy.migrate.listening import Address, port_number, split_address
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.util.names import ip_literal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_PORTS = 1000
"""Maximum ports of a range."""

_TIME = re.compile(r"(\d{1,9})(ms|[smhdwMy]?)\s*")
_UNITS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}
_RANGE = re.compile(r"(\d+)-(\d+)")
_EVERYTHING: tuple[Network, ...] = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))


def seconds(text: str) -> float | None:
    """A time, as in C{1h 30m}. None: the text is no time."""
    at, found = 0, 0.0
    while at < len(text):
        match = _TIME.match(text, at)
        if match is None:
            return None
        found += int(match[1]) * _UNITS[match[2]]
        at = match.end()
    return found if text else None


def allowed(rules: Sequence[Directive]) -> list[str] | None:
    """The networks of C{allow} and C{deny} directives, of which the first match decides. None: all clients.

    @raise ValueError: an address is invalid. The message has it.
    """
    networks = [(rule.name == "allow", _network(rule.first)) for rule in rules if rule.first != "unix:"]
    found = [text for version in (4, 6) for text in _allowed(networks, version)]
    return None if found == [str(network) for network in _EVERYTHING] else found


def _network(text: str) -> Network | None:
    """A network; None: all of both families."""
    return None if text == "all" else ipaddress.ip_network(text, strict=False)


def _allowed(rules: Sequence[tuple[bool, Network | None]], version: int) -> list[str]:
    """The allowed networks of a family, found as ranges of numbers."""
    whole = _EVERYTHING[version == 6]
    undecided = [(0, int(whole.broadcast_address))]
    found: list[tuple[int, int]] = []
    for allow, network in rules:
        network = whole if network is None else network
        if network.version != version:
            continue
        low, high = int(network.network_address), int(network.broadcast_address)
        begin = bisect_left(undecided, low, key=itemgetter(1))
        end = bisect_right(undecided, high, key=itemgetter(0))
        inside = [(max(low, first), min(high, last)) for first, last in undecided[begin:end]]
        outside = [(first, low - 1) for first, _ in undecided[begin : begin + 1] if first < low and begin < end]
        outside += [(high + 1, last) for _, last in undecided[max(begin, end - 1) : end] if last > high]
        undecided[begin:end] = outside
        found += inside if allow else ()
    address = ipaddress.IPv6Address if version == 6 else ipaddress.IPv4Address
    every = sorted([*found, *undecided])
    networks: list[Any] = []
    for first, last in every:
        networks += ipaddress.summarize_address_range(address(first), address(last))
    return [str(one) for one in ipaddress.collapse_addresses(networks)]


@attrs.frozen
class Listen:
    """An address of a C{listen} directive. @ivar options: its parameters."""

    address: Address
    options: frozenset[str]
    directive: Directive

    @property
    def is_default(self) -> bool:
        """Whether its server takes names that no other server has."""
        return bool(self.options & {"default_server", "default"})


def read_listen(directive: Directive) -> list[Listen] | None:
    """The addresses of a C{listen}, one for each port of a range. None: it has no address that can be listened on."""
    options = frozenset(directive.arguments[1:])
    text = directive.first
    if text.startswith("unix:"):
        return [Listen(Address("unix", path=text.removeprefix("unix:")), options, directive)]
    whole = _RANGE.fullmatch(text)
    host, port = ("", text) if whole is not None else split_address(text)
    ports = _ports(port)
    if host in ("*", ""):
        address: str | None = "0.0.0.0"
    else:
        address = "127.0.0.1" if host == "localhost" else ip_literal(host)
    if address is None or not ports:
        return None
    hosts = ["0.0.0.0", "::"] if address == "::" and "ipv6only=off" in options else [address]
    return [Listen(Address(one, number), options, directive) for number in ports for one in hosts]


def _ports(text: str) -> Sequence[int]:
    match = _RANGE.fullmatch(text)
    low, high = (port_number(part) for part in (match[1], match[2])) if match is not None else (port_number(text),) * 2
    if low is None or high is None or not 0 <= high - low < MAX_PORTS:
        return ()
    return range(low, high + 1)
