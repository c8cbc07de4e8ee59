"""Tests for sniproxy.inspector.capture.direction."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.direction import PIECE_OVERHEAD_BYTES, SegmentQueue


class DirectionTests(SynchronousTestCase):
    """SegmentQueue: released and held bytes."""

    def setUp(self) -> None:
        self.direction = SegmentQueue()
        self.direction.base = 100

    def test_position(self) -> None:
        """The position nearest to the expected one, however often numbers have wrapped."""
        for expected in (0, 2**31, 2**32 + 7, 5 * 2**32 - 1):
            self.direction.expected = expected
            for ahead in (-(2**31) + 1, -1, 0, 1, 2**31 - 1):
                sequence = (100 + expected + ahead) % 2**32
                self.assertEqual(self.direction.position(sequence), expected + ahead)

    def test_hold(self) -> None:
        """Only new bytes are held, whole pieces and parts; the first ones count."""
        for start, data in ((4, b"ef"), (8, b"ij"), (3, b"DEFGHIJK"), (4, b"EF"), (0, b"")):
            self.direction.hold(start, start + len(data), data)
        self.assertEqual((self.direction.pieces, self.direction.held), (5, 5 * PIECE_OVERHEAD_BYTES + 8))
        self.assertEqual(list(self.direction.take_ready()), [])
        self.assertEqual(self.direction.skip_hole(), 3)
        self.assertEqual(b"".join(part for part in self.direction.take_ready() if isinstance(part, bytes)), b"DefGHijK")
        self.assertEqual((self.direction.pieces, self.direction.held, self.direction.expected), (0, 0, 11))
        self.direction.hold(5, 12, b"fghijkl")
        self.assertEqual(list(self.direction.take_ready()), [b"l"])

    def test_not_captured(self) -> None:
        """Bytes that were not captured are returned as a number, adjacent ones together."""
        self.direction.hold(0, 2, b"ab")
        self.direction.hold(2, 5, None)
        self.direction.hold(4, 9, None)
        self.direction.hold(9, 10, b"j")
        self.direction.hold(10, 12, None)
        self.assertEqual(list(self.direction.take_ready()), [b"ab", 7, b"j", 2])
        self.assertFalse(self.direction.has_hole)

    def test_end(self) -> None:
        """A direction is finished when all bytes before its FIN are released; it may have a hole before."""
        self.direction.finish = 3
        self.assertEqual((self.direction.has_hole, self.direction.finished), (True, False))
        self.assertFalse(self.direction.hole_is_acked())
        self.direction.peer_has = 4
        self.assertTrue(self.direction.hole_is_acked())
        self.assertEqual(self.direction.skip_hole(), 3)
        self.assertEqual((self.direction.has_hole, self.direction.finished), (False, True))
