"""Cutting a stream into commands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.faults import reader
from sniproxy.faults.reader import CommandReader, Opening
from sniproxy.pulsar.frames import encode
from tests.faults.faulty import CONNECTED, PING, send


def pieces(data: bytes, size: int) -> list[Opening | bytes]:
    """What a reader makes of data that comes in parts of this size."""
    made, found = CommandReader(), []
    for at in range(0, len(data), size):
        made.feed(data[at : at + size])
        while (piece := made.next()) is not None:
            found.append(piece)
    return [*found, *([made.rest()] if made.held else [])]


def joined(found: list[Opening | bytes]) -> bytes:
    """The bytes of all pieces."""
    return b"".join(one.raw if isinstance(one, Opening) else one for one in found)


class ReaderTests(SynchronousTestCase):
    """L{CommandReader}."""

    def test_splits(self) -> None:
        """Commands are found whole, and all bytes are given out, wherever the stream is cut."""
        data = CONNECTED + send(1, 2, b"x" * 50) + PING
        for size in range(1, len(data) + 1):
            found = pieces(data, size)
            openings = [one for one in found if isinstance(one, Opening)]
            self.assertEqual(
                [0, len(send(1, 2, b"x" * 50)) - len(openings[1].raw), 0], [one.section for one in openings]
            )
            self.assertEqual(data, joined(found))
        self.assertEqual(CONNECTED[8:], openings[0].command)

    def test_between_frames(self) -> None:
        """A frame ends behind its payload."""
        made = CommandReader()
        made.feed(send(1, 1)[:-1])
        self.assertTrue(made.between_frames)
        while made.next() is not None:
            self.assertFalse(made.between_frames)
        made.feed(send(1, 1)[-1:])
        self.assertEqual(1, len(made.next() or b""))  # type: ignore[arg-type]
        self.assertTrue(made.between_frames)

    def test_large(self) -> None:
        """The frame of a command that is too large passes without being held."""
        self.patch(reader, "MAX_COMMAND_BYTES", 30)
        data = encode(b"c" * 31, b"more") + PING
        found = pieces(data, 10)
        self.assertEqual((data, [PING]), (joined(found), [one.raw for one in found if isinstance(one, Opening)]))

    def test_lost(self) -> None:
        """Bytes of another protocol pass from there on."""
        made = CommandReader()
        made.feed(PING + b"GET / HTTP/1.1")
        found = [made.next(), made.next(), made.next()]
        self.assertEqual(([PING], b"GET / HTTP/1.1", None), ([found[0].raw], *found[1:]))  # type: ignore[union-attr]
        self.assertIn("frame of", made.lost)
        self.assertFalse(made.between_frames)
        made.feed(PING)
        self.assertEqual(PING, made.next())

    @given(st.binary(max_size=40), st.integers(1, 41))
    def test_any(self, data: bytes, size: int) -> None:
        """Any bytes are given out unchanged."""
        self.assertEqual(data, joined(pieces(data, size)))
