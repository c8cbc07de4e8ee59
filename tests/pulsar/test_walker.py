"""Tests for sniproxy.pulsar.walker."""

import struct
import tracemalloc

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import opening, write
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, FrameReader, encode, encode_section, read_section
from sniproxy.pulsar.walker import MAX_HEAD_BYTES, TYPES, FrameWalker, WalkedFrame, WalkError
from tests.pulsar import streams
from tests.pulsar.samples import CONNECTED, SEND_HELLO

HELLO = WalkedFrame(6, SEND_HELLO[8:16], 46, 5, SEND_HELLO[26:41], None, 0x0830A93B)
WELCOME = WalkedFrame(3, CONNECTED[8:], 25)


def command(kind: int, size: int) -> bytes:
    """A command of this type and size: its type and one field of zeros."""
    begin = opening(kind, size)
    assert begin is not None
    return begin + bytes(size - len(begin))


COMMANDS = st.builds(command, st.sampled_from((3, 6, 9)), st.just(2) | st.integers(4, 40))
SECTIONS = st.builds(
    lambda entry, checksum, metadata, payload: entry + checksum + encode_section(metadata, payload),
    st.just(b"") | st.binary(max_size=20).map(lambda entry: b"\x0e\x02" + len(entry).to_bytes(4, "big") + entry),
    st.just(b"") | st.just(b"\x0e\x01abcd"),
    st.binary(max_size=30),
    st.binary(max_size=50),
)


PONG = write(pb.CommandPong())[8:]
PARTS = st.sampled_from(
    [
        write(message)[8:]
        for message in (pb.CommandLookupTopic(topic="t", request_id=7), pb.CommandPing(), pb.CommandPong())
    ]
    + [b"\x08\x17", b"\x08\x06", b"\x08\x98\x00", b"\x08\x97" + b"\x80" * 8 + b"\x01", b"\xf8\x3f\x01", b"\x0b\x0c"]
)


@st.composite
def mutated_commands(draw: st.DrawFn) -> bytes:
    """Commands of several parts in any order, some with a changed byte or truncated."""
    body = bytearray(b"".join(draw(st.lists(PARTS | st.binary(max_size=6), min_size=1, max_size=4))))
    if body and draw(st.booleans()):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)


@st.composite
def whole_frames(draw: st.DrawFn) -> bytes:
    command = draw(COMMANDS)
    return encode(command, draw(SECTIONS) if command[1] in (6, 9) else b"")


def walk(pieces: list[bytes], limit: int = MAX_FRAME_BYTES) -> tuple[list[WalkedFrame], str | None]:
    """The frames in the pieces of a stream, and the error or None."""
    walker, walked = FrameWalker(limit), []
    for piece in pieces:
        try:
            walked += walker.feed(piece)
        except WalkError as error:
            return walked + error.walked, str(error)
    return walked, None


def counted(frames: list[WalkedFrame]) -> tuple[list[int], int]:
    """The number of frames of each type, and the bytes of their payloads."""
    seen = [0] * TYPES
    for each in frames:
        seen[each.type] += 1
    return seen, sum(each.payload for each in frames)


class WalkerTests(SynchronousTestCase):
    """FrameWalker: returns the wanted frames."""

    def threeWays(self, data: bytes, expected: list[WalkedFrame]) -> None:
        """Frames come whole, byte by byte, and with the beginning of the next frame."""
        self.assertEqual(walk([data]), (expected, None))
        self.assertEqual(walk([data[at : at + 1] for at in range(len(data))]), (expected, None))
        for tail in (b"\x00", CONNECTED[:9], SEND_HELLO[:30]):
            walker = FrameWalker()
            self.assertEqual((walker.feed(data + tail), walker.held), (expected, len(tail)))

    def test_simple(self) -> None:
        """A simple frame gives the type and the command."""
        self.threeWays(CONNECTED, [WELCOME])

    def test_payload(self) -> None:
        """A SEND gives the command, the checksum, the metadata and the size of the payload."""
        self.threeWays(SEND_HELLO, [HELLO])

    def test_entry(self) -> None:
        """Broker entry metadata before the checksum is returned, too."""
        message = encode(b"\x08\x09J\x00", b"\x0e\x02\x00\x00\x00\x03abc" + SEND_HELLO[16:])
        self.threeWays(message, [WalkedFrame(9, b"\x08\x09J\x00", 51, 5, SEND_HELLO[26:41], b"abc", 0x0830A93B)])

    def test_several(self) -> None:
        """Frames keep their order."""
        self.threeWays(CONNECTED + SEND_HELLO + SEND_HELLO + CONNECTED, [WELCOME, HELLO, HELLO, WELCOME])

    def test_unknown_section(self) -> None:
        """Bytes that another release puts after a command are skipped."""
        for section in (b"\x0e\x01xx", SEND_HELLO[16:]):
            size = len(section)
            self.threeWays(encode(b"\x08\x5a", section), [WalkedFrame(90, b"\x08\x5a", 10 + size, size)])

    def test_no_type(self) -> None:
        """A command without a readable type is an error: empty, one byte, an unknown type, truncated."""
        for bad in (b"", b"\x08", b"\x08\x80\x01", b"\x10\x02", b"\x08\x17\xba\x01", b"\x08\x17\x0b"):
            for wanted in ((), range(TYPES)):
                for behind in (CONNECTED, b""):
                    walker = FrameWalker(wanted=wanted)
                    self.assertRaises(WalkError, walker.feed, CONNECTED + encode(bad) + behind)
                    self.assertEqual(sum(walker.seen), 1)

    def test_unusual_type(self) -> None:
        """The type is the one that protobuf reads, in any place and encoding."""
        lookup = pb.CommandLookupTopic(topic="t", request_id=1)
        tail = write(lookup)[10:]
        for begin, end in (
            (b"\x08\x06\x08\x17", b""),
            (b"\x08\x97\x80\x00", b""),
            (b"\x08\x97\x80\x80\x80\x80\x80\x80\x80\x80\x00", b""),
            (b"", b"\x08\x17"),
            (b"\xf8\x3f\x01\x08\x17", b""),
            (b"\x08\x17", b"\x08\x7f"),
        ):
            whole = begin + tail + end
            self.threeWays(encode(whole), [WalkedFrame(23, whole, 8 + len(whole))])
            walker = FrameWalker(wanted=(23,))
            self.assertEqual([each.type for each in walker.feed(encode(whole) * 2)], [23, 23])
        walker = FrameWalker(wanted=(6, 18))
        self.assertEqual([each.type for each in walker.feed(encode(b"\x08\x06" + PONG + PONG))], [])

    def test_unusual_with_payload(self) -> None:
        """A command with its type in an unusual place and bytes after it is an error."""
        hidden = b"\x08\x06" + write(pb.CommandLookupTopic(topic="t", request_id=1))[8:]
        for wanted in ((), range(TYPES)):
            self.assertRaises(WalkError, FrameWalker(wanted=wanted).feed, encode(hidden, SEND_HELLO[16:]))

    @given(mutated_commands())
    def test_one_reading(self, body: bytes) -> None:
        """For any command, the type is protobuf's, or the frame is an error."""
        try:
            [walked] = FrameWalker().feed(encode(body))
        except WalkError:
            return
        base = pb.BaseCommand()
        try:
            base.ParseFromString(body)
        except DecodeError:
            # No handler wants such a command: its first bytes have a single type.
            begin = opening(walked.type, len(body))
            self.assertTrue(begin is not None and body.startswith(begin))
            return
        self.assertEqual(walked.type, base.type if base.HasField("type") else body[1])

    def test_real_streams(self) -> None:
        """Every frame of recorded streams is read to its end; two other readers give the same frames."""
        for name in streams.NAMES:
            for side in ("client", "broker"):
                stream = streams.side_of(name, side)
                walked, refused = walk([stream])
                self.assertEqual((sum(each.size for each in walked), refused), (len(stream), None), name)
                seen = [(each.type, each.size, len(each.payload)) for each in streams.frames(stream)]
                self.assertEqual([(each.type, each.size, each.payload) for each in walked], seen, name)
                whole = FrameReader().feed(stream)
                self.assertEqual([each.command for each in walked], [frame.command for frame in whole])
                for each, frame in zip(walked, whole, strict=True):
                    if frame.section:
                        self.assertEqual(each.metadata, read_section(frame.section).metadata)
                self.assertEqual(walk([stream[at : at + 1] for at in range(len(stream))]), (walked, None), name)

    @given(st.lists(whole_frames(), max_size=5), st.data())
    def test_any_segmentation(self, frames: list[bytes], data: st.DataObject) -> None:
        """Any split of a stream gives the same frames as FrameReader and read_section."""
        stream = b"".join(frames)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        expected = []
        for frame in FrameReader().feed(stream):
            rest: tuple[object, ...] = ()
            if frame.section:
                section = read_section(frame.section)
                rest = (len(section.payload), section.metadata, section.broker_entry, section.checksum)
            expected.append((frame.command[1], frame.command, frame.size, *(rest or (0, None, None, None)), True))
        self.assertEqual(walk(pieces), (expected, None))

    @given(
        st.lists(st.binary(max_size=60) | whole_frames() | whole_frames().map(lambda f: f[:-1]), max_size=5), st.data()
    )
    def test_any_bytes(self, parts: list[bytes], data: st.DataObject) -> None:
        """Any bytes raise only WalkError, the same whole or in pieces, and little is held."""
        stream = b"".join(parts)
        cut = data.draw(st.integers(0, len(stream)))
        whole = walk([stream], limit=300)
        self.assertEqual(walk([stream[:cut], stream[cut:]], limit=300), whole)
        self.assertEqual(walk([stream[at : at + 1] for at in range(len(stream))], limit=300), whole)
        self.assertLessEqual(sum(each.size for each in whole[0]), len(stream))

    def test_refused(self) -> None:
        """Inconsistent sizes and sections are errors, which have the frames before."""
        for bad, reason in (
            (b"\xff" * 12, "over the limit"),
            (struct.pack(">II", 8, 5) + b"\x08\x03", "command of 5 bytes"),
            (encode(b"\x08\x06", b"\x0e"), "before its metadata"),
            (encode(b"\x08\x06", b"\x0e\x01abc"), "in its checksum"),
            (encode(b"\x08\x09", b"\x00\x00\x00\x02x"), "metadata of 2 bytes"),
            (encode(b"\x08\x09", b"\x0e\x02\x00\x00\x00\x09x"), "broker entry metadata of 9"),
            (encode(b"\x08\x09", b"\x0e\x01abcd\x00\x00\x00\x02x"), "metadata of 2 bytes"),
        ):
            walked, refused = walk([CONNECTED + bad + CONNECTED])
            self.assertEqual(walked, [WELCOME])
            self.assertIn(reason, str(refused))

    def test_refused_for_good(self) -> None:
        """After an error nothing is read and nothing is held."""
        walker = FrameWalker()
        walker.feed(b"\xff")
        for data in (b"\xff" * 12, CONNECTED, b""):
            with self.assertRaises(WalkError) as caught:
                walker.feed(data)
            self.assertEqual((caught.exception.walked, walker.held), ([], 0))

    def test_limit(self) -> None:
        """A frame of exactly the limit passes, one byte more does not; a changed limit applies to later frames."""
        frame = encode(b"\x08\x06", encode_section(b"", bytes(86)))
        walker = FrameWalker(limit=len(frame))
        self.assertEqual(len(walker.feed(frame)), 1)
        walker.limit -= 1
        with self.assertRaisesRegex(WalkError, "frame of 100 bytes is over the limit of 99"):
            walker.feed(frame)

    def test_long_command(self) -> None:
        """A command too long to hold gives its type and beginning, for any split."""
        frame = encode(command(33, MAX_HEAD_BYTES))
        expected = [WalkedFrame(33, frame[8 : 8 + 1024], len(frame), complete=False), WELCOME]
        for step in (len(frame) + 100, 4096):
            stream = frame + CONNECTED
            self.assertEqual(walk([stream[at : at + step] for at in range(0, len(stream), step)]), (expected, None))

    def test_long_metadata(self) -> None:
        """Metadata too long to hold is skipped with the payload, for any split."""
        for before in (b"", b"\x0e\x01abcd", b"\x0e\x02\x00\x10\x00\x00" + bytes(MAX_HEAD_BYTES)):
            frame = encode(b"\x08\x06", before + encode_section(bytes(MAX_HEAD_BYTES), b"payload"))
            expected = [WalkedFrame(6, b"\x08\x06", len(frame), len(frame) - 10), WELCOME]
            for step in (len(frame) + 100, 4096):
                stream = frame + CONNECTED
                self.assertEqual(walk([stream[at : at + step] for at in range(0, len(stream), step)]), (expected, None))

    def test_metadata_at_the_bound(self) -> None:
        """A head of exactly the bound is read, one byte more is not, for any split."""
        for more in (0, 1):
            metadata = bytes(MAX_HEAD_BYTES - 20 + more)
            frame = encode(b"\x08\x06", b"\x0e\x01abcd" + encode_section(metadata, b""))
            self.assertEqual(len(frame), MAX_HEAD_BYTES + more)
            for step in (len(frame), 4096):
                [walked], _ = walk([frame[at : at + step] for at in range(0, len(frame), step)])
                self.assertEqual(walked.metadata, None if more else metadata)

    def test_head_byte_by_byte(self) -> None:
        """A head that comes byte by byte is not copied for each byte."""
        frame = encode(command(6, 500_000), encode_section(bytes(100), b""))
        walker = FrameWalker()
        walker.feed(frame[:-100])
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for at in range(len(frame) - 100, len(frame) - 1):
            walker.feed(frame[at : at + 1])
        # At most one growth of the buffer.
        self.assertLess(tracemalloc.get_traced_memory()[1], 700_000)

    def test_nothing_is_held(self) -> None:
        """A payload is neither held nor copied, for any pieces."""
        stream = encode(b"\x08\x06", b"\x0e\x01abcd" + encode_section(b"meta", bytes(4 * 1024 * 1024)))
        for step in (4096, 100_000):
            walker = FrameWalker()
            pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            walked = [each for piece in pieces for each in walker.feed(piece)]
            self.assertEqual(walked[0].payload, 4 * 1024 * 1024)
            self.assertLess(tracemalloc.get_traced_memory()[1], 2 * step + 10_000)
            tracemalloc.stop()


class CountingTests(SynchronousTestCase):
    """Frames that are only counted, by the fast path."""

    def sameCounts(self, pieces: list[bytes], limit: int = MAX_FRAME_BYTES) -> None:
        """After each piece, walkers that want no frames, or some, have counted all frames."""
        for wanted in ((), (3, 9), (6, 23)):
            walker, whole = FrameWalker(limit, wanted), FrameWalker(limit)
            expected: list[WalkedFrame] = []
            for piece in pieces:
                refused = reason = None
                try:
                    all_of_them = whole.feed(piece)
                except WalkError as error:
                    all_of_them, refused = error.walked, str(error)
                try:
                    walked = walker.feed(piece)
                except WalkError as error:
                    walked, reason = error.walked, str(error)
                expected += all_of_them
                self.assertEqual(walked, [each for each in all_of_them if each.type in wanted])
                self.assertEqual((walker.seen, walker.payload), counted(expected))
                self.assertEqual((whole.seen, whole.payload), counted(expected))
                self.assertEqual(reason, refused)
                self.assertLessEqual(walker.held, whole.held)

    def test_real_streams(self) -> None:
        """Recorded streams, in large and small pieces."""
        for name in streams.NAMES:
            for side in ("client", "broker"):
                stream = streams.side_of(name, side)
                for step in (7, 100, len(stream) or 1):
                    self.sameCounts([stream[at : at + step] for at in range(0, len(stream), step)])

    @given(st.lists(whole_frames() | st.sampled_from((SEND_HELLO, CONNECTED)), max_size=8), st.data())
    def test_any_segmentation(self, frames: list[bytes], data: st.DataObject) -> None:
        """For any split, also inside a skipped frame, exactly the whole frames are counted."""
        stream = b"".join(frames)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        self.sameCounts([stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)])

    @given(st.lists(st.binary(max_size=60) | whole_frames() | whole_frames().map(lambda f: f[:-1]), max_size=5))
    def test_any_bytes(self, parts: list[bytes]) -> None:
        """For any bytes, the error is the same, at the same byte."""
        stream = b"".join(parts)
        for step in (len(stream) or 1, 11, 1):
            self.sameCounts([stream[at : at + step] for at in range(0, len(stream), step)], limit=300)

    def test_not_in_a_row(self) -> None:
        """A frame like the one before, but with a different type, size or section, is counted correctly."""
        start, section = SEND_HELLO[8:16], SEND_HELLO[16:]
        for other, payload in (
            (encode(command(9, len(start)), section), 5),
            (encode(start, encode_section(bytes(10), bytes(20))), 20),
            (encode(command(6, 18)[:4] + start[4:] + b"\x0e\x01abcd\x00\x00\x00\x00", section), 5),
            (encode(start, b"\x0e\x02\x00\x00\x00\x00" + section), 5),
        ):
            walker = FrameWalker(wanted=())
            self.assertEqual(walker.feed(SEND_HELLO + other + SEND_HELLO), [])
            self.assertEqual(walker.payload, 10 + payload)
            self.sameCounts([SEND_HELLO + other + SEND_HELLO])

    def test_short_command(self) -> None:
        """A command of one byte has no type, whatever follows it."""
        walker = FrameWalker(wanted=())
        with self.assertRaises(WalkError):
            walker.feed(encode(b"\x08") + b"\x05" * 12)
        self.assertEqual(counted([]), (walker.seen, walker.payload))

    def test_limit(self) -> None:
        """In a row of frames, one of exactly the limit passes, and one byte more does not."""
        for kind, around in ((6, b"\x0e\x01abcd\x00\x00\x00\x00"), (7, b"")):
            short, long = encode(command(kind, 2), around), encode(command(kind, 92), around)
            for frames in ([long, long, short, long], [short, long], [long]):
                walker = FrameWalker(len(long), wanted=())
                walker.feed(b"".join(frames))
                self.assertEqual(sum(walker.seen), len(frames))
                self.assertRaises(WalkError, FrameWalker(len(long) - 1, wanted=()).feed, b"".join(frames))

    def test_long_metadata(self) -> None:
        """Metadata beyond the bound counts as payload, also in returned frames."""
        for more in (0, 1):
            frame = encode(b"\x08\x06", b"\x0e\x01abcd" + encode_section(bytes(MAX_HEAD_BYTES - 20 + more), b"x"))
            for step in (len(frame), 65_536):
                self.sameCounts([SEND_HELLO, *(frame[at : at + step] for at in range(0, len(frame), step)), SEND_HELLO])

    def test_reset(self) -> None:
        """After a reset the next frame is read; counts stay, without the unfinished frame."""
        walker = FrameWalker(wanted=())
        for cut in (SEND_HELLO[:20], SEND_HELLO[:43], b"\xff"):
            walker.feed(SEND_HELLO + cut)
            walker.reset()
        self.assertRaises(WalkError, walker.feed, b"\xff" * 12)
        walker.reset()
        walker.feed(CONNECTED)
        self.assertEqual((walker.seen[6], walker.seen[3], walker.payload), (3, 1, 15))
