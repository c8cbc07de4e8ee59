"""Removes IP headers and tunnels in IP: IP in IP, GRE, ERSPAN I, VXLAN, Geneve, GTP-U and others. Pure.

`sniproxy.inspector.capture.layers` lists all of them with their specifications.
"""

from __future__ import annotations

from collections.abc import Callable

from sniproxy.inspector.capture.headers import (
    ETHERNET,
    MPLS,
    V4,
    V6,
    VLAN_TAGS,
    Found,
    InnerPacket,
    LaterFragment,
    MalformedHeader,
    TCPData,
    Unsupported,
    number,
    rest,
)

MAX_HEADERS = 32
"""Extension headers skipped in one IP packet."""

_TCP, _UDP, _AH = 6, 17, 51
_IPV6_OPTIONS = {0, 43, 60, 135, 139, 140}
_FRAGMENT = 44
_ERSPAN_2 = 0x88BE
_NAMED_PROTOCOLS = {50: "IPsec ESP", _AH: "IPsec AH", 55: "mobile IP", 108: "IPComp", 115: "L2TPv3"}
_ANY = bytes(range(256))
_NAMED_PORTS: dict[int, tuple[str, bytes, bytes]] = {
    # port: name, allowed first bytes, allowed second bytes
    1701: ("L2TP", _ANY, _ANY),
    3544: ("Teredo", _ANY, _ANY),
    4341: ("LISP", _ANY, _ANY),
    4500: ("IPsec in UDP", _ANY, _ANY),
    5247: ("CAPWAP", _ANY, _ANY),
    37008: ("TZSP", b"\x01", b"\x00\x01"),
    51820: ("WireGuard", b"\x01\x02\x03\x04", b"\x00"),
}


def ip(data: bytes) -> Found:
    """Read an IP packet of either version."""
    version = data[0] >> 4 if data else 0
    if version not in (4, 6):
        raise MalformedHeader
    return InnerPacket(V4 if version == 4 else V6, data)


def ipv4(data: bytes) -> Found:
    if len(data) < 20:
        raise MalformedHeader
    header = (data[0] & 15) * 4
    length, fragment = number(data, 2), number(data, 6)
    if data[0] >> 4 != 4 or header < 20 or (length and length < header):
        raise MalformedHeader
    # 0: segmentation offload; the capturing machine's network card sets the length later.
    length = length or len(data)
    return _ip_carries(data[9], data[12:16], data[16:20], data[header:length], length - header, fragment)


def ipv6(data: bytes) -> Found:
    if len(data) < 40 or data[0] >> 4 != 6:
        raise MalformedHeader
    length, protocol, fragment = number(data, 4), data[6], 0
    source, destination = data[8:24], data[24:40]
    length = length or len(data) - 40
    data = data[40 : 40 + length]
    for _ in range(MAX_HEADERS):
        if protocol in _IPV6_OPTIONS:
            number(data, 0)
            protocol, size = data[0], 8 * (data[1] + 1)
        elif protocol == _FRAGMENT:
            place = number(data, 2)
            fragment |= place >> 3 | (place & 1) << 13
            protocol, size = data[0], 8
            if fragment & 0x1FFF:
                break
        else:
            break
        data, length = rest(data, size), length - size
    return _ip_carries(protocol, source, destination, data, length, fragment)


def _ip_carries(protocol: int, source: bytes, destination: bytes, data: bytes, length: int, fragment: int) -> Found:
    """Read the payload of IP. C{fragment}: as in IPv4: 0x2000: more fragments; 0x1fff: fragment offset."""
    for _ in range(MAX_HEADERS):
        if protocol != _AH or fragment & 0x1FFF:
            break
        number(data, 0)
        protocol, size = data[0], 4 * (data[1] + 2)
        data, length = rest(data, size), length - size
    if fragment & 0x1FFF:
        return LaterFragment(protocol == _TCP or protocol in _TUNNELS or protocol in _NAMED_PROTOCOLS)
    if protocol == _TCP:
        return TCPData(source, destination, data, length, bool(fragment & 0x2000))
    tunnel = _TUNNELS.get(protocol)
    if tunnel is not None:
        return tunnel(data)
    if protocol == _UDP:
        return _udp(data)
    name = _NAMED_PROTOCOLS.get(protocol)
    return None if name is None else Unsupported(name)


def _gre(data: bytes) -> Found:
    flags, kind = number(data, 0), number(data, 2)
    version = flags & 7
    if version > 1:
        return Unsupported(f"GRE version {version}")
    if flags & 0x4000:
        return Unsupported("GRE with routing")
    size = 4 + 4 * (bool(flags & 0x8000) + bool(flags & 0x2000) + bool(flags & 0x1000))
    if version == 1 and flags & 0x0080:
        size += 4
    inner = rest(data, size)
    if kind == _ERSPAN_2 and not flags & 0x1000:  # ERSPAN I has no header
        return InnerPacket(ETHERNET, inner)
    if not inner or kind == 0:
        return None  # a keepalive or an acknowledgement
    return InnerPacket(kind, inner)


def _udp(data: bytes) -> Found:
    ports = {number(data, 0), number(data, 2)}
    body = rest(data, 8)
    if 4789 in ports:
        return _vxlan(body)
    if 6081 in ports:
        return _geneve(body)
    if 4790 in ports:
        return _vxlan_gpe(body)
    if 2152 in ports:
        return _gtp(body)
    if 4754 in ports:
        return _gre(body)
    if 6635 in ports:
        return InnerPacket(MPLS, body)
    for port in sorted(ports & _NAMED_PORTS.keys()):
        name, first, second = _NAMED_PORTS[port]
        if body[:1] in first and body[1:2] in second:
            return Unsupported(name)
    return _on_any_port(body)


def _on_any_port(body: bytes) -> Found:
    """Read VXLAN or Geneve on another port, if the fixed header bits match and IP in Ethernet follows."""
    found: Found = None
    if len(body) > 8 and not body[7]:
        if body[:4] == b"\x08\0\0\0":
            found = _vxlan(body)
        elif body[2:4] == b"\x65\x58" and not body[0] >> 6 and not body[1] & 0x3F:
            found = _geneve(body)
    return found if isinstance(found, InnerPacket) and _is_ip_frame(found) else None


def _vxlan(data: bytes) -> Found:
    inner = rest(data, 8)
    return InnerPacket(ETHERNET, inner) if data[0] & 8 else None


def _geneve(data: bytes) -> Found:
    inner = rest(data, 8)
    if data[0] >> 6:
        return Unsupported(f"Geneve version {data[0] >> 6}")
    inner = rest(inner, 4 * (data[0] & 0x3F))
    return InnerPacket(number(data, 2), inner) if inner else None  # an OAM packet has only options


def _is_ip_frame(found: InnerPacket) -> bool:
    """Whether the payload is an Ethernet frame with IP, so that the bytes before were a tunnel's header."""
    if found.kind != ETHERNET or len(found.data) < 34:
        return False
    at = 12
    while number(found.data, at) in VLAN_TAGS and at + 6 < len(found.data):
        at += 4
    kind, version = number(found.data, at), found.data[at + 2] >> 4 if at + 2 < len(found.data) else 0
    return (kind, version) in ((V4, 4), (V6, 6))


def _vxlan_gpe(data: bytes) -> Found:
    inner = rest(data, 8)
    kind = {1: V4, 2: V6, 3: ETHERNET, 5: MPLS}.get(data[3] if data[0] & 4 else 3)
    return Unsupported("VXLAN-GPE with an unknown protocol") if kind is None else InnerPacket(kind, inner)


def _gtp(data: bytes) -> Found:
    inner = rest(data, 8)
    if data[0] >> 5 != 1 or data[1] != 255:  # signalling
        return None
    if data[0] & 7:
        inner, more = rest(inner, 4), inner[3] if data[0] & 4 else 0
        while more:
            size = 4 * inner[0] if inner else 0
            if not 0 < size <= len(inner):
                raise MalformedHeader
            more, inner = inner[size - 1], inner[size:]
    return ip(inner)


_TUNNELS: dict[int, Callable[[bytes], Found]] = {
    4: lambda data: InnerPacket(V4, data),
    41: lambda data: InnerPacket(V6, data),
    47: _gre,
    97: lambda data: InnerPacket(ETHERNET, rest(data, 2)),
    137: lambda data: InnerPacket(MPLS, data),
    143: lambda data: InnerPacket(ETHERNET, data),
}
