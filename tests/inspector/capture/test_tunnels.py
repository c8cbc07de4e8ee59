"""Tests for sniproxy.inspector.capture.tunnels; test_layers has the encapsulations."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.headers import (
    ETHERNET,
    MPLS,
    PPP,
    V4,
    V6,
    Found,
    InnerPacket,
    LaterFragment,
    MalformedHeader,
    TCPData,
    Unsupported,
)
from sniproxy.inspector.capture.tunnels import MAX_HEADERS, ip, ipv4, ipv6
from tests.inspector.capture.building import BROKER6, CLIENT6, datagram, segment
from tests.inspector.capture.wrapping import ethernet, framed, gre, ip4, ip6, udp

FOUR = datagram(segment(b"hello", 9))
SIX = datagram(segment(b"hello", 9, source=CLIENT6, destination=BROKER6))


class IPTests(SynchronousTestCase):
    """IPv4 and IPv6 headers."""

    def test_lengths(self) -> None:
        """The header's length counts, not the frame's; zero means all bytes."""
        for read, packet, at in ((ipv4, FOUR, 2), (ipv6, SIX, 4)):
            found = read(packet + b"padding")
            self.assertTrue(isinstance(found, TCPData) and found.length == 25 and found.data.endswith(b"hello"))
            found = read(packet[:at] + b"\0\0" + packet[at + 2 :])
            self.assertTrue(isinstance(found, TCPData) and found.length == 25)

    def test_unreadable(self) -> None:
        """A truncated header, another version, or an impossible length is an error."""
        for packet in (b"", FOUR[:19], SIX[:39], b"\x44" + FOUR[1:], b"\x70" + FOUR[1:], FOUR[:2] + b"\0\5" + FOUR[4:]):
            self.assertRaises(MalformedHeader, self.whole, packet)

    def test_extension_headers(self) -> None:
        """They are skipped; their number is limited, and the last may be truncated."""
        options = bytes((0, 0, 1, 4, 0, 0, 0, 0)) * 3 + bytes((6, 0, 1, 4, 0, 0, 0, 0))
        packet = SIX[:4] + struct.pack("!HB", 25 + 32, 0) + SIX[7:40] + options + SIX[40:]
        found = ipv6(packet)
        self.assertTrue(isinstance(found, TCPData) and found.length == 25)
        self.assertRaises(MalformedHeader, ipv6, SIX[:6] + b"\0" + SIX[7:40] + bytes(8) * 3)
        self.assertIsNone(ipv6(SIX[:4] + b"\x10\0\0" + SIX[7:40] + bytes(4096)))

    def test_authentication_header(self) -> None:
        """It encrypts nothing and is skipped; a chain of more than 32 is left unread."""
        ah = struct.pack("!BBHII12s", 6, 4, 0, 1, 1, bytes(12))
        for found in (ipv4(ip4(51, ah + FOUR[20:])), ipv6(ip6(51, ah + SIX[40:]))):
            self.assertTrue(isinstance(found, TCPData) and (found.length, found.data[-5:]) == (25, b"hello"), found)
        self.assertRaises(MalformedHeader, ipv4, ip4(51, ah[:20]))
        chain = b"\x33\0" + bytes(6)
        self.assertEqual(Unsupported("IPsec AH"), ipv4(ip4(51, chain * MAX_HEADERS)))

    def test_fragments(self) -> None:
        """The first fragment has its part of the segment; a later one tells whether it may belong to TCP."""
        first = ipv6(ip6(44, b"\x06\0\0\x01" + bytes(4) + SIX[40:]))
        self.assertTrue(isinstance(first, TCPData) and (first.length, first.fragment) == (25, True))
        whole = ipv6(ip6(44, b"\x06\0\0\0" + bytes(4) + SIX[40:]))  # an atomic fragment (RFC 6946)
        self.assertTrue(isinstance(whole, TCPData) and (whole.length, whole.fragment) == (25, False))
        for protocol, tunnel in ((6, True), (47, True), (50, True), (17, False), (58, False)):
            later = struct.pack("!BBH", protocol, 0, 8) + bytes(4) + bytes(20)
            self.assertEqual(LaterFragment(tunnel), ipv6(ip6(44, later)), protocol)
            self.assertEqual(LaterFragment(tunnel), ipv4(ip4(protocol, bytes(20), fragment=1)), protocol)

    def whole(self, packet: bytes) -> object:
        """A packet of either version is read."""
        found = ip(packet)
        return ipv4(packet) if packet[0] >> 4 == 4 else ipv6(packet) if packet[0] >> 4 == 6 else found


class TunnelTests(SynchronousTestCase):
    """What each tunnel in IP carries."""

    def test_ip_protocols(self) -> None:
        """IP, EtherIP, MPLS and Ethernet in IP have their own protocol numbers; others have a name or are skipped."""
        frame = framed(FOUR)
        for protocol, payload, found in (
            (4, FOUR, InnerPacket(V4, FOUR)),
            (41, SIX, InnerPacket(V6, SIX)),
            (97, b"\x30\0" + frame, InnerPacket(ETHERNET, frame)),
            (137, b"label", InnerPacket(MPLS, b"label")),
            (143, frame, InnerPacket(ETHERNET, frame)),
            (50, bytes(60), Unsupported("IPsec ESP")),
            (115, bytes(60), Unsupported("L2TPv3")),
            (1, bytes(8), None),
        ):
            self.assertEqual(found, ipv4(ip4(protocol, payload)), protocol)
            self.assertEqual(found, ipv6(ip6(protocol, payload)), protocol)
        self.assertRaises(MalformedHeader, ipv4, ip4(97, b"\x30"))

    def test_gre(self) -> None:
        """GRE: each flag adds a field before the payload, and version 1 an acknowledgement."""

        def found(kind: int, payload: bytes, flags: int = 0, more: int = 0) -> Found:
            return ipv4(gre(kind, payload, flags, bytes(more))[14:])

        for flags, more in ((0, 0), (0x8000, 4), (0x2000, 4), (0x1000, 4), (0xB000, 12)):
            self.assertEqual(InnerPacket(V4, FOUR), found(V4, FOUR, flags, more), hex(flags))
        self.assertEqual(InnerPacket(PPP, b"ppp"), found(PPP, b"ppp", 0x3081, 12))
        self.assertEqual(InnerPacket(PPP, b"ppp"), found(PPP, b"ppp", 0x3001, 8))
        self.assertEqual(InnerPacket(ETHERNET, b"mirrored"), found(0x88BE, b"mirrored"))
        self.assertEqual(InnerPacket(0x88BE, b"mirrored"), found(0x88BE, b"mirrored", 0x1000, 4))
        self.assertIsNone(found(0, b"keepalive"))
        self.assertIsNone(found(PPP, b"", 0x2081, 8))  # an acknowledgement of PPTP
        self.assertEqual(Unsupported("GRE version 2"), found(V4, FOUR, 2))
        self.assertEqual(Unsupported("GRE with routing"), found(V4, FOUR, 0x4000))
        self.assertRaises(MalformedHeader, found, V4, b"", 0xB000, 11)

    def test_udp_ports(self) -> None:
        """The port tells the tunnel in UDP, whichever end has it."""
        frame, vxlan = framed(FOUR), b"\x08\0\0\0\0\0\5\0"
        for port, payload, found in (
            (4789, vxlan + frame, InnerPacket(ETHERNET, frame)),
            (6081, b"\0\0\x65\x58\0\0\5\0" + frame, InnerPacket(ETHERNET, frame)),
            (4790, b"\x0c\0\0\1\0\0\5\0" + FOUR, InnerPacket(V4, FOUR)),
            (2152, b"\x30\xff\0\0\0\0\0\1" + FOUR, InnerPacket(V4, FOUR)),
            (4754, b"\0\0\x86\xdd" + SIX, InnerPacket(V6, SIX)),
            (6635, b"\0\1\1\x40" + FOUR, InnerPacket(MPLS, b"\0\1\1\x40" + FOUR)),
            (1701, bytes(60), Unsupported("L2TP")),
            (51820, b"\1\0\0\0", Unsupported("WireGuard")),
            (51820, b"\x77\0\0\0", None),  # the bytes are not WireGuard's
            (37008, b"\1\2", None),
            (53, bytes(12), None),
        ):
            datagram = udp(port, payload)[14:]
            self.assertEqual(found, ipv4(datagram), port)
            swapped = datagram[:20] + datagram[22:24] + datagram[20:22] + datagram[24:]
            self.assertEqual(found, ipv4(swapped), port)
        self.assertRaises(MalformedHeader, ipv4, udp(4789, vxlan[:7])[14:])

    def test_vxlan(self) -> None:
        """A header without a network identifier, and an unknown protocol of VXLAN-GPE."""
        self.assertIsNone(self.over(4789, bytes(8) + framed(FOUR)))
        frame = framed(FOUR)
        self.assertEqual(InnerPacket(ETHERNET, frame), self.over(4790, b"\x08\0\0\1\0\0\5\0" + frame))
        self.assertEqual(
            Unsupported("VXLAN-GPE with an unknown protocol"), self.over(4790, b"\x0c\0\0\x63\0\0\5\0" + frame)
        )

    def test_geneve(self) -> None:
        """Options are skipped; another version, and a packet with options alone."""
        head = b"\x65\x58\0\0\5\0"
        self.assertEqual(InnerPacket(ETHERNET, b"frame"), self.over(6081, b"\2\0" + head + bytes(8) + b"frame"))
        self.assertIsNone(self.over(6081, b"\2\0" + head + bytes(8)))
        self.assertRaises(MalformedHeader, self.over, 6081, b"\2\0" + head + bytes(7))
        self.assertEqual(Unsupported("Geneve version 1"), self.over(6081, b"\x40\0" + head))

    def test_any_port(self) -> None:
        """VXLAN and Geneve are recognized on another port if IP in Ethernet follows, also behind VLAN tags."""
        vxlan, geneve = b"\x08\0\0\0\0\0\5\0", b"\0\0\x65\x58\0\0\5\0"
        tagged = ethernet(0x88A8, b"\0\7\x81\0\0\7\x08\0" + FOUR)
        for head in (vxlan, geneve):
            for frame in (framed(FOUR), framed(SIX), tagged):
                self.assertEqual(InnerPacket(ETHERNET, frame), self.over(7777, head + frame))
            for payload in (
                framed(FOUR)[:33],
                ethernet(0x0806, bytes(28)),
                ethernet(V4, SIX),
                ethernet(0x8100, b"\0\7\x81\0" * 5),
                b"",
            ):
                self.assertIsNone(self.over(7777, head + payload), payload)
        self.assertIsNone(self.over(7777, vxlan[:7] + b"\1" + framed(FOUR)))
        self.assertIsNone(self.over(7777, b"\x40" + geneve[1:] + framed(FOUR)))
        self.assertIsNone(self.over(7777, geneve[:2] + b"\x08\0\0\0\5\0" + framed(FOUR)))

    def test_gtp(self) -> None:
        """Optional fields and extension headers are skipped; signalling is no carrier."""
        fixed = b"\xff\0\0\0\0\0\1"
        self.assertEqual(InnerPacket(V6, SIX), self.over(2152, b"\x30" + fixed + SIX))
        self.assertEqual(InnerPacket(V4, FOUR), self.over(2152, b"\x32" + fixed + b"\0\7\0\x85" + FOUR))
        extensions = b"\0\0\0\x85" + b"\1\0\0\xc0" + b"\2" + bytes(7)
        self.assertEqual(InnerPacket(V4, FOUR), self.over(2152, b"\x34" + fixed + extensions + FOUR))
        self.assertIsNone(self.over(2152, b"\x30\1" + fixed[1:]))  # an echo request
        self.assertIsNone(self.over(2152, b"\x10" + fixed + FOUR))  # GTP', which charges
        for broken in (b"\0\0\0\x85", b"\0\0\0\x85\0\0\0\0", b"\0\0\0\x85\2\0\0\0"):
            self.assertRaises(MalformedHeader, self.over, 2152, b"\x34" + fixed + broken)

    def over(self, port: int, payload: bytes) -> Found:
        """What is found in a UDP datagram to this port."""
        return ipv4(udp(port, payload)[14:])
