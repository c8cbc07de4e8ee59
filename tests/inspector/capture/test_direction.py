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

    def test_acknowledged(self) -> None:
        """An acknowledgement covers the data up to its number; the number of the FIN itself covers no data."""
        self.direction.expected = 10
        self.assertEqual([10, 13], [self.direction.acked_position(100 + ahead) for ahead in (10, 13)])
        self.assertEqual(0, self.direction.acked_position(109))  # older than what was released
        self.direction.finish = 12
        self.assertEqual([11, 12, 12], [self.direction.acked_position(100 + ahead) for ahead in (11, 12, 13)])
        self.assertEqual([False, True], [self.direction.lacks_acked(100 + ahead) for ahead in (10, 11)])

    def test_acknowledged_without_bytes(self) -> None:
        """Before any byte, the acknowledgement of the SYN tells the beginning."""
        direction = SegmentQueue()
        direction.begin(100)
        self.assertEqual((5, 0), (direction.acked_position(105), direction.answered_to))
        direction = SegmentQueue()
        self.assertIsNone(direction.acked_position(105))
        self.assertFalse(direction.lacks_acked(105))
        direction.first = 100
        self.assertEqual(5, direction.acked_position(105))
        self.assertTrue(direction.lacks_acked(105))

    def test_answered(self) -> None:
        """Bytes that come after their answer was released are late, and nothing waits for them."""
        direction = SegmentQueue()
        for acknowledged in (0xFFFFFFF0, 108, 104):  # the last one is older
            direction.note_answer(acknowledged)
        direction.begin(100)
        self.assertEqual(8, direction.answered_to)
        self.assertFalse(direction.lacks_acked(120))
        self.assertEqual([True, False], [direction.is_late(start, start + 1, 0.0) for start in (7, 8)])
        direction.expected = 8
        self.assertTrue(direction.lacks_acked(120))
        direction.note_answer(150)  # bytes have come, so that acknowledgements count from there
        direction.begin(100)
        self.assertEqual(8, direction.answered_to)

    def test_not_answered(self) -> None:
        """A keep-alive probe of one byte, and bytes behind the acknowledged ones, are not late."""
        for sequence in (103, 104, 200):
            direction = SegmentQueue()
            direction.note_answer(104)
            direction.begin(sequence)
            self.assertEqual((0, False), (direction.answered_to, direction.is_late(0, 1, 0.0)), sequence)

    def test_late(self) -> None:
        """Bytes with an earlier time are late in an abandoned hole, or before the first byte if no SYN was seen."""
        self.direction.hold(4, 8, b"efgh")
        self.direction.latest = 2.0
        self.direction.skip_hole()
        places = ((-2, 0), (0, 4), (3, 6), (4, 8))
        self.assertEqual([True, True, True, False], [self.direction.is_late(start, end, 1.0) for start, end in places])
        self.assertEqual([False] * 4, [self.direction.is_late(start, end, 2.0) for start, end in places])
        self.direction.seen_syn = True
        self.assertFalse(self.direction.is_late(-2, 0, 1.0))
