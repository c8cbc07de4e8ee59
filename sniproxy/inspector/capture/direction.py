"""One direction of a TCP connection: orders bytes by sequence number and holds those behind a hole. Pure.

Specification: RFC 9293, 3.4 (sequence numbers).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

PIECE_OVERHEAD_BYTES = 128
"""Memory in bytes that a held piece takes in addition to its data."""

MAX_GIVEN_UP = 64
"""Abandoned holes remembered for each direction."""

_HALF, _ALL = 1 << 31, (1 << 32) - 1


class SegmentQueue:
    """The bytes that one end of a connection sends.

    Positions count bytes from the first captured one and do not wrap. Bytes before it have negative positions and are
    dropped.

    ``base``: the sequence number of position 0; None: no bytes yet. ``seen_syn``: position 0 is the first byte of the
    direction. ``expected``: the position of the next byte. ``finish``: the position of the FIN; None: no FIN yet.
    ``peer_has``: the position up to which the other end has acknowledged. ``hole_since``: when the hole appeared, in
    seconds, set by the caller. ``held``: memory in bytes of pieces behind holes. ``first``: the sequence number of the
    first byte, from the other end's acknowledgement of the SYN; None: not captured. ``answered_to``: the position up
    to which the other end's answers were released before these bytes came. ``latest``: the latest capture time of a
    segment, in seconds.
    """

    __slots__ = (
        "_acked_before",
        "_data",
        "_ends",
        "_given_up",
        "_starts",
        "answered_to",
        "base",
        "expected",
        "finish",
        "first",
        "held",
        "hole_since",
        "latest",
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
        self.answered_to = 0
        # The pieces behind a hole, in order and without overlap. Data is None for bytes that were not captured.
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._data: list[bytes | None] = []
        self.held = 0
        self.latest = float("-inf")
        self._given_up: deque[tuple[int, int]] = deque(maxlen=MAX_GIVEN_UP)
        self._acked_before: int | None = None

    def begin(self, sequence: int) -> None:
        """Make this sequence number position 0."""
        self.base = sequence
        if self._acked_before is not None:
            ahead = (self._acked_before - sequence) & _ALL
            if 1 < ahead < _HALF:  # 1: a keep-alive probe of one byte
                self.answered_to = max(self.answered_to, ahead)

    def note_answer(self, acknowledged: int) -> None:
        """Note that the other end acknowledged bytes up to this sequence number before any byte was captured.

        The bytes arrive later, or the capture began after them.
        """
        newer = self._acked_before is None or (acknowledged - self._acked_before) & _ALL < _HALF
        if newer and self.base is None and self.first is None:
            self._acked_before = acknowledged

    def is_late(self, start: int, end: int, time: float) -> bool:
        """Whether bytes arrive too late to be released in order.

        That is after their answer was released, or, if their capture time is earlier than that of the bytes behind
        them (otherwise they are retransmissions), after their hole was abandoned or, if the SYN was not captured,
        before the first byte.
        """
        if self.expected <= start < self.answered_to:
            return True
        if time >= self.latest:
            return False
        before_first = start < 0 and not self.seen_syn
        return before_first or any(first < end and start < last for first, last in self._given_up)

    def lacks_acked(self, acknowledged: int) -> bool:
        """Whether the other end acknowledges bytes that have not arrived and are still awaited."""
        if self.expected < self.answered_to:
            return False
        position = self.acked_position(acknowledged)
        return position is not None and position > self.expected

    def position(self, sequence: int) -> int:
        """The position of a sequence number that is less than 2 GiB away from the expected one."""
        assert self.base is not None
        ahead = (sequence - self.base - self.expected) & _ALL
        return self.expected + (ahead - _ALL - 1 if ahead >= _HALF else ahead)

    def acked_position(self, acknowledged: int) -> int | None:
        """The position up to which an acknowledgement covers the data; a FIN takes no position.

        None: the beginning of this direction is not known.
        """
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
        """Number of held pieces."""
        return len(self._starts)

    @property
    def has_hole(self) -> bool:
        """Whether pieces or a FIN are held behind missing bytes."""
        return bool(self._starts) or (self.finish is not None and self.expected < self.finish)

    @property
    def finished(self) -> bool:
        """Whether all bytes up to the FIN were released."""
        return self.finish is not None and self.expected >= self.finish

    def hold(self, start: int, end: int, data: bytes | None) -> None:
        """Hold the bytes that are neither released nor held yet. ``data``: None if not captured."""
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

    def take_ready(self) -> Iterator[bytes | int]:
        """Release the bytes that are next. A number stands for that many bytes that were not captured."""
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

    def skip_hole(self) -> int:
        """Abandon the first hole, which must exist. Return its size in bytes."""
        to = self._starts[0] if self._starts else self.finish
        assert to is not None
        missing = to - self.expected
        self._given_up.append((self.expected, to))
        self.expected = to
        return missing

    def hole_is_acked(self) -> bool:
        """Whether the other end has acknowledged the missing bytes, so that they are not sent again."""
        behind = self._starts[0] if self._starts else self.finish
        return behind is not None and self.peer_has >= behind
