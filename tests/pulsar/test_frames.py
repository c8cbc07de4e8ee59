"""Tests for sniproxy.pulsar.frames."""

import struct
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar.frames import (
    MAX_FRAME_BYTES,
    Frame,
    FrameError,
    FrameReader,
    Layout,
    Section,
    encode,
    encode_section,
    locate,
    read_section,
)
from tests.pulsar.samples import CONNECTED, SEND_HELLO

FRAMES = st.lists(st.builds(Frame, st.binary(min_size=1, max_size=40), st.binary(max_size=60)), max_size=6)


def wire(frames: list[Frame]) -> bytes:
    return b"".join(encode(frame.command, frame.section) for frame in frames)


class ReaderTests(SynchronousTestCase):
    """FrameReader: splits bytes into frames."""

    def threeWays(self, data: bytes, expected: list[Frame]) -> None:
        """Frames come whole, byte by byte, and with the beginning of the next frame."""
        self.assertEqual(FrameReader().feed(data), expected)

        reader = FrameReader()
        got = [frame for at in range(len(data)) for frame in reader.feed(data[at : at + 1])]
        self.assertEqual((got, reader.rest, reader.held), (expected, b"", 0))

        for tail in (b"\x00", b"\x00\x00\x00\x09\x00\x00\x00", b"\x00\x00\x00\x09\x00\x00\x00\x05\x08"):
            reader = FrameReader()
            self.assertEqual((reader.feed(data + tail), reader.rest), (expected, tail))

    def test_simple_frame(self) -> None:
        """A simple frame has a command and an empty payload section."""
        self.threeWays(CONNECTED, [Frame(CONNECTED[8:])])

    def test_payload_frame(self) -> None:
        """The bytes after the command of a SEND are its payload section, unchanged."""
        self.threeWays(SEND_HELLO, [Frame(SEND_HELLO[8:16], SEND_HELLO[16:])])

    def test_several_frames(self) -> None:
        """Frames keep their order."""
        self.threeWays(
            CONNECTED + SEND_HELLO + CONNECTED,
            [Frame(CONNECTED[8:]), Frame(SEND_HELLO[8:16], SEND_HELLO[16:]), Frame(CONNECTED[8:])],
        )

    @given(FRAMES, st.data())
    def test_any_segmentation(self, frames: list[Frame], data: st.DataObject) -> None:
        """Any split of the stream gives the same frames, with nothing left."""
        stream = wire(frames)
        cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
        reader = FrameReader()
        got: list[Frame] = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            got += reader.feed(stream[start:end])
        self.assertEqual((got, reader.rest), (frames, b""))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes give frames with exactly these bytes, or a FrameError."""
        reader = FrameReader(limit=64)
        try:
            frames = reader.feed(data)
        except FrameError as error:
            frames = error.frames
        self.assertEqual(wire(frames) + reader.rest, data)
        self.assertEqual(sum(frame.size for frame in frames), len(data) - len(reader.rest))

    def test_largest_frame(self) -> None:
        """A frame of exactly the limit, including its first four bytes, passes; one byte more does not."""
        frame = encode(b"c" * 8, b"p" * 84)
        self.assertEqual(len(frame), 100)
        self.assertEqual(len(FrameReader(limit=100).feed(frame)), 1)
        with self.assertRaisesRegex(FrameError, "frame of 100 bytes is over the limit of 99"):
            FrameReader(limit=99).feed(frame)

    def test_default_limit(self) -> None:
        """The default limit is that of Java clients and brokers: 5,253,120 bytes."""
        self.assertEqual(MAX_FRAME_BYTES, 5_253_120)
        with self.assertRaises(FrameError):
            FrameReader().feed(struct.pack(">II", MAX_FRAME_BYTES - 3, 4))

    def test_limit_that_changes(self) -> None:
        """A changed limit applies to later frames."""
        reader = FrameReader(limit=99)
        reader.limit = 100
        self.assertEqual(len(reader.feed(encode(b"c" * 92))), 1)

    def test_refused_early(self) -> None:
        """A frame that is too large is an error as soon as its sizes come."""
        reader = FrameReader(limit=1000)
        reader.feed(b"\x00\x00\x10\x00\x00\x00\x00")
        with self.assertRaises(FrameError):
            reader.feed(b"\x04")

    def test_command_larger_than_its_frame(self) -> None:
        """A command larger than its frame is an error, also in a frame too small for any command."""
        for sizes in ((8, 5), (4, 1), (3, 0), (0, 0), (8, 0xFFFFFFFF)):
            with self.assertRaisesRegex(FrameError, "command of"):
                FrameReader().feed(struct.pack(">II", *sizes))

    def test_other_protocols(self) -> None:
        """TLS and HTTP are not Pulsar frames."""
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/1.1\r\n\r\n"):
            with self.assertRaises(FrameError):
                FrameReader().feed(data)

    def test_frames_before_abad_one(self) -> None:
        """Frames before a bad one are kept; the bad one stays in the buffer and stays an error."""
        reader = FrameReader()
        bad = b"\xff" * 12
        with self.assertRaises(FrameError) as caught:
            reader.feed(CONNECTED + bad)
        self.assertEqual(caught.exception.frames, [Frame(CONNECTED[8:])])
        self.assertEqual(reader.rest, bad)
        with self.assertRaises(FrameError) as caught:
            reader.feed(b"")
        self.assertEqual(caught.exception.frames, [])

    def test_each(self) -> None:
        """each: frames before a bad one come one by one, then the error."""
        found = []
        with self.assertRaises(FrameError):
            for frame in FrameReader().each(CONNECTED * 2 + b"\0\0\0\1\0\0\0\\9"):
                found.append(frame)
        self.assertEqual(found, [Frame(CONNECTED[8:])] * 2)
        self.assertEqual(list(FrameReader().each(CONNECTED)), [Frame(CONNECTED[8:])])

    def test_bounded_copies(self) -> None:
        """A large frame in small pieces is held once and copied once."""
        payload = bytes(4 * 1024 * 1024)
        stream = encode(b"c" * 8, payload)
        reader = FrameReader()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for at in range(0, len(stream), 4096):
            frames = reader.feed(stream[at : at + 4096])
        peak = tracemalloc.get_traced_memory()[1]
        self.assertEqual(frames[0].section, payload)
        # The buffer, which grows by an eighth at a time, and the returned copy.
        self.assertLess(peak, 2.5 * len(payload))

    def test_nothing_is_moved(self) -> None:
        """A byte that completes no frame costs no more if much is held."""
        reader = FrameReader()
        reader.feed(encode(b"c" * 8, bytes(4 * 1024 * 1024))[:-100])
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(99):
            reader.feed(b"\x00")
        # At most one growth of the buffer, and no copy.
        self.assertLess(tracemalloc.get_traced_memory()[1], 5 * 1024 * 1024)


class SectionTests(SynchronousTestCase):
    """read_section: the parts of a payload section."""

    def test_checksum(self) -> None:
        """A recorded SEND has a checksum, metadata and a payload."""
        self.assertEqual(
            read_section(SEND_HELLO[16:]),
            Section(None, 0x0830A93B, SEND_HELLO[26:41], memoryview(b"hello")),
        )

    def test_broker_entry(self) -> None:
        """Broker entry metadata comes before the checksum."""
        section = b"\x0e\x02\x00\x00\x00\x03abc" + SEND_HELLO[16:]
        self.assertEqual(read_section(section).broker_entry, b"abc")
        self.assertEqual(read_section(section).checksum, 0x0830A93B)

    def test_payload_is_aview(self) -> None:
        """The payload is a view of the section, not a copy."""
        section = encode_section(b"meta", b"x" * 100)
        payload = read_section(section).payload
        self.assertIs(payload.obj, section)
        self.assertEqual(payload, b"x" * 100)

    def test_empty_parts(self) -> None:
        """Metadata and payload may be empty."""
        self.assertEqual(read_section(encode_section(b"", b"")), Section(None, None, b"", memoryview(b"")))

    @given(st.none() | st.binary(), st.none() | st.integers(0, 2**32 - 1), st.binary(), st.binary())
    def test_round_trip(self, entry: bytes | None, checksum: int | None, metadata: bytes, payload: bytes) -> None:
        """Any combination of parts is read, and any truncated section is an error."""
        section = encode_section(metadata, payload)
        if checksum is not None:
            section = b"\x0e\x01" + struct.pack(">I", checksum) + section
        if entry is not None:
            section = b"\x0e\x02" + struct.pack(">I", len(entry)) + entry + section
        self.assertEqual(read_section(section), Section(entry, checksum, metadata, memoryview(payload)))
        for end in range(len(section) - len(payload)):
            with self.assertRaises(FrameError):
                read_section(section[:end])

    @given(st.binary(max_size=60))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes give a section or a FrameError."""
        try:
            read = read_section(data)
        except FrameError:
            return
        self.assertTrue(data.endswith(read.metadata + read.payload))


class LocateTests(SynchronousTestCase):
    """locate: the offsets of the parts of a payload section."""

    def test_asks_for_more(self) -> None:
        """While bytes are missing, it returns an offset within the section, then all parts."""
        section = b"\x0e\x02\x00\x00\x00\x03abc" + SEND_HELLO[16:]
        end, have, asked = len(section), 0, []
        while isinstance(found := locate(section[:have], 0, end, have), int):
            self.assertTrue(have < found <= end)
            asked.append(have := found)
        self.assertEqual(asked, [2, 6, 11, 15, 19, 34])
        self.assertEqual(found, Layout((6, 9), 0x0830A93B, (19, 34)))


class EncodeTests(SynchronousTestCase):
    """encode: frames on the wire."""

    def test_simple(self) -> None:
        """A simple frame, byte for byte as recorded from a broker."""
        self.assertEqual(encode(CONNECTED[8:]), CONNECTED)

    def test_payload(self) -> None:
        """A payload frame, byte for byte as recorded from a client."""
        self.assertEqual(encode(SEND_HELLO[8:16], SEND_HELLO[16:]), SEND_HELLO)
