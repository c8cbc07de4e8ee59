"""Tests for sniproxy.inspector.capture.packets."""

from __future__ import annotations

import struct
from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.files import CaptureError
from sniproxy.inspector.capture.packets import ACK, FIN, MAX_KINDS, SYN, PacketReader, Segment
from tests.inspector.capture.building import (
    BROKER6,
    CLIENT6,
    ETHERNET,
    LINKS,
    RAW,
    Captured,
    captured,
    datagram,
    enhanced,
    frame,
    interface,
    pcap,
    pcapng,
    section,
    segment,
)

FOUR = [
    segment(b"", 0xFFFFFFFF, flags=SYN, time=1.0),
    segment(b"hello", 0, flags=ACK | FIN, acknowledged=77, time=2.5),
]
SIX = [segment(b"six", 5, source=CLIENT6, destination=BROKER6, time=3.0)]


def read(*packets: bytes, link: int = ETHERNET) -> tuple[list[Segment], PacketReader]:
    """The segments in these packets, and the reader."""
    reader = PacketReader(BytesIO(pcap([Captured(0.0, packet) for packet in packets], link)))
    return list(reader), reader


class PacketReaderTests(SynchronousTestCase):
    """PacketReader: finds TCP segments."""

    def test_links(self) -> None:
        """All link types carry IPv4 and IPv6, in pcap and in pcapng."""
        for link in LINKS:
            for file in (pcap, pcapng):
                reader = PacketReader(BytesIO(file(captured(FOUR + SIX, link), link)))
                self.assertEqual(list(reader), FOUR + SIX, link)
                self.assertEqual((reader.packets, reader.malformed, reader.cut_short), (3, 0, False))

    def test_ethernet(self) -> None:
        """One or two VLAN tags and the padding of short frames are removed."""
        ip = datagram(FOUR[1])
        one = bytes(12) + b"\x81\x00\x00\x07\x08\x00" + ip
        two = bytes(12) + b"\x88\xa8\x00\x07\x81\x00\x00\x08\x08\x00" + ip
        padded = frame(ip) + bytes(9)
        segments, _ = read(one, two, padded)
        self.assertEqual([(found.data, found.length) for found in segments], [(b"hello", 5)] * 3)

    def test_cut(self) -> None:
        """A truncated packet keeps its length on the wire."""
        for link in LINKS:
            for ends in ({}, {"source": CLIENT6, "destination": BROKER6}):
                cut = segment(b"hello", 9, cut=1000, **ends)  # type: ignore[arg-type]
                segments, _ = read(frame(datagram(cut), link), link=link)
                self.assertEqual(segments, [cut])

    def test_offloaded(self) -> None:
        """A packet with length zero (segmentation offload) extends to its end."""
        for whole, at in ((datagram(FOUR[1]), 2), (datagram(SIX[0]), 4)):
            packet = bytearray(whole)
            packet[at : at + 2] = b"\0\0"
            segments, _ = read(bytes(packet), link=RAW)
            self.assertEqual(segments[0].length, len(segments[0].data))
            self.assertIn(segments[0].data, (b"hello", b"six"))

    def test_extension_headers(self) -> None:
        """IPv6 extension headers are skipped and not counted as data."""
        plain = datagram(SIX[0])
        options = bytes((6, 0, 1, 4, 0, 0, 0, 0))
        packet = plain[:4] + struct.pack("!HB", len(plain) - 40 + 8, 0) + plain[7:40] + options + plain[40:]
        segments, _ = read(packet, link=RAW)
        self.assertEqual([(found.data, found.length) for found in segments], [(b"six", 3)])

    def test_fragments(self) -> None:
        """Fragments are counted; the first one gives its part of the segment."""
        first, later = bytearray(datagram(FOUR[1])), bytearray(datagram(FOUR[1]))
        first[6:8] = b"\x20\x00"
        later[6:8] = b"\x00\x05"
        six = datagram(SIX[0])
        later6 = six[:4] + struct.pack("!HB", len(six) - 40 + 8, 44) + six[7:40] + b"\x06\0\0\x08\0\0\0\x01" + six[40:]
        segments, reader = read(bytes(first), bytes(later), later6, link=RAW)
        self.assertEqual([found.data for found in segments], [b"hello"])
        self.assertEqual((reader.packets, reader.fragments, reader.malformed), (3, 3, 0))

    def test_others(self) -> None:
        """Packets without TCP are skipped; malformed TCP is counted."""
        arp = bytes(12) + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" + bytes(20)
        udp = bytearray(datagram(FOUR[1]))
        udp[9] = 17
        short = datagram(FOUR[1])[:30]
        segments, reader = read(arp, frame(bytes(udp)), frame(short), b"")
        self.assertEqual((segments, reader.packets, reader.malformed), ([], 4, 2))

    def test_unknown_link(self) -> None:
        """An unsupported link type is an error with the cure, at the first packet of a file with one link."""
        reader = PacketReader(BytesIO(pcap([Captured(0.0, b"beacon")] * 2, 105)))
        error = self.assertRaises(CaptureError, list, reader)
        self.assertEqual(1, reader.packets)
        self.assertIn("link type 105 is not supported", str(error))

    def test_unknown_links(self) -> None:
        """In a file with several links, an unsupported one is counted, and an error if no other has packets."""
        packets = [Captured(0.0, b"beacon"), Captured(0.0, frame(datagram(FOUR[1])), 1)]
        links = section() + interface(105) + interface(ETHERNET)
        reader = PacketReader(BytesIO(links + b"".join(enhanced(packet) for packet in packets)))
        self.assertEqual([b"hello"], [found.data for found in reader])
        self.assertEqual({"link type 105": 1}, reader.unsupported)
        reader = PacketReader(BytesIO(links + enhanced(packets[0])))
        error = self.assertRaises(CaptureError, list, reader)
        self.assertIn("link type 105 is not supported", str(error))

    def test_many_kinds(self) -> None:
        """Unsupported kinds are counted by name up to a limit, further ones together."""
        packets = [bytes(12) + struct.pack("!H", 0x1000 + at) for at in range(MAX_KINDS + 2)]
        _, reader = read(*packets, packets[0], packets[-1])
        self.assertEqual((2, 3), (reader.unsupported["EtherType 0x1000"], reader.unsupported["others"]))
        self.assertEqual(MAX_KINDS + 1, len(reader.unsupported))

    @given(st.sampled_from(LINKS), st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=6), st.data())
    def test_hostile(self, link: int, changes: list[tuple[int, int]], data: st.DataObject) -> None:
        """Any bytes give only segments with consistent lengths."""
        packet = bytearray(frame(datagram(data.draw(st.sampled_from(FOUR + SIX))), link))
        for at, value in changes:
            packet[at % len(packet)] = value
        end = data.draw(st.integers(0, len(packet)))
        segments, reader = read(bytes(packet[:end]), link=link)
        self.assertEqual(reader.packets, 1)
        for found in segments:
            self.assertGreaterEqual(found.length, len(found.data))
