"""Reading a broker's frames, and replacing some of them."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.bridge.stream import MAX_COMMAND_BYTES, BrokerStream
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import FrameError, encode, encode_section

PING = write(pb.CommandPing())
CLOSE = write(pb.CommandCloseProducer(producer_id=7, request_id=1))
MESSAGE = encode(
    pb.BaseCommand(
        type=pb.BaseCommand.MESSAGE,
        message=pb.CommandMessage(consumer_id=1, message_id=pb.MessageIdData(ledgerId=1, entryId=1)),
    ).SerializeToString(),
    encode_section(b"", bytes(100)),
)
SHORT = encode(b"\x08\x12")
FRAMES = (PING, CLOSE, MESSAGE, SHORT)


class Rewriter:
    """Replaces each CLOSE_PRODUCER."""

    def __init__(self, instead: bytes = b"<closed>") -> None:
        self.taken: list[bytes] = []
        self.instead = instead
        self.stream = BrokerStream([pb.BaseCommand.CLOSE_PRODUCER], self._take)

    def _take(self, kind: int, frame: bytes) -> bytes:
        self.taken.append(frame)
        return self.instead

    def feed(self, pieces: Sequence[bytes]) -> bytes:
        return b"".join(map(self.stream.feed, pieces))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class StreamTests(SynchronousTestCase):
    """BrokerStream."""

    def test_taken(self) -> None:
        """A frame of the given types is replaced as a whole; everything else passes unchanged."""
        for size in (1, 3, 7, 64, 10_000):
            rewriter = Rewriter()
            passed = rewriter.feed(cut(MESSAGE + CLOSE + PING + SHORT + CLOSE + MESSAGE, size))
            self.assertEqual(MESSAGE + b"<closed>" + PING + SHORT + b"<closed>" + MESSAGE, passed)
            self.assertEqual([CLOSE, CLOSE], rewriter.taken)

    def test_dropped(self) -> None:
        """A frame that is replaced by empty bytes is dropped."""
        self.assertEqual(PING, Rewriter(b"").feed([CLOSE + PING + CLOSE]))

    def test_not_held(self) -> None:
        """Any other frame passes as it arrives, except for the few bytes that have its type."""
        for frame, head in ((MESSAGE, 12), (PING, 13)):
            stream = Rewriter().stream
            self.assertEqual(b"", stream.feed(frame[: head - 1]))
            self.assertEqual(frame[:head], stream.feed(frame[head - 1 : head]))
            self.assertEqual(frame[head:], stream.feed(frame[head:]))

    def test_not_copied(self) -> None:
        """A read without a frame to replace passes as the same object."""
        data = MESSAGE + PING
        self.assertIs(data, Rewriter().stream.feed(data))

    def test_hidden(self) -> None:
        """A command that clients read as one of the types, but that does not begin as one, is refused."""
        body = CLOSE[8:]
        for size in (1, 5, 1000):
            for hidden in (
                encode(body, b"payload"),
                encode(b"\x08\x12" + body),
                encode(body[2:] + body[:2]),
                encode(b"\xf8\x3f\x01" + body),
                encode(b"\x08\x8f\x80\x00" + body[2:]),
                encode(b"\x08\x8f" + b"\x80" * 8 + b"\x00" + body[2:]),
                encode(b"\x08\x12" + body, b"payload"),
                encode(b""),
            ):
                rewriter = Rewriter()
                with self.assertRaises(FrameError):
                    rewriter.feed(cut(PING + hidden + PING, size))
                self.assertEqual([], rewriter.taken)

    @given(st.data())
    def test_one_reading(self, data: st.DataObject) -> None:
        """No passed frame is a command that a client reads as one of the types."""
        parts = st.sampled_from((CLOSE[8:], PING[8:], CLOSE[10:], b"\x08\x0f", b"\x08\x12", b"\xf8\x3f\x01", b"\x08"))
        body = bytearray(b"".join(data.draw(st.lists(parts | st.binary(max_size=4), min_size=1, max_size=4))))
        if data.draw(st.booleans()):
            body[:1] = bytes((data.draw(st.integers(0, 255)),))
        frame = encode(bytes(body), data.draw(st.sampled_from((b"", b"\x00" * 9))))
        rewriter = Rewriter()
        try:
            passed = rewriter.feed([frame])
        except FrameError:
            return
        base = pb.BaseCommand()
        try:
            base.ParseFromString(bytes(body))
        except DecodeError:
            return
        self.assertEqual(b"<closed>" if base.type == base.CLOSE_PRODUCER else frame, passed)

    def test_put(self) -> None:
        """A frame of the bridge is inserted between two frames: at once, or after the passing one."""
        stream = Rewriter().stream
        self.assertEqual(b"<own>", stream.put(b"<own>"))
        self.assertEqual(MESSAGE[:60], stream.feed(MESSAGE[:60]))
        self.assertEqual(b"", stream.put(b"<1>"))
        self.assertEqual(b"", stream.put(b"<2>"))
        self.assertEqual(MESSAGE[60:] + b"<1><2>" + PING, stream.feed(MESSAGE[60:] + PING))

    def test_put_before_what_is_held(self) -> None:
        """A frame of the bridge is inserted before a held one, which has not passed yet."""
        stream = Rewriter().stream
        self.assertEqual(b"", stream.feed(CLOSE[:-1]))
        self.assertEqual(b"<own>", stream.put(b"<own>"))
        self.assertEqual(b"<closed>", stream.feed(CLOSE[-1:]))

    def test_rest(self) -> None:
        """The bytes of an incomplete frame are available."""
        stream = Rewriter().stream
        stream.feed(PING + CLOSE[:-1])
        self.assertEqual(CLOSE[:-1], stream.rest)

    def test_refused(self) -> None:
        """Inconsistent sizes, frames over the limit and commands too large to hold are refused."""
        large = encode(
            pb.BaseCommand(type=pb.BaseCommand.CLOSE_PRODUCER).SerializeToString() + bytes(MAX_COMMAND_BYTES)
        )
        for data in (b"HTTP/1.1 400 Bad Request", b"\x00\x00\x00\x08\x00\x00\x00\x08xxxx", large[:20]):
            self.assertRaises(FrameError, Rewriter().stream.feed, data)

    def test_limit(self) -> None:
        """The limit can be changed, and applies to later frames."""
        stream = Rewriter().stream
        stream.limit = len(MESSAGE)
        self.assertEqual(MESSAGE, stream.feed(MESSAGE))
        stream.limit -= 1
        self.assertRaises(FrameError, stream.feed, MESSAGE)

    @given(st.lists(st.sampled_from(FRAMES), max_size=8), st.lists(st.integers(1, 200), max_size=20))
    def test_any_cut(self, frames: list[bytes], sizes: list[int]) -> None:
        """The same bytes pass for any split of the stream."""
        data, pieces, at = b"".join(frames), [], 0
        for size in sizes:
            pieces.append(data[at : at + size])
            at += size
        pieces.append(data[at:])
        expected = b"".join(b"<closed>" if frame == CLOSE else frame for frame in frames)
        self.assertEqual(expected, Rewriter().feed(pieces))

    @given(st.lists(st.binary(max_size=40), max_size=10))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Any bytes pass or raise the one exception; held memory is bounded."""
        rewriter = Rewriter()
        try:
            rewriter.feed(pieces)
        except FrameError:
            pass
        self.assertLessEqual(len(rewriter.stream.rest), MAX_COMMAND_BYTES)
