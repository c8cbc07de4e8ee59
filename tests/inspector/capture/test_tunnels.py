"""Tests for sniproxy.inspector.capture.tunnels; test_layers has the encapsulations."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.headers import MalformedHeader, TCPData
from sniproxy.inspector.capture.tunnels import ip, ipv4, ipv6
from tests.inspector.capture.building import BROKER6, CLIENT6, datagram, segment

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

    def whole(self, packet: bytes) -> object:
        """A packet of either version is read."""
        found = ip(packet)
        return ipv4(packet) if packet[0] >> 4 == 4 else ipv6(packet) if packet[0] >> 4 == 6 else found
