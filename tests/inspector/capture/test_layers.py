"""Tests for sniproxy.inspector.capture.layers, with tunnels and headers."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.headers import LaterFragment, MalformedHeader, TCPData, Unsupported
from sniproxy.inspector.capture.layers import MAX_LAYERS, tcp_in
from tests.inspector.capture.building import BROKER6, CLIENT6, ETHERNET, LINKS, RAW, datagram, segment
from tests.inspector.capture.wrapping import UNREAD, WRAPPINGS, Wrapping, ethernet, framed, gre, ip4, udp

FOUR = datagram(segment(b"hello", 9))
SIX = datagram(segment(b"hello", 9, source=CLIENT6, destination=BROKER6))


class LayerTests(SynchronousTestCase):
    """tcp_in: headers before TCP."""

    def test_wrappings(self) -> None:
        """The segment is found in each encapsulation, with IPv4 and IPv6."""
        for name, (link, wrap) in WRAPPINGS.items():
            for packet in (FOUR, SIX):
                if name == "VXLAN of a VLAN of GRE" and packet is SIX:
                    continue
                found = tcp_in(link, wrap(packet))
                self.assertIsInstance(found, TCPData, (name, found))
                assert isinstance(found, TCPData)
                self.assertEqual((found.data[-5:], found.length, found.fragment), (b"hello", 25, False), name)

    def test_nested(self) -> None:
        """Headers are removed up to a limit; more are unsupported."""
        packet = FOUR
        for _ in range(MAX_LAYERS - 2):
            packet = ip4(4, packet)
        self.assertIsInstance(tcp_in(RAW, packet), TCPData)
        for _ in range(5_000 // 20):
            packet = ip4(4, packet)
        self.assertEqual(tcp_in(RAW, packet), Unsupported("more than 32 nested headers"))
        self.assertIsInstance(tcp_in(ETHERNET, ethernet(0x8100, b"\0\1\x81\0" * 100_000)), Unsupported)

    def test_unread(self) -> None:
        """Unsupported layers that may carry TCP have a name."""
        for name, packet in UNREAD.items():
            self.assertEqual(tcp_in(ETHERNET, packet), Unsupported(name))
        self.assertEqual(tcp_in(105, b"beacon"), Unsupported("link type 105", link=True))

    def test_no_carriers(self) -> None:
        """Protocols that never carry TCP are skipped: ARP, DNS, spanning tree, probes of a tunnel."""
        packets = (
            ethernet(0x0806, bytes(28)),
            ethernet(38, b"\x42\x42\x03" + bytes(35)),
            udp(53, bytes(12)),
            udp(8472, bytes(60)),
            udp(51820, b"\x77\0\1\0" + bytes(60)),
            gre(0, b""),
            framed(ip4(1, bytes(8))),
        )
        for packet in packets:
            self.assertIsNone(tcp_in(ETHERNET, packet), packet)

    def test_fragments(self) -> None:
        """A later fragment tells whether it may have TCP or a tunnel; the first gives its part."""
        self.assertEqual(tcp_in(RAW, ip4(6, bytes(20), fragment=5)), LaterFragment(True))
        self.assertEqual(tcp_in(RAW, ip4(47, bytes(20), fragment=5)), LaterFragment(True))
        self.assertEqual(tcp_in(RAW, ip4(17, bytes(20), fragment=5)), LaterFragment(False))
        first = tcp_in(RAW, FOUR[:6] + b"\x20\0" + FOUR[8:])
        self.assertTrue(isinstance(first, TCPData) and first.fragment)

    def test_authentication_header(self) -> None:
        """IPsec's AH encrypts nothing and is skipped."""
        ah = struct.pack("!BBHII12s", 6, 4, 0, 1, 1, bytes(12))
        found = tcp_in(RAW, ip4(51, ah + FOUR[20:]))
        self.assertTrue(isinstance(found, TCPData) and found.data == FOUR[20:])

    @given(
        st.sampled_from([*WRAPPINGS.values()]),
        st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6),
        st.integers(0, 200),
        st.booleans(),
    )
    def test_hostile(self, wrapping: Wrapping, changes: list[tuple[int, int]], end: int, six: bool) -> None:
        """Any bytes give a segment, a name, nothing, or `MalformedHeader`."""
        link, wrap = wrapping
        packet = bytearray(wrap(SIX if six else FOUR))
        for at, value in changes:
            packet[at % len(packet)] = value
        self.answers(link, bytes(packet[:end]))

    @given(st.sampled_from([*LINKS, 9, 50, 51, 105]), st.binary(max_size=120))
    def test_any_bytes(self, link: int, packet: bytes) -> None:
        """The same for random bytes."""
        self.answers(link, packet)

    def answers(self, link: int, packet: bytes) -> None:
        """Check the result for these bytes."""
        try:
            found = tcp_in(link, packet)
        except MalformedHeader:
            return
        self.assertTrue(found is None or isinstance(found, TCPData | Unsupported | LaterFragment))
