"""Sets of client addresses, with complement and intersection: what C{src} conditions mean. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import attrs

Range = tuple[int, int]


@attrs.frozen
class Clients:
    """Addresses as ranges, sorted and apart from each other, of IPv4 and of IPv6."""

    four: tuple[Range, ...] = ()
    six: tuple[Range, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.four or self.six)

    def __invert__(self) -> Clients:
        return Clients(_complement(self.four, 32), _complement(self.six, 128))

    def __and__(self, other: Clients) -> Clients:
        return ~(~self | ~other)

    def __or__(self, other: Clients) -> Clients:
        return Clients(_union((*self.four, *other.four)), _union((*self.six, *other.six)))

    def __sub__(self, other: Clients) -> Clients:
        return self & ~other

    def networks(self) -> tuple[str, ...]:
        """The fewest networks that have these addresses."""
        found: list[str] = []
        for first, last in self.four:
            four = ipaddress.IPv4Address
            found += map(str, ipaddress.summarize_address_range(four(first), four(last)))
        for first, last in self.six:
            six = ipaddress.IPv6Address
            found += map(str, ipaddress.summarize_address_range(six(first), six(last)))
        return tuple(found)


def parse_networks(texts: Iterable[str]) -> Clients:
    """The clients of networks and addresses: C{10.0.0.0/8}, C{10.0.0.0/255.0.0.0}, C{2001:db8::1}.

    @raise ValueError: a text is none of these.
    """
    ranges: dict[int, list[Range]] = {4: [], 6: []}
    for text in texts:
        network = ipaddress.ip_network(text, strict=False)
        first = int(network.network_address)
        ranges[network.version].append((first, first + network.num_addresses - 1))
    return Clients(_union(ranges[4]), _union(ranges[6]))


def _union(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def _complement(ranges: Iterable[Range], bits: int) -> tuple[Range, ...]:
    found, begin = [], 0
    for first, last in ranges:
        if begin < first:
            found.append((begin, first - 1))
        begin = last + 1
    return (*found, (begin, 2**bits - 1)) if begin < 2**bits else tuple(found)


ALL = ~Clients()
"""All clients."""
