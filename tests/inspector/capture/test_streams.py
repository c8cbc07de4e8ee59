"""Tests for sniproxy.inspector.capture.streams."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.packets import ACK, FIN, RST, SYN, Segment
from sniproxy.inspector.capture.streams import CapturedConnection, Data, Ended, Gap, Piece, Reassembly, endpoint_text
from tests.inspector.capture.building import BROKER, BROKER6, CLIENT, endpoint, segment

FIRST = 1000
"""The sequence number of the first byte of a client, in these tests; a broker's is twice that."""


def opening(first: int = FIRST, time: float = 0.0) -> list[Segment]:
    """The SYNs of both ends."""
    return [
        segment(b"", first - 1, flags=SYN, time=time),
        segment(b"", 2 * first - 1, flags=SYN | ACK, acknowledged=first, source=BROKER, time=time),
    ]


def told(pieces: Iterable[Piece]) -> list[str | int]:
    """Pieces in short form: data with its sender, the size of a gap, the end. CLIENT is the second endpoint."""
    short: list[str | int] = []
    for piece in pieces:
        match piece:
            case Data(sender=sender, data=data):
                short.append(f"{'BC'[sender]}:{data.decode('latin-1')}")
            case Gap(missing=missing):
                short.append(missing)
            case Ended(how=how):
                short.append(how)
    return short


def both(pieces: Iterable[Piece]) -> list[bytes]:
    """All bytes of the broker and of the client; gaps as question marks."""
    streams = [b"", b""]
    for piece in pieces:
        if isinstance(piece, Data):
            streams[piece.sender] += piece.data
        elif isinstance(piece, Gap):
            streams[piece.sender] += b"?" * piece.missing
    return streams


class StreamTests(SynchronousTestCase):
    """Reassembly: orders segments."""

    def setUp(self) -> None:
        self.reassembly = Reassembly()

    def feed(self, *segments: Segment) -> list[str | int]:
        return told(self.pieces(*segments))

    def pieces(self, *segments: Segment) -> list[Piece]:
        return [piece for one in segments for piece in self.reassembly.feed(one)]

    def test_both_ways(self) -> None:
        """Each end has a stream, and a connection ends when both have ended."""
        said = self.feed(
            *opening(),
            segment(b"ab", FIRST),
            segment(b"xy", 2 * FIRST, source=BROKER),
            segment(b"c", FIRST + 2, flags=FIN | ACK),
            segment(b"z", 2 * FIRST + 2, source=BROKER),
            segment(b"", 2 * FIRST + 3, source=BROKER, flags=FIN | ACK),
            segment(b"", FIRST + 4),
        )
        self.assertEqual(said, ["C:ab", "B:xy", "C:c", "B:z", "fin"])
        self.assertEqual(self.reassembly.finish(9), [])

    def test_who_opened(self) -> None:
        """The sender of the SYN is the opener, also if only the SYN-ACK was captured; else None."""
        for begin, opener in ((opening(), 1), (opening()[1:], 1), (opening()[::-1], 1), ([], None)):
            reassembly = Reassembly()
            pieces = [piece for one in [*begin, segment(b"ab", FIRST)] for piece in reassembly.feed(one)]
            self.assertEqual([piece.connection.opener for piece in pieces], [opener])

    def test_begins(self) -> None:
        """Only the first bytes after a SYN have `begins`."""
        pieces = self.pieces(*opening(), segment(b"ab", FIRST), segment(b"c", FIRST + 2))
        self.assertEqual([piece.begins for piece in pieces if isinstance(piece, Data)], [True, False])
        self.reassembly = Reassembly()
        self.assertEqual([piece.begins for piece in self.pieces(segment(b"ab")) if isinstance(piece, Data)], [False])

    def test_out_of_order(self) -> None:
        """Early segments wait; their time is that of the segment that completes them."""
        pieces = self.pieces(
            *opening(),
            segment(b"ef", FIRST + 4, time=1),
            segment(b"cd", FIRST + 2, time=2),
            segment(b"ab", FIRST, time=3),
        )
        self.assertEqual(told(pieces), ["C:ab", "C:cd", "C:ef"])
        self.assertEqual([piece.time for piece in pieces], [3, 3, 3])
        self.assertEqual(self.reassembly.held, 0)

    def test_retransmitted(self) -> None:
        """Old bytes are dropped, also if they overlap with new ones, and so are keepalive probes."""
        said = self.feed(
            *opening(),
            segment(b"abcd", FIRST),
            segment(b"abcd", FIRST),
            segment(b"cdef", FIRST + 2),
            segment(b"\0", FIRST + 5),
            segment(b"g", FIRST + 6),
        )
        self.assertEqual(said, ["C:abcd", "C:ef", "C:g"])

    def test_overlapping(self) -> None:
        """If held segments overlap, the first counts; one may cover several others."""
        said = self.feed(
            *opening(),
            segment(b"CD", FIRST + 2),
            segment(b"GH", FIRST + 6),
            segment(b"bcdefghi", FIRST + 1),
            segment(b"a", FIRST),
        )
        self.assertEqual("".join(str(one)[2:] for one in said), "abCDefGHi")

    def test_from_the_middle(self) -> None:
        """A capture may begin anywhere: a stream starts with the first data, not with acknowledgements."""
        said = self.feed(
            segment(b"", FIRST - 1),
            segment(b"", 2 * FIRST - 1, source=BROKER),
            segment(b"ab", FIRST),
            segment(b"xy", 2 * FIRST, source=BROKER),
            segment(b"before", FIRST - 6),
            segment(b"c", FIRST + 2),
        )
        self.assertEqual(said, ["C:ab", "B:xy", "C:c"])

    def test_wrap(self) -> None:
        """Sequence numbers wrap to zero."""
        first = 2**32 - 3
        segments = [segment(bytes((65 + at,)), first + at) for at in range(6)]
        said = self.feed(*opening(first), *reversed(segments))
        self.assertEqual(said, ["C:A", "C:B", "C:C", "C:D", "C:E", "C:F"])

    def test_long_stream(self) -> None:
        """A stream may be longer than 4 GiB."""
        self.feed(segment(b"a", FIRST))
        for step in range(1, 10):
            # As if 1 GiB had passed at once.
            size = 1 << 30
            self.assertEqual(self.feed(segment(b"", FIRST + 1 + (step - 1) * size, cut=size)), [size])
        self.assertEqual(self.feed(segment(b"b", FIRST + 1 + 9 * size), segment(b"a", FIRST)), ["C:b"])

    def test_acknowledged_hole(self) -> None:
        """Missing bytes that the other end has acknowledged are a gap after a short wait."""
        acked = segment(b"", 2 * FIRST, source=BROKER, acknowledged=FIRST + 9, time=1.1)
        said = self.feed(*opening(), segment(b"ab", FIRST), segment(b"ef", FIRST + 4, time=1.0), acked)
        self.assertEqual(said, ["C:ab"])
        self.assertEqual(self.feed(segment(b"gh", FIRST + 6, time=1.2)), [])
        self.assertEqual(self.feed(segment(b"", 2 * FIRST, source=BROKER, time=1.3)), [2, "C:ef", "C:gh"])

    def test_hole(self) -> None:
        """Other holes wait longer; any connection's segment may end the wait."""
        other = endpoint("10.0.0.9", 5)
        self.assertEqual(self.feed(*opening(), segment(b"ef", FIRST + 4, time=1)), [])
        self.assertEqual(self.feed(segment(b"1", 1, source=other, time=10.9)), ["B:1"])
        self.assertEqual(self.feed(segment(b"2", 2, source=other, time=11.2)), ["B:2", 4, "C:ef"])
        self.assertEqual(self.feed(segment(b"late", FIRST, time=12)), [])

    def test_cut_packets(self) -> None:
        """Truncated bytes are a gap at once, unless another packet has them."""
        self.assertEqual(
            self.feed(*opening(), segment(b"ab", FIRST, cut=10), segment(b"c", FIRST + 12)), ["C:ab", 10, "C:c"]
        )
        self.assertEqual(
            self.feed(segment(b"f", FIRST + 15, cut=3), segment(b"de", FIRST + 13), segment(b"g", FIRST + 19)),
            ["C:de", "C:f", 3, "C:g"],
        )

    def test_reset(self) -> None:
        """A reset ends a connection; bytes behind a hole are released."""
        said = self.feed(
            *opening(), segment(b"cd", FIRST + 2), segment(b"", FIRST + 4, flags=RST), segment(b"x", FIRST + 4)
        )
        self.assertEqual(said, [2, "C:cd", "rst"])

    def test_hole_before_the_end(self) -> None:
        """Missing bytes before a FIN are a gap, too."""
        said = self.feed(*opening(), segment(b"", FIRST + 5, flags=FIN | ACK))
        self.assertEqual((said, told(self.reassembly.finish(1))), ([], [5, "capture"]))

    def test_reuse(self) -> None:
        """A SYN with a new number begins a connection on the same ports, and ends the old one."""
        pieces = self.pieces(
            *opening(),
            segment(b"ab", FIRST),
            *opening(),
            segment(b"c", FIRST + 2),
            *opening(50_000),
            segment(b"new", 50_000),
            segment(b"", 50_003, flags=RST),
            *opening(90_000),
            segment(b"newer", 90_000),
        )
        self.assertEqual(told(pieces), ["C:ab", "C:c", "reused", "C:new", "rst", "C:newer"])
        self.assertEqual([(piece.connection.number, piece.connection.earlier) for piece in pieces][-1], (3, 2))
        self.assertEqual(self.reassembly.connections, 3)

    def test_late_packets(self) -> None:
        """Retransmissions after the end, resets and acknowledgements begin no connection."""
        end = [
            segment(b"", FIRST + 2, flags=FIN | ACK),
            segment(b"", 2 * FIRST, source=BROKER, flags=FIN | ACK),
        ]
        said = self.feed(*opening(), segment(b"ab", FIRST), *end, segment(b"ab", FIRST), *end, *opening())
        self.assertEqual(said, ["C:ab", "fin"])
        self.reassembly = Reassembly()
        self.assertEqual(self.feed(segment(b"", 5), segment(b"x", 5, flags=RST)), [])
        self.assertEqual(self.reassembly.connections, 0)

    def test_max_connections(self) -> None:
        """Beyond the limit, the connection with the oldest segment is dropped, and its bytes are released."""
        self.reassembly = Reassembly(max_connections=2)
        ends = [endpoint("10.0.0.1", port) for port in range(3)]
        for end in ends[:2]:
            self.feed(segment(b"a", 1, source=end), segment(b"c", 3, source=end))
        self.feed(segment(b"z", 4, source=ends[0]))
        self.assertEqual(self.feed(segment(b"a", 1, source=ends[2])), [1, "B:c", "forgotten", "B:a"])

    def test_max_held_bytes(self) -> None:
        """Held memory is bounded, for each stream and for all; the oldest hole is abandoned first."""
        self.reassembly = Reassembly(max_held_bytes_each=10_000, max_held_bytes=15_000)
        ends = [endpoint("10.0.0.1", port) for port in (1, 2)]
        for end in ends:
            self.feed(segment(b"a", 1, source=end))
        self.assertEqual(self.feed(segment(b"x" * 8_000, 10, source=ends[0])), [])
        self.assertEqual(self.feed(segment(b"y" * 8_000, 10, source=ends[1])), [8, "B:" + "x" * 8_000])
        self.assertEqual(self.feed(segment(b"z" * 2_000, 90_000, source=ends[1])), [8, "B:" + "y" * 8_000])
        self.assertLess(self.reassembly.held, 2_200)

    def test_small_pieces(self) -> None:
        """Pieces of a byte count with their overhead."""
        for at in range(40_000):
            self.reassembly.feed(segment(b"x", FIRST + 2 * at + (at > 0)))
        self.assertLessEqual(self.reassembly.held, 4 << 20)

    def test_endpoint_text(self) -> None:
        """IPv6 addresses have brackets."""
        self.assertEqual([endpoint_text(CLIENT), endpoint_text(BROKER6)], ["127.0.0.1:40000", "[fd00::2]:6650"])

    def test_connections_differ(self) -> None:
        """Two connections are different even if all their fields are equal."""
        self.assertNotEqual(CapturedConnection(1, (CLIENT, BROKER)), CapturedConnection(1, (CLIENT, BROKER)))


@st.composite
def cuttings(draw: st.DrawFn) -> tuple[bytes, int, list[Segment]]:
    """A stream, its first sequence number, and segments that cover it: reordered, duplicated and overlapping."""
    stream = draw(st.binary(min_size=1, max_size=60))
    first = draw(st.sampled_from([1, 2**31 - 20, 2**32 - 20, 2**32 - 1]))
    cuts = sorted({0, len(stream), *draw(st.lists(st.integers(0, len(stream)), max_size=12))})
    spans = list(pairwise(cuts))
    extra = draw(st.lists(st.tuples(st.integers(0, len(stream)), st.integers(0, len(stream))), max_size=8))
    spans += [(min(span), max(span)) for span in extra] + draw(st.lists(st.sampled_from(spans), max_size=5))
    segments = [segment(stream[start:end], first + start) for start, end in draw(st.permutations(spans))]
    end = segment(b"", first + len(stream), flags=FIN | ACK)
    segments.insert(draw(st.integers(0, len(segments))), end)
    return stream, first, segments


class AnyOrderTests(SynchronousTestCase):
    """Reassembly of segments that TCP has reordered, repeated or lost."""

    @given(cuttings())
    @settings(max_examples=400)
    def test_same_bytes(self, cutting: tuple[bytes, int, list[Segment]]) -> None:
        """Any permutation, duplication and overlap of segments gives the same bytes, once, without a gap."""
        stream, first, segments = cutting
        reassembly = Reassembly()
        pieces = [piece for one in [*opening(first), *segments] for piece in reassembly.feed(one)]
        self.assertEqual(both(pieces), [b"", stream])
        self.assertNotIn(Gap, {type(piece) for piece in pieces})
        self.assertEqual(reassembly.held, 0)
        self.assertEqual(told(reassembly.finish(1)), ["capture"])

    @given(cuttings(), st.data())
    @settings(max_examples=400)
    def test_with_losses(self, cutting: tuple[bytes, int, list[Segment]], data: st.DataObject) -> None:
        """If segments are missing or truncated, the other bytes keep their places between gaps."""
        stream, first, segments = cutting
        kept = []
        have = set()
        for one in segments:
            if one.flags & FIN or data.draw(st.booleans()):
                seen = data.draw(st.integers(0, len(one.data)))
                start = (one.sequence - first) % 2**32
                have |= set(range(start, start + seen))
                kept.append(segment(one.data[:seen], one.sequence, flags=one.flags, cut=len(one.data) - seen))
        reassembly = Reassembly()
        pieces = [piece for one in [*opening(first), *kept] for piece in reassembly.feed(one)]
        pieces += reassembly.finish(1)
        got = both(pieces)[1]
        self.assertEqual(len(got), len(stream))
        for byte, right in zip(got, stream, strict=True):
            if byte != right:
                self.assertEqual(byte, ord("?"))
        # A byte that came only after its neighbour was truncated may be abandoned already.
        self.assertTrue(all(at in have for at in range(len(got)) if got[at] != ord("?") and stream[at] != ord("?")))
        self.assertEqual(reassembly.held, 0)

    @given(
        st.lists(
            st.builds(
                segment,
                st.binary(max_size=5),
                st.integers(0, 2**32 - 1) | st.integers(0, 20),
                flags=st.sampled_from([ACK, ACK, ACK, SYN, SYN | ACK, FIN | ACK, RST, FIN | SYN, 0]),
                acknowledged=st.integers(0, 2**32 - 1) | st.integers(0, 20),
                time=st.floats(0, 100),
                source=st.sampled_from([CLIENT, BROKER, endpoint("10.0.0.1", 1)]),
                cut=st.integers(0, 3),
            ),
            max_size=40,
        )
    )
    def test_hostile(self, segments: list[Segment]) -> None:
        """Any segments raise nothing; nothing follows an end, and no memory is held at the end."""
        reassembly = Reassembly(max_connections=2, max_held_bytes_each=1000, max_held_bytes=1500)
        ended: set[CapturedConnection] = set()
        for one in segments:
            for piece in reassembly.feed(one):
                self.assertNotIn(piece.connection, ended)
                if isinstance(piece, Ended):
                    ended.add(piece.connection)
                elif isinstance(piece, Data):
                    self.assertTrue(piece.data)
                else:
                    self.assertGreater(piece.missing, 0)
            self.assertLessEqual(reassembly.held, 1500)
        last = reassembly.finish(100)
        ended |= {piece.connection for piece in last if isinstance(piece, Ended)}
        self.assertEqual((reassembly.held, len(ended)), (0, reassembly.connections))
