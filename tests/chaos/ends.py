"""Runs one end of a tunnel: sends its bytes, and compares each byte that comes."""

from __future__ import annotations

import time

from tests.chaos.plan import Manner
from tests.chaos.streams import READ_BYTES, Ended, Late, Stream, wait

SLOW_READ_BYTES = 2048
"""Bytes that a slow reader reads between two pauses."""


class Wrong(Exception):
    """Bytes came that were not sent, or not there: always a fault."""


def run_end(stream: Stream, sends: bytes, expects: bytes, manner: Manner, until: float) -> None:
    """Move bytes until both halves have ended.

    @param until: the `time.monotonic` at which it gives up. @raise Wrong: a byte differs, or there are too many.
    @raise Ended: the connection was lost, or ended before all bytes came. @raise Late: it took too long.
    """
    rest, at = memoryview(sends), 0
    their_end = our_end = False
    reads_at = 0.0
    while not (their_end and our_end):
        now = time.monotonic()
        if now >= until:
            raise Late
        moved = False
        if not their_end and now >= reads_at:
            piece = stream.receive(SLOW_READ_BYTES if manner.pauses_s else READ_BYTES)
            moved = piece is not None
            if piece:
                _compare(piece, expects, at)
                at += len(piece)
                reads_at = now + manner.pauses_s
            elif piece is not None:
                if at < len(expects):
                    raise Ended("ended early")
                their_end = True
        may_send = not our_end and (their_end or not manner.waits)
        if may_send and rest:
            sent = stream.send(rest[: manner.piece])
            moved = moved or bool(sent)
            rest = rest[sent or 0 :]
        if may_send and not rest:
            our_end = stream.end_half()
            moved = moved or our_end
        if not moved and not (their_end and our_end):
            paused = not their_end and now < reads_at
            longest = max(reads_at - now, 0.0) if paused else 60.0
            wait(stream, not their_end and not paused, may_send and not our_end, until, longest)


def _compare(piece: bytes, expects: bytes, at: int) -> None:
    right = expects[at : at + len(piece)]
    if piece != right:
        first = next((i for i, pair in enumerate(zip(piece, right, strict=False)) if pair[0] != pair[1]), len(right))
        raise Wrong(f"byte {at + first} of {len(expects)} is wrong, or should not be there")
