"""One direction of a tunnel with faults: lets bytes pass, holds them, changes them, or ends. Pure.

The gate holds at most what one read has brought, one command, and L{MAX_INSERTED_BYTES} of inserted frames: while it is
closed, nothing more is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

from sniproxy.faults.reader import CommandReader, Opening

MAX_INSERTED_BYTES = 1 << 16
"""While more wait to be inserted into a direction, the opposite one is not read."""

RATE_INTERVAL_S = 0.05
"""Seconds between two writes of a direction with a limited rate, if the rate allows a byte in that time."""

DELAY, RESET, HALF_CLOSE, STOP, CUT, DROP, RATE = "delay", "reset", "half_close", "stop", "cut", "drop", "rate"
REPLACE = "replace"
PASS = "pass"


@frozen
class Verdict:
    """What happens to a command.

    @ivar kind: C{delay}, C{reset}, C{half_close}, C{stop}, C{cut}, C{drop}, C{rate}; C{replace}: L{data} is sent in its
        place; C{pass}: it passes, and L{data} follows its frame.
    @ivar seconds: of a delay. @ivar rate: bytes per second.
    """

    kind: str
    seconds: float = 0.0
    rate: float = 0.0
    data: bytes = b""


class Judge(Protocol):
    """Decides what happens to a command. None: it passes."""

    def __call__(self, by_client: bool, opening: Opening) -> Verdict | None: ...


@frozen
class Mark:
    """Something that happens once L{at} bytes have come. @ivar decide: returns what; None: nothing."""

    at: int
    decide: Callable[[], Verdict | None]


class Gate:
    """One direction.

    @param by_client: it carries the client's bytes. @param judge: see L{Judge}. None: the bytes are not read.
    @ivar ends: C{reset}, C{half_close} or C{cut}: the direction ends so, behind what was given out. Empty: it does not.
    @ivar wake_at: when L{run} is to be called, in the seconds of its clock. None: no time is known.
    """

    def __init__(self, by_client: bool, judge: Judge | None, marks: Sequence[Mark] = ()) -> None:
        self.by_client = by_client
        self.ends = ""
        self._judge = judge
        self._reader = CommandReader() if judge is not None else None
        self._marks = deque(sorted(marks, key=lambda mark: mark.at))
        self._came = 0
        self._backlog = bytearray()  # not read yet
        self._delayed = b""  # the command that is delayed
        self._discard = 0  # bytes behind a command that was dropped
        self._inserted: deque[bytes] = deque()
        self._until: float | None = None
        self._stopped = False
        self._rate = 0.0
        self._limited = bytearray()  # waits for the rate
        self._credit, self._credited_at = 0.0, 0.0

    @property
    def closed(self) -> bool:
        """Whether reading is suspended."""
        return self._held_back or bool(self._limited)

    @property
    def limited(self) -> bool:
        """Whether bytes wait for the rate."""
        return bool(self._limited)

    @property
    def ready(self) -> bool:
        """Whether L{run} would give something out without more input and without a timer."""
        return not self._held_back and bool(self._delayed or self._backlog or (self._inserted and self._insertable))

    @property
    def full(self) -> bool:
        """Whether the opposite direction must wait before it inserts more."""
        return sum(map(len, self._inserted)) > MAX_INSERTED_BYTES

    @property
    def wake_at(self) -> float | None:
        if self._stopped or self.ends in (RESET, CUT):
            return None
        if self._limited:
            return self._credited_at + max(RATE_INTERVAL_S, (1.0 - self._credit) / self._rate)
        return self._until

    @property
    def held(self) -> int:
        """Number of bytes that are held."""
        reader = 0 if self._reader is None else self._reader.held
        inserted = sum(map(len, self._inserted))
        return len(self._backlog) + len(self._delayed) + len(self._limited) + inserted + reader

    @property
    def drained(self) -> bool:
        """Whether nothing more is given out without more input; what is incomplete does not count."""
        return not (self._held_back or self._limited or self._backlog or self._delayed)

    @property
    def lost(self) -> str:
        """Why commands are not read any more. Empty: they are."""
        return "" if self._reader is None else self._reader.lost

    def insert(self, frame: bytes) -> None:
        """Insert a frame where the next one begins. L{run} gives it out."""
        self._inserted.append(frame)

    def act(self, verdict: Verdict, now: float) -> None:
        """Let something happen now, between two pieces: C{delay}, C{reset}, C{half_close}, C{stop}, C{cut}, C{rate}."""
        if verdict.kind == DELAY:
            self._until = max(self._until or 0.0, now + verdict.seconds)
        elif verdict.kind == STOP:
            self._stopped = True
        elif verdict.kind == RATE:
            self._rate, self._credit, self._credited_at = verdict.rate, 0.0, now
        elif not self.ends:
            self.ends = verdict.kind

    def take(self, data: bytes, now: float) -> bytes:
        """Take the next bytes. @return: what passes now."""
        self.append(data)
        return self.run(now)

    def append(self, data: bytes) -> None:
        """Take the next bytes. L{run} gives them out."""
        self._backlog += data

    def run(self, now: float) -> bytes:
        """@return: what passes now, of all that is held."""
        if self._until is not None and now >= self._until:
            self._until = None
        out = bytearray()
        while not self._held_back:
            if self._delayed:
                out += self._delayed
                self._delayed = b""
            elif self._inserted and self._insertable:
                out += self._inserted.popleft()
            elif (piece := self._next()) is not None:
                self._pass(piece, out, now)
            elif not self._feed(out, now):
                break
        return self._limit(out, now)

    def rest(self) -> bytes:
        """Give out the beginning of a frame, because its source has ended."""
        return b"" if self._reader is None or self._discard else self._reader.rest()

    @property
    def _held_back(self) -> bool:
        return self._stopped or self._until is not None or bool(self.ends)

    @property
    def _insertable(self) -> bool:
        return self._reader is not None and self._reader.between_frames

    def _next(self) -> Opening | bytes | None:
        return None if self._reader is None else self._reader.next()

    def _feed(self, out: bytearray, now: float) -> bool:
        """Read more, up to the next mark. @return: whether there is more."""
        if self._marks and self._came >= self._marks[0].at:
            verdict = self._marks.popleft().decide()
            if verdict is not None:
                if verdict.kind in (HALF_CLOSE, CUT):  # exactly so many bytes have passed
                    out += self.rest()
                self.act(verdict, now)
            return True
        if not self._backlog:
            return False
        count = self._marks[0].at - self._came if self._marks else len(self._backlog)
        part = bytes(self._backlog[:count])
        del self._backlog[:count]
        self._came += len(part)
        if self._reader is None:
            out += part
        else:
            self._reader.feed(part)
        return True

    def _pass(self, piece: Opening | bytes, out: bytearray, now: float) -> None:
        if isinstance(piece, bytes):
            dropped = min(self._discard, len(piece))
            self._discard -= dropped
            out += piece[dropped:]
            return
        assert self._judge is not None
        verdict = self._judge(self.by_client, piece)
        if verdict is None:
            out += piece.raw
        elif verdict.kind in (DROP, REPLACE):
            out += verdict.data
            self._discard = piece.section
        elif verdict.kind == PASS:
            out += piece.raw
            if verdict.data:
                self._inserted.append(verdict.data)
        elif verdict.kind == CUT:
            out += piece.raw[: (len(piece.raw) + piece.section) // 2]
            self.act(verdict, now)
        elif verdict.kind == RATE:
            self.act(verdict, now)
            out += piece.raw
        else:
            self._delayed = piece.raw if verdict.kind == DELAY else b""
            self.act(verdict, now)

    def _limit(self, out: bytearray, now: float) -> bytes:
        if not self._rate:
            return bytes(out)
        self._limited += out
        self._credit = min(self._credit + (now - self._credited_at) * self._rate, max(1.0, self._rate))
        self._credited_at = now
        count = min(int(self._credit), len(self._limited))
        self._credit -= count
        passed = bytes(self._limited[:count])
        del self._limited[:count]
        return passed
