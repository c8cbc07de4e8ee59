"""Writes PROXY protocol headers. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from sniproxy.proxyprotocol.header import V2_SIGNATURE, Address
from sniproxy.proxyprotocol.tlvs import AUTHORITY, UNIQUE_ID

_LOCAL, _PROXY, _TCP4, _TCP6 = 0x20, 0x21, 0x11, 0x21

TLV_TYPES: Mapping[str, int] = {"authority": AUTHORITY, "unique_id": UNIQUE_ID}
"""The fields that L{write_v2} can add, by name."""


def write_v1(source: Address | None, destination: Address | None) -> bytes:
    """A header of version 1. @param source: the client. @param destination: where it connected to. None in either:
    ``UNKNOWN``; the receiver takes the addresses of its own connection."""
    pair = _same_family(source, destination)
    if pair is None:
        return b"PROXY UNKNOWN\r\n"
    one, other = pair
    assert source is not None and destination is not None
    return f"PROXY TCP{one.version} {one} {other} {source.port} {destination.port}\r\n".encode()


def write_v2(source: Address | None, destination: Address | None, fields: Mapping[str, str]) -> bytes:
    """A header of version 2. @param source: as for L{write_v1}, but with None it is ``LOCAL``.

    @param fields: values by the names in L{TLV_TYPES}, in ASCII and at most 65,000 bytes together.
    """
    pair = _same_family(source, destination)
    if pair is None:
        return V2_SIGNATURE + bytes((_LOCAL, 0, 0, 0))
    one, other = pair
    assert source is not None and destination is not None
    block = one.packed + other.packed + source.port.to_bytes(2) + destination.port.to_bytes(2)
    for name, text in fields.items():
        block += bytes((TLV_TYPES[name],)) + len(text).to_bytes(2) + text.encode("ascii")
    family = _TCP4 if one.version == 4 else _TCP6
    return V2_SIGNATURE + bytes((_PROXY, family)) + len(block).to_bytes(2) + block


_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def _same_family(source: Address | None, destination: Address | None) -> tuple[_IPAddress, _IPAddress] | None:
    """Both addresses, as IPv6 if one of them is. None: one is missing."""
    if source is None or destination is None:
        return None
    one, other = ipaddress.ip_address(source.host), ipaddress.ip_address(destination.host)
    if one.version != other.version:
        one, other = (ipaddress.IPv6Address(f"::ffff:{ip}") if ip.version == 4 else ip for ip in (one, other))
    return one, other
