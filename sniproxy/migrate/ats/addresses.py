"""Lists of addresses: ``ip_allow`` of an entry, and of records. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from sniproxy.util.text import bounded


class BadAddresses(ValueError):
    """A text is no address, network or range. The message names it."""


def split_list(text: str) -> list[str]:
    """The items of a list, separated by commas or lines, without comments."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]


def networks(items: Iterable[str]) -> list[str]:
    """The networks of addresses, networks and ranges (``192.0.2.1-192.0.2.9``), merged and sorted, IPv4 first.

    @raise BadAddresses: an item is none of these.
    """
    found = [one for item in items for one in _networks(item)]
    v4 = [one for one in found if isinstance(one, ipaddress.IPv4Network)]
    v6 = [one for one in found if isinstance(one, ipaddress.IPv6Network)]
    return [str(one) for one in (*ipaddress.collapse_addresses(v4), *ipaddress.collapse_addresses(v6))]


def _networks(item: str) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        if "-" not in item:
            return [ipaddress.ip_network(_plain(item), strict=False)]
        low, _, high = item.partition("-")
        first, last = ipaddress.ip_address(_plain(low)), ipaddress.ip_address(_plain(high))
        if isinstance(first, ipaddress.IPv4Address) and isinstance(last, ipaddress.IPv4Address):
            return list(ipaddress.summarize_address_range(first, last))
        if isinstance(first, ipaddress.IPv6Address) and isinstance(last, ipaddress.IPv6Address):
            return list(ipaddress.summarize_address_range(first, last))
    except (ValueError, TypeError):
        pass
    raise BadAddresses(f"{bounded(item)!r} is no address, network or range")


def _plain(text: str) -> str:
    """Without brackets and leading zeros, and with all parts: Traffic Server also reads ``1.2.3.000`` and ``0/0``."""
    address, slash, bits = text.strip().strip("[]").partition("/")
    if _SHORT.fullmatch(address):
        parts = [str(int(part)) for part in address.split(".")]
        address = ".".join([*parts, *["0"] * (4 - len(parts) if slash else 0)])
    return address + slash + bits


_SHORT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}")
