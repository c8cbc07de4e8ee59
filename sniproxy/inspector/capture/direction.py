"""One direction of a TCP connection: which bytes are next, and which wait behind a hole. Pure.

Source: RFC 9293, sequence numbers (3.4).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

PIECE_OVERHEAD_BYTES = 128
"""Bytes of memory that a held piece takes besides its data."""

MAX_GIVEN_UP = 64
"""Abandoned holes of a direction that are remembered."""

_HALF, _ALL = 1 << 31, (1 << 32) - 1


class SegmentQueue:
    """What one end of a connection sends.

    Positions count from the first byte that is known of, and do not wrap. Bytes before it have negative ones, and are
    not of interest.

    ``base``: the sequence number of position 0; None: nothing came yet. ``seen_syn``: position 0 is the very first
    byte. ``expected``: the position of the byte that comes next. ``finish``: the position of its FIN, None while there
    is none. ``peer_has``: the position up to which the other end has acknowledged. ``hole_since``: for its user's use.
    ``held``: bytes of memory that wait behind holes. ``first``: the sequence number of its first byte, as the other
    end acknowledged its SYN; None: that was not captured. ``passed_over``: the position up to which answers were
    handed out before these bytes came. ``latest``: the latest capture time of its segments, in seconds.
    """

    __slots__ = (
        "_data",
        "_ends",
        "_given_up",
        "_starts",
        "_unseen",
        "base",
        "expected",
        "finish",
        "first",
        "held",
        "hole_since",
        "latest",
        "passed_over",
        "peer_has",
        "seen_syn",
    )

    def __init__(self) -> None:
        self.base: int | None = None
        self.seen_syn = False
        self.expected = 0
        self.finish: int | None = None
        self.peer_has = 0
        self.hole_since: float | None = None
        self.first: int | None = None
        self.passed_over = 0
        # What lies behind a hole: pieces that do not overlap, in order; None for bytes that were not captured.
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._data: list[bytes | None] = []
        self.held = 0
        self.latest = float("-inf")
        self._given_up: deque[tuple[int, int]] = deque(maxlen=MAX_GIVEN_UP)
        self._unseen: int | None = None

    def begin(self, sequence: int) -> None:
        """Let position 0 be this sequence number."""
        self.base = sequence
        if self._unseen is not None:
            ahead = (self._unseen - sequence) & _ALL
            if 1 < ahead < _HALF:  # 1: a keep-alive probe of one byte
                self.passed_over = max(self.passed_over, ahead)

    def answer(self, acknowledged: int) -> None:
        """Note that the other end answers bytes up to this sequence number, while nothing of this direction is known:
        they come later, or the capture began behind them."""
        newer = self._unseen is None or (acknowledged - self._unseen) & _ALL < _HALF
        if newer and self.base is None and self.first is None:
            self._unseen = acknowledged

    def is_late(self, start: int, end: int, time: float) -> bool:
        """Whether bytes come too late to be handed out in order: behind their answer, or, with an earlier time than
        the bytes behind them (later ones are sent again), after their hole was given up or, where the SYN was not
        captured, before the first byte."""
        if self.expected <= start < self.passed_over:
            return True
        if time >= self.latest:
            return False
        before_first = start < 0 and not self.seen_syn
        return before_first or any(first < end and start < last for first, last in self._given_up)

    def lacks(self, acknowledged: int) -> bool:
        """Whether the other end acknowledges bytes that have not come and were not waited for in vain."""
        if self.expected < self.passed_over:
            return False
        position = self.answered(acknowledged)
        return position is not None and position > self.expected

    def position(self, sequence: int) -> int:
        """Where a sequence number lies, supposed that it is less than 2 GiB away from the expected one."""
        assert self.base is not None
        ahead = (sequence - self.base - self.expected) & _ALL
        return self.expected + (ahead - _ALL - 1 if ahead >= _HALF else ahead)

    def answered(self, acknowledged: int) -> int | None:
        """The position that an acknowledgement says the other end has, of a FIN that of its last byte; None: the
        beginning of this direction is not known."""
        base = self.first if self.base is None else self.base
        if base is None:
            return None
        ahead = (acknowledged - base - self.expected) & _ALL
        if ahead >= _HALF:
            return 0
        position = self.expected + ahead
        return position - (self.finish is not None and position == self.finish + 1)

    @property
    def pieces(self) -> int:
        """How many pieces are held."""
        return len(self._starts)

    @property
    def holed(self) -> bool:
        """Something is held behind bytes that have not come."""
        return bool(self._starts) or (self.finish is not None and self.expected < self.finish)

    @property
    def finished(self) -> bool:
        """All up to its FIN was handed out."""
        return self.finish is not None and self.expected >= self.finish

    def hold(self, start: int, end: int, data: bytes | None) -> None:
        """Keep what is new in these bytes: not handed out yet, and not held. ``data``: None if not captured."""
        start_of_data = start
        start = max(start, self.expected)
        at = bisect_right(self._ends, start)
        while start < end:
            if at < len(self._starts) and self._starts[at] <= start:
                start = self._ends[at]
                at += 1
                continue
            stop = min(end, self._starts[at]) if at < len(self._starts) else end
            piece = None if data is None else data[start - start_of_data : stop - start_of_data]
            self._starts.insert(at, start)
            self._ends.insert(at, stop)
            self._data.insert(at, piece)
            self.held += PIECE_OVERHEAD_BYTES + len(piece or b"")
            at += 1
            start = stop

    def ready(self) -> Iterator[bytes | int]:
        """Take what has become next: bytes, or how many bytes were not captured."""
        count = 0
        missing = 0
        for start, end, data in zip(self._starts, self._ends, self._data, strict=True):
            if start != self.expected:
                break
            count += 1
            self.expected = end
            self.held -= PIECE_OVERHEAD_BYTES + len(data or b"")
            if data is None:
                missing += end - start
                continue
            if missing:
                yield missing
                missing = 0
            yield data
        del self._starts[:count], self._ends[:count], self._data[:count]
        if missing:
            yield missing

    def leap(self) -> int:
        """Give up the first hole, of which there must be one; return how many bytes it has."""
        to = self._starts[0] if self._starts else self.finish
        assert to is not None
        missing = to - self.expected
        self._given_up.append((self.expected, to))
        self.expected = to
        return missing

    def acked_beyond_hole(self) -> bool:
        """The other end has what is missing: it will not be sent again."""
        behind = self._starts[0] if self._starts else self.finish
        return behind is not None and self.peer_has >= behind
