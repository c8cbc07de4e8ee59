"""Tests for sniproxy.pulsar.resync."""

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import FrameReader, encode
from sniproxy.pulsar.resync import HIGHEST_TYPE, FrameSearch, can_begin_frame, frame_at
from tests.pulsar import streams
from tests.pulsar.samples import CONNECTED, SEND_HELLO

PING = write(pb.CommandPing())


class BeginsTests(SynchronousTestCase):
    """can_begin_frame: the first bytes of a stream."""

    def test_begins(self) -> None:
        """Frames of any type begin a stream; other protocols do not."""
        for data in (CONNECTED, SEND_HELLO, PING, encode(b"\x08\x5a")):
            self.assertTrue(can_begin_frame(data))
            self.assertIsNone(can_begin_frame(data[:9]))
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", b"GET / HTTP/1.1\r\n", bytes(20), b"payload" * 9):
            self.assertIs(can_begin_frame(data), False)


class FrameAtTests(SynchronousTestCase):
    """frame_at: whether a frame begins at an offset."""

    def test_real_frames(self) -> None:
        """Every frame of recorded streams is recognized, and no other offset."""
        for name in streams.NAMES:
            for side in ("client", "broker"):
                stream = streams.side_of(name, side)
                starts, at = set(), 0
                for frame in FrameReader().feed(stream):
                    starts.add(at)
                    at += frame.size
                self.assertEqual({at for at in range(len(stream) - 16) if frame_at(stream, at)}, {
                    at for at in starts if at < len(stream) - 16
                })  # fmt: skip

    def test_short(self) -> None:
        """While bytes are missing, the answer is None."""
        for frame in (PING, CONNECTED, SEND_HELLO):
            told = [frame_at(frame[:size], 0) for size in range(len(frame) + 1)]
            self.assertEqual(told, sorted(told, key=bool))
            self.assertNotIn(False, told)
            self.assertIs(told[-1], True)

    def test_unlike(self) -> None:
        """Inconsistent sizes, an unknown type or a different sub-message: not a frame."""
        for data in (
            encode(b"\x08\x12\x92\x01\x01"),
            encode(b"\x08\x12\x92\x01\x00", b"payload"),
            encode(b"\x08\x06\x32\x00"),
            encode(b"\x08\x12\x9a\x01\x00"),
            encode(b"\x08\x12\x92\x81\x81\x81\x00"),
            encode(b"\x08\x5a\xd2\x05\x00") + bytes(9),
            encode(b"\x08\x01\x0a\x00") + bytes(9),
            b"\xff" * 30,
        ):
            self.assertIs(frame_at(data, 0), False, data)

    def test_highest(self) -> None:
        """All declared types are searched for."""
        self.assertEqual(max(pb.BaseCommand.Type.values()), HIGHEST_TYPE)


class SearchTests(SynchronousTestCase):
    """FrameSearch: finds the next frame."""

    @given(st.binary(max_size=100), st.sampled_from((PING, CONNECTED, SEND_HELLO)), st.integers(1, 40))
    def test_found(self, rest: bytes, frame: bytes, step: int) -> None:
        """The next frame is found after the rest of another one, for any split of the bytes."""
        stream, search, found, at = rest + frame + PING, FrameSearch(), None, 0
        while found is None:
            found = search.feed(stream[at : at + step])
            at += step
        self.assertEqual((found + stream[at:], search.skipped), (stream[len(rest) :], len(rest)))

    def test_every_cut(self) -> None:
        """The next frame is found from any offset in a recorded stream."""
        stream = streams.side_of("java-many-topics", "broker")
        starts, at = [], 0
        for frame in FrameReader().feed(stream):
            starts.append(at)
            at += frame.size
        for cut in range(0, starts[-1], 7):
            search = FrameSearch()
            self.assertIsNotNone(search.feed(stream[cut:]))
            self.assertEqual(cut + search.skipped, next(at for at in starts if at >= cut))

    def test_nothing_is_held(self) -> None:
        """Bytes without a frame are not held."""
        search = FrameSearch()
        for data in (bytes(100_000), os.urandom(100_000), b"\x08\x12" * 50_000):
            self.assertIsNone(search.feed(data))
            self.assertLess(len(search._held), 20)
        self.assertGreater(search.skipped, 299_900)
