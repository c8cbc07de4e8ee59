"""Finds the TCP segment in a captured packet: removes link layers, tags, tunnels and IP headers. Pure.

Supported, nested up to `MAX_LAYERS` deep: Ethernet (IEEE 802.3, with LLC/SNAP), VLAN tags (802.1Q, 802.1ad and the
older numbers), 802.1ah, MPLS (RFC 3032), PPPoE and PPP, Linux cooked v1 and v2, BSD loopback, IPv4, IPv6 with its
extension headers, AH (RFC 4302), IP in IP (RFC 2003, RFC 4213, RFC 2473), GRE (RFC 2784, RFC 2890; version 1: RFC
2637), NVGRE (RFC 7637), ERSPAN I, II and III (draft-foschiano-erspan), WCCP, EtherIP (RFC 3378), VXLAN (RFC 7348) and
VXLAN-GPE, Geneve (RFC 8926), GTP-U (3GPP TS 29.281), GRE and MPLS in UDP (RFC 8086, RFC 7510).

VXLAN and Geneve are recognized on every UDP port, because clouds and overlay networks choose their own.
"""

from __future__ import annotations

from collections.abc import Callable

from sniproxy.inspector.capture.headers import (
    ETHERNET,
    LLC,
    MPLS,
    PPP,
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
from sniproxy.inspector.capture.tunnels import ip, ipv4, ipv6

MAX_LAYERS = 32
"""Headers removed from one packet. A tag, a label and an IP header count as one each."""

_MPLS_UPSTREAM = 0x8848
_PPPOE, _I_TAG, _ERSPAN_2, _ERSPAN_3, _WCCP = 0x8864, 0x88E7, 0x88BE, 0x22EB, 0x883E

_NAMED_TYPES = {0x88E5: "MACsec", 0x894F: "NSH", 0x22F3: "TRILL", 0x8903: "FabricPath"}
# ARP, RARP, Wake-on-LAN, AppleTalk, IPX, loopback tests, flow control, slow protocols, PPPoE discovery, EAPOL, LLDP,
# PTP, CFM, FCoE and the like. They never carry TCP.
_NO_CARRIERS = {0x0806, 0x8035, 0x0842, 0x809B, 0x80F3, 0x8137, 0x9000, 0x8808, 0x8809, 0x8863, 0x888E, 0x88CC}
_NO_CARRIERS |= {0x88F7, 0x8902, 0x8906, 0x8914, 0x892F, 0x893A, 0x8899, 0x88C7, 0x2000, 0x2004, 0x6002, 0x0200}


def tcp_in(link: int, data: bytes) -> TCPData | Unsupported | LaterFragment | None:
    """Find the TCP segment in a packet of this LINKTYPE. None: the packet carries something else, such as ARP or DNS.

    @raise MalformedHeader: a header is truncated or has impossible values.
    """
    begin = _LINKS.get(link)
    if begin is None:
        return Unsupported(f"link type {link}", link=True)
    found: Found = begin(data)
    for _ in range(MAX_LAYERS):
        if not isinstance(found, InnerPacket):
            return found
        found = _carried(found.kind, found.data)
    return found if not isinstance(found, InnerPacket) else Unsupported(f"more than {MAX_LAYERS} nested headers")


def _carried(kind: int, data: bytes) -> Found:
    """Read one layer, by its EtherType."""
    if kind == V4:
        return ipv4(data)
    if kind == V6:
        return ipv6(data)
    if kind in VLAN_TAGS:
        return InnerPacket(number(data, 2), data[4:])
    if kind == ETHERNET:
        return _ethernet(data)
    if kind in (MPLS, _MPLS_UPSTREAM):
        return _mpls(data)
    if kind in (_ERSPAN_2, _ERSPAN_3):
        return _erspan(kind, data)
    if kind == _PPPOE:
        return _ppp(rest(data, 6))
    if kind == PPP:
        return _ppp(data)
    if kind == _I_TAG:
        return _ethernet(rest(data, 4))
    if kind == _WCCP:
        return ip(data) if data[:1] and data[0] >> 4 == 4 else ip(rest(data, 4))
    if kind == LLC or kind <= 1500:
        return _llc(data)
    if kind in _NO_CARRIERS:
        return None
    return Unsupported(_NAMED_TYPES.get(kind, f"EtherType 0x{kind:04x}"))


def _ethernet(data: bytes) -> Found:
    kind = number(data, 12)
    return InnerPacket(LLC, data[14 : 14 + kind]) if kind <= 1500 else InnerPacket(kind, data[14:])


def _llc(data: bytes) -> Found:
    """IEEE 802.2. Only SNAP has an EtherType; other frames belong to bridges and routers."""
    return InnerPacket(number(data, 6), data[8:]) if data[:3] == b"\xaa\xaa\x03" else None


def _mpls(data: bytes) -> Found:
    inner = rest(data, 4)
    if not data[2] & 1:  # not the bottom of the stack
        return InnerPacket(MPLS, inner)
    version = inner[0] >> 4 if inner else -1
    if version in (4, 6):
        return ip(inner)
    if version == 0:  # the control word of an Ethernet pseudowire (RFC 4448)
        return _ethernet(rest(inner, 4))
    if version < 0:
        raise MalformedHeader
    return Unsupported("MPLS without IP or an Ethernet pseudowire")


def _ppp(data: bytes) -> Found:
    if data[:2] == b"\xff\x03":
        data = data[2:]
    kind, data = (data[0], data[1:]) if data[:1] and data[0] & 1 else (number(data, 0), data[2:])
    if kind in (0x21, 0x57):
        return ip(data)
    if kind in (0x281, 0x283):
        return InnerPacket(MPLS, data)
    if kind in (0xFB, 0xFD, 0x53, 0x3D, 0x2D, 0x2F):
        return Unsupported("compressed, encrypted or multilink PPP")
    return None


def _erspan(kind: int, data: bytes) -> Found:
    version = data[0] >> 4 if data else -1
    if kind == _ERSPAN_2:
        if version != 1:
            raise MalformedHeader
        return _ethernet(rest(data, 8))
    optional = 8 if number(data, 10) & 1 else 0
    inner = rest(data, 12 + optional)
    return ip(inner) if data[10] >> 2 & 31 == 2 else _ethernet(inner)


def _loopback(data: bytes) -> Found:
    rest(data, 4)
    family = max(data[:4])  # in the byte order of the capturing machine
    if family not in (2, 10, 24, 28, 30):
        return None
    return ip(data[4:])


_LINKS: dict[int, Callable[[bytes], Found]] = {
    0: _loopback,
    1: _ethernet,
    9: _ppp,
    12: ip,
    14: ip,
    50: _ppp,
    51: lambda data: _ppp(rest(data, 6)),
    101: ip,
    108: _loopback,
    113: lambda data: InnerPacket(number(data, 14), data[16:]),
    228: ip,
    229: ip,
    276: lambda data: InnerPacket(number(data, 0), rest(data, 20)),
}
