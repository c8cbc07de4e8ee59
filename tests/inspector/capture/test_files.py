"""Tests for sniproxy.inspector.capture.files."""

from __future__ import annotations

import os
import struct
from io import BytesIO
from threading import Thread
from typing import BinaryIO

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.files import MAX_PACKET_BYTES, CaptureError, CaptureReader, Record
from tests.inspector.capture.building import (
    COOKED2,
    ETHERNET,
    RAW,
    Captured,
    block,
    enhanced,
    interface,
    option,
    pcap,
    pcapng,
    section,
)

PACKETS = [
    Captured(1_700_000_000.25, b"one"),
    Captured(1_700_000_000.5, b""),
    Captured(1_700_000_001.75, b"three" * 99),
]


def read(data: bytes) -> list[Record]:
    """All records of a file."""
    return list(CaptureReader(BytesIO(data)))


def records(packets: list[Captured], link: int = ETHERNET) -> list[Record]:
    """The expected records of these packets."""
    return [Record(packet.time, link, packet.data) for packet in packets]


class Trickle(BytesIO):
    """An unbuffered pipe that returns one byte per read."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 1))


class ReaderTests(SynchronousTestCase):
    """CaptureReader: pcap and pcapng files."""

    def why(self, data: bytes) -> str:
        return str(self.assertRaises(CaptureError, read, data))

    def test_pcap(self) -> None:
        """Both byte orders, microseconds and nanoseconds; checksum flags in the link type are ignored."""
        for order in "<>":
            for nano in (False, True):
                self.assertEqual(read(pcap(PACKETS, order=order, nano=nano)), records(PACKETS))
        self.assertEqual(read(pcap(PACKETS, RAW | 0x2400_0000)), records(PACKETS, RAW))

    def test_modified_pcap(self) -> None:
        """Records of Kuznetzov's tcpdump have longer headers."""
        head = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 99, ETHERNET)
        record = struct.pack("<IIIIIHBx", 7, 500_000, 3, 3, 1, 0x800, 0) + b"one"
        self.assertEqual(read(head + record * 2), [Record(7.5, ETHERNET, b"one")] * 2)

    def test_pcapng(self) -> None:
        """Both byte orders; unknown blocks are skipped."""
        for order in "<>":
            self.assertEqual(read(pcapng(PACKETS, order=order)), records(PACKETS))
            whole = section(order) + block(0x0BAD, b"what" * 9, order) + pcapng(PACKETS, COOKED2, order)
            self.assertEqual(read(whole), records(PACKETS, COOKED2))

    def test_interfaces(self) -> None:
        """Each interface of a pcapng file has its link type and its clock."""
        whole = section() + interface(ETHERNET, option(2, b"eth0") + option(9, b"\x09"))
        whole += interface(RAW, option(9, b"\x8a") + option(14, struct.pack("<q", 1000)) + option(0, b""))
        whole += enhanced(Captured(1.5, b"a", 1), resolution=2**-10) + enhanced(Captured(2.5, b"b"), resolution=1e-9)
        whole += section(">") + interface(COOKED2, order=">") + enhanced(Captured(3.5, b"c"), ">")
        self.assertEqual(
            read(whole), [Record(1001.5, RAW, b"a"), Record(2.5, ETHERNET, b"b"), Record(3.5, COOKED2, b"c")]
        )

    def test_other_packet_blocks(self) -> None:
        """The old packet block is read; a simple packet has the time of the packet before."""
        old = block(2, struct.pack("<HHIIII", 0, 7, 0, 2_500_000, 3, 3) + b"old")
        simple = block(3, struct.pack("<I", 6) + b"simple")
        whole = section() + interface(ETHERNET) + old + simple
        self.assertEqual(read(whole), [Record(2.5, ETHERNET, b"old"), Record(2.5, ETHERNET, b"simple")])

    def test_cut_short(self) -> None:
        """A file may end anywhere after its header: whole packets are returned, and cut_short is set."""
        for whole, head in ((pcap(PACKETS), 24), (pcapng(PACKETS), 28)):
            for end in range(head, len(whole)):
                reader = CaptureReader(BytesIO(whole[:end]))
                got = list(reader)
                self.assertEqual(got, records(PACKETS)[: len(got)])
                at_edge = pcap(PACKETS[: len(got)]) if head == 24 else pcapng(PACKETS[: len(got)])
                bare = head == 28 and end == 28  # the section alone
                self.assertEqual(reader.cut_short, len(at_edge) != end and not bare, end)

    def test_no_capture(self) -> None:
        """A file that is not a capture is an error with the cure."""
        self.assertIn("empty", self.why(b""))
        self.assertIn("neither pcap nor pcapng", self.why(b"hello, world"))
        self.assertIn("zcat", self.why(b"\x1f\x8b\x08\x00"))
        self.assertIn("inside its header", self.why(pcap([])[:23]))

    def test_broken(self) -> None:
        """Impossible lengths are an error, after the good packets."""
        reader = CaptureReader(BytesIO(pcap(PACKETS) + struct.pack("<IIII", 0, 0, MAX_PACKET_BYTES + 1, 9)))
        got = []
        with self.assertRaises(CaptureError) as caught:
            for record in reader:
                got.append(record)
        self.assertEqual(got, records(PACKETS))
        self.assertIn("corrupt at byte", str(caught.exception))
        start = section() + interface(ETHERNET)
        for bad in (
            struct.pack("<II", 6, 0) + bytes(99),
            struct.pack("<II", 6, 13) + bytes(99),
            struct.pack("<II", 6, MAX_PACKET_BYTES + 4) + bytes(99),
            block(6, b"short"),
            block(6, struct.pack("<IIIII", 1, 0, 0, 0, 0)),
            block(0x0A0D0D0A, bytes(16)),
        ):
            self.assertIn("corrupt at byte", self.why(start + bad))
        self.assertIn("not described", self.why(section() + block(3, bytes(4))))

    def test_short_reads(self) -> None:
        """Short reads from a pipe are continued."""
        for whole in (pcap(PACKETS), pcapng(PACKETS)):
            self.assertEqual(list(CaptureReader(Trickle(whole))), records(PACKETS))

    def test_at_once(self) -> None:
        """A packet is yielded as soon as it arrives, while the pipe stays open."""
        for whole in (pcap(PACKETS), pcapng(PACKETS)):
            reading, writing = os.pipe()
            self.addCleanup(os.close, writing)
            os.write(writing, whole)
            file: BinaryIO = os.fdopen(reading, "rb")
            self.addCleanup(file.close)
            got: list[Record] = []

            def take(file: BinaryIO = file, got: list[Record] = got) -> None:
                for record in CaptureReader(file):
                    got.append(record)
                    if len(got) == len(PACKETS):
                        return

            thread = Thread(target=take, daemon=True)
            thread.start()
            thread.join(30)
            self.assertEqual(got, records(PACKETS))

    @given(st.binary(max_size=300), st.sampled_from([b"", pcap(PACKETS), pcapng(PACKETS), section()]), st.data())
    def test_hostile(self, junk: bytes, before: bytes, data: st.DataObject) -> None:
        """Any bytes raise CaptureError or nothing."""
        at = data.draw(st.integers(0, len(before)))
        try:
            read(before[:at] + junk + before[at + len(junk) :])
        except CaptureError:
            pass
