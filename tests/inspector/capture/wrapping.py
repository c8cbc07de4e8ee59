"""Encapsulations of IP packets for tests."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.inspector.capture.building import COOKED, COOKED2, ETHERNET, RAW

MACS = bytes.fromhex("020000000001020000000002")


def ethernet(kind: int, payload: bytes) -> bytes:
    """An Ethernet frame."""
    return MACS + struct.pack("!H", kind) + payload


def framed(ip: bytes) -> bytes:
    """An IP packet in an Ethernet frame."""
    return ethernet(0x86DD if ip[0] >> 4 == 6 else 0x0800, ip)


def ip4(protocol: int, payload: bytes, *, fragment: int = 0) -> bytes:
    """An IPv4 packet; ``fragment``: the field with flags and offset."""
    ends = bytes((10, 0, 0, 1, 10, 0, 0, 2))
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0) + ends + payload


def ip6(protocol: int, payload: bytes) -> bytes:
    """An IPv6 packet."""
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + payload


def udp(port: int, payload: bytes) -> bytes:
    """A UDP datagram in an Ethernet frame."""
    return framed(ip4(17, struct.pack("!HHHH", 50_000, port, 8 + len(payload), 0) + payload))


def gre(kind: int, payload: bytes, flags: int = 0, more: bytes = b"") -> bytes:
    """GRE in an Ethernet frame; ``more``: the optional fields."""
    return framed(ip4(47, struct.pack("!HH", flags, kind) + more + payload))


def _kind(ip: bytes) -> int:
    return 0x86DD if ip[0] >> 4 == 6 else 0x0800


def _in_ip(ip: bytes) -> int:
    return 41 if ip[0] >> 4 == 6 else 4


Wrapping = tuple[int, Callable[[bytes], bytes]]
"""The link type of the capture, and a function that wraps a packet."""

WRAPPINGS: dict[str, Wrapping] = {
    "802.1Q": (ETHERNET, lambda ip: ethernet(0x8100, struct.pack("!HH", 7, _kind(ip)) + ip)),
    "QinQ": (ETHERNET, lambda ip: ethernet(0x88A8, struct.pack("!HHHH", 7, 0x8100, 8, _kind(ip)) + ip)),
    "old QinQ": (ETHERNET, lambda ip: ethernet(0x9100, struct.pack("!HHHH", 7, 0x8100, 8, _kind(ip)) + ip)),
    "cooked, VLAN": (COOKED, lambda ip: struct.pack("!HHH8sHHH", 0, 1, 6, bytes(8), 0x8100, 5, _kind(ip)) + ip),
    "cooked, QinQ": (COOKED, lambda ip: struct.pack("!HHH8s5H", 0, 1, 6, b"", 0x88A8, 5, 0x8100, 6, _kind(ip)) + ip),
    "cooked v2, VLAN": (
        COOKED2,
        lambda ip: struct.pack("!HHiHBB8sHH", 0x8100, 0, 1, 1, 0, 6, bytes(8), 5, _kind(ip)) + ip,
    ),
    "LLC/SNAP": (ETHERNET, lambda ip: ethernet(8 + len(ip), b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", _kind(ip)) + ip)),
    "MPLS": (ETHERNET, lambda ip: ethernet(0x8847, b"\0\1\0\x40\0\2\1\x40" + ip)),
    "MPLS pseudowire": (ETHERNET, lambda ip: ethernet(0x8847, b"\0\1\1\x40" + bytes(4) + framed(ip))),
    "PPPoE": (
        ETHERNET,
        lambda ip: ethernet(
            0x8864, b"\x11\0\0\1" + struct.pack("!HH", len(ip) + 2, 0x21 if ip[0] >> 4 == 4 else 0x57) + ip
        ),
    ),
    "IP in IPv4": (ETHERNET, lambda ip: framed(ip4(_in_ip(ip), ip))),
    "IP in IPv6": (ETHERNET, lambda ip: framed(ip6(_in_ip(ip), ip))),
    "IP in IP, raw": (RAW, lambda ip: ip4(_in_ip(ip), ip)),
    "GRE": (ETHERNET, lambda ip: gre(_kind(ip), ip)),
    "GRE, key": (ETHERNET, lambda ip: gre(_kind(ip), ip, 0x2000, bytes(4))),
    "GRE, sequence": (ETHERNET, lambda ip: gre(_kind(ip), ip, 0x1000, bytes(4))),
    "GRE, checksum, key, sequence": (ETHERNET, lambda ip: gre(_kind(ip), ip, 0xB000, bytes(12))),
    "GRE in IPv6": (ETHERNET, lambda ip: framed(ip6(47, struct.pack("!HH", 0, _kind(ip)) + ip))),
    "NVGRE": (ETHERNET, lambda ip: gre(0x6558, framed(ip), 0x2000, b"\0\0\7\0")),
    "PPTP": (
        ETHERNET,
        lambda ip: gre(0x880B, struct.pack("!H", 0x21 if ip[0] >> 4 == 4 else 0x57) + ip, 0x3081, bytes(12)),
    ),
    "ERSPAN I": (ETHERNET, lambda ip: gre(0x88BE, framed(ip))),
    "ERSPAN II": (ETHERNET, lambda ip: gre(0x88BE, b"\x10\1\0\1" + bytes(4) + framed(ip), 0x1000, bytes(4))),
    "ERSPAN III": (ETHERNET, lambda ip: gre(0x22EB, b"\x20\1\0\1" + bytes(8) + framed(ip), 0x1000, bytes(4))),
    "ERSPAN III, subheader": (
        ETHERNET,
        lambda ip: gre(0x22EB, b"\x20\1\0\1" + bytes(7) + b"\1" + bytes(8) + framed(ip), 0x1000, bytes(4)),
    ),
    "EtherIP": (ETHERNET, lambda ip: framed(ip4(97, b"\x30\0" + framed(ip)))),
    "VXLAN": (ETHERNET, lambda ip: udp(4789, b"\x08\0\0\0\0\0\5\0" + framed(ip))),
    "VXLAN, group policy": (ETHERNET, lambda ip: udp(4789, b"\x88\0\0\x10\0\0\5\0" + framed(ip))),
    "VXLAN, Linux's old port": (ETHERNET, lambda ip: udp(8472, b"\x08\0\0\0\0\0\5\0" + framed(ip))),
    "VXLAN-GPE": (
        ETHERNET,
        lambda ip: udp(4790, b"\x0c\0\0" + (b"\1" if ip[0] >> 4 == 4 else b"\2") + b"\0\0\5\0" + ip),
    ),
    "Geneve": (ETHERNET, lambda ip: udp(6081, b"\0\0\x65\x58\0\0\5\0" + framed(ip))),
    "Geneve, options": (ETHERNET, lambda ip: udp(6081, b"\2\0\x65\x58\0\0\5\0" + bytes(8) + framed(ip))),
    "Geneve, no Ethernet": (ETHERNET, lambda ip: udp(6081, b"\0\0" + struct.pack("!H", _kind(ip)) + bytes(4) + ip)),
    "Geneve, another port": (ETHERNET, lambda ip: udp(7777, b"\0\0\x65\x58\0\0\5\0" + framed(ip))),
    "GTP-U": (ETHERNET, lambda ip: udp(2152, b"\x34\xff\0\0\0\0\0\1" + b"\0\0\0\x85\1\0\0\0" + ip)),
    "GRE in UDP": (ETHERNET, lambda ip: udp(4754, struct.pack("!HH", 0, _kind(ip)) + ip)),
    "MPLS in UDP": (ETHERNET, lambda ip: udp(6635, b"\0\1\1\x40" + ip)),
    "VXLAN of a VLAN of GRE": (
        ETHERNET,
        lambda ip: udp(4789, b"\x08\0\0\0\0\0\5\0" + ethernet(0x8100, b"\0\7\x08\0" + gre(_kind(ip), ip)[14:])),
    ),
}
"""Encapsulations by name."""

UNREAD: dict[str, bytes] = {
    "IPsec ESP": framed(ip4(50, bytes(60))),
    "WireGuard": udp(51820, b"\4\0\0\0" + bytes(60)),
    "L2TP": udp(1701, bytes(60)),
    "MACsec": ethernet(0x88E5, bytes(60)),
    "EtherType 0x1234": ethernet(0x1234, bytes(60)),
    "GRE version 2": gre(0x0800, bytes(40), 2),
}
"""Packets with unsupported encapsulation, by its name."""
