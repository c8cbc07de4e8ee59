"""Tests for the order of both directions in sniproxy.inspector.capture.streams."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.packets import ACK, FIN, RST, SYN, Segment
from sniproxy.inspector.capture.streams import Data, Ended, Piece, Reassembly
from tests.inspector.capture.building import BROKER, CLIENT, segment

TALK = [
    segment(b"", 999, flags=SYN),
    segment(b"", 1999, flags=SYN | ACK, acknowledged=1000, source=BROKER),
    segment(b"ask1", 1000, acknowledged=2000),
    segment(b"answer1", 2000, acknowledged=1004, source=BROKER),
    segment(b"ask2", 1004, acknowledged=2007),
    segment(b"answer2", 2007, acknowledged=1008, source=BROKER),
    segment(b"", 1008, flags=FIN | ACK, acknowledged=2014),
    segment(b"", 2014, flags=FIN | ACK, acknowledged=1009, source=BROKER),
]
"""A connection: two requests, two answers, and its end."""
SAID = ["ask1", "answer1", "ask2", "answer2", "fin"]


def told(pieces: list[Piece]) -> list[str]:
    """The data, and how the connection ended."""
    return [piece.data.decode() if isinstance(piece, Data) else piece.how for piece in pieces
            if isinstance(piece, Data | Ended)]  # fmt: skip


def fed(reassembly: Reassembly, *segments: Segment) -> list[str]:
    """The pieces from these segments."""
    return told([piece for one in segments for piece in reassembly.feed(one)])


class OrderTests(SynchronousTestCase):
    """An answer is not released before the bytes that it acknowledges."""

    def setUp(self) -> None:
        self.reassembly = Reassembly()

    def test_one_direction_first(self) -> None:
        """All of one direction may come before the other one."""
        for first in (CLIENT, BROKER):
            segments = sorted(TALK, key=lambda one: one.source != first)
            self.assertEqual(fed(Reassembly(), *segments), SAID)

    @given(st.permutations(range(len(TALK) - 2)))
    def test_any_order(self, order: list[int]) -> None:
        """For any order after the SYNs, all bytes come, and each answer after its request."""
        rest = [TALK[2 + at] for at in order]
        reassembly = Reassembly()
        said = fed(reassembly, *TALK[:2], *rest)
        self.assertEqual((said[:4], reassembly.late, reassembly.held), (SAID[:4], 0, 0))

    def test_time(self) -> None:
        """An answer has the time of the bytes it waited for, so latency is never negative."""
        answer = segment(b"answer1", 2000, acknowledged=1004, source=BROKER, time=1.0)
        pieces = [piece for one in (*TALK[:2], answer) for piece in self.reassembly.feed(one)]
        self.assertEqual(pieces, [])
        pieces = self.reassembly.feed(segment(b"ask1", 1000, acknowledged=2000, time=1.5))
        self.assertEqual([(one.time, one.sender) for one in pieces if isinstance(one, Data)], [(1.5, 1), (1.5, 0)])

    def test_in_vain(self) -> None:
        """An answer waits for a limited time; later bytes are counted as late."""
        answer = segment(b"answer1", 2000, acknowledged=1004, source=BROKER, time=1.0)
        self.assertEqual(fed(self.reassembly, *TALK[:2], answer), [])
        other = segment(b"x", 5, source=(b"10.0.0.9", 1), time=11.5)
        self.assertEqual(fed(self.reassembly, other), ["x", "answer1"])
        self.assertEqual(self.reassembly.late, 0)
        self.assertEqual(fed(self.reassembly, TALK[2]), ["ask1"])
        self.assertEqual((self.reassembly.late, self.reassembly.held), (1, 0))

    def test_bounded(self) -> None:
        """Memory of waiting segments is bounded, for each connection and for all."""
        for reassembly in (Reassembly(max_held_bytes_each=10_000), Reassembly(max_held_bytes=10_000)):
            fed(reassembly, *TALK[:2])
            for at in range(100):
                reassembly.feed(segment(b"x" * 1000, 2000 + at * 1000, acknowledged=1004, source=BROKER))
            self.assertLessEqual(reassembly.held, 12_000)

    def test_one_direction_only(self) -> None:
        """A capture of one direction only is released, at the latest at its end."""
        one = [one for one in TALK if one.source == BROKER]
        said = fed(self.reassembly, *one) + told(self.reassembly.finish(1.0))
        self.assertEqual(said, ["answer1", "answer2", "capture"])
        self.assertEqual(self.reassembly.held, 0)


class LateTests(SynchronousTestCase):
    """Segments that cannot be ordered are counted as late."""

    def late(self, *segments: Segment) -> int:
        reassembly = Reassembly()
        fed(reassembly, *segments)
        reassembly.finish(100.0)
        return reassembly.late

    def test_answers_first(self) -> None:
        """In a capture without the SYNs, answers may come before all of their requests."""
        self.assertEqual(self.late(TALK[3], TALK[2], TALK[5], TALK[4]), 1)
        self.assertEqual(self.late(TALK[3], TALK[5], TALK[2], TALK[4]), 2)
        self.assertEqual(self.late(TALK[3], TALK[5], TALK[6]), 0)
        self.assertEqual(self.late(*TALK[3:6]), 0)

    def test_answers_before_syn(self) -> None:
        """A SYN after its connection's packets counts as late; one with a later time begins a connection."""
        self.assertEqual(self.late(attrs.evolve(TALK[3], time=1.0), *TALK[:3]), 1)
        self.assertEqual(self.late(TALK[3], *TALK[:3]), 0)

    def test_before_the_first(self) -> None:
        """An earlier time distinguishes a late segment from a retransmission."""
        first = segment(b"ask2", 1004, time=2.0)
        self.assertEqual(self.late(first, segment(b"ask1", 1000, time=1.0)), 1)
        self.assertEqual(self.late(first, segment(b"ask1", 1000, time=2.5)), 0)

    def test_hole_given_up(self) -> None:
        """Bytes after their hole was abandoned are late, unless they are a retransmission."""
        hole = segment(b"ask2", 1004, time=1.0)
        acknowledged = segment(b"", 2000, acknowledged=1008, source=BROKER, time=1.1)
        later = segment(b"", 1008, acknowledged=2000, time=2.0)
        self.assertEqual(self.late(*TALK[:2], hole, acknowledged, later, TALK[2]), 1)
        self.assertEqual(self.late(*TALK[:2], hole, acknowledged, later, hole), 0)
        again = attrs.evolve(TALK[2], time=3.0)
        self.assertEqual(self.late(*TALK[:2], hole, acknowledged, later, again), 0)

    def test_after_the_end(self) -> None:
        """Data of a connection that has ended counts if its time is earlier; a retransmission does not."""
        reset = segment(b"", 2000, flags=RST, source=BROKER, time=1.0)
        self.assertEqual(self.late(*TALK[:2], reset, TALK[2]), 1)
        self.assertEqual(self.late(*TALK[:2], reset, attrs.evolve(TALK[2], time=2.0)), 0)

    def test_backwards(self) -> None:
        """A capture in reverse order."""
        backwards = [attrs.evolve(one, time=float(at)) for at, one in enumerate(TALK)][::-1]
        self.assertTrue(self.late(*backwards))

    def test_keep_alive(self) -> None:
        """A probe of one byte that was acknowledged before is not late."""
        answer = segment(b"answer1", 2000, acknowledged=1004, source=BROKER)
        self.assertEqual(self.late(answer, segment(b"\0", 1003, acknowledged=2007)), 0)
