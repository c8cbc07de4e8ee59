"""A relay's direction whose frames are rewritten on their way."""

from __future__ import annotations

import errno

from sniproxy.bridge.answers import TYPES, Answers
from sniproxy.bridge.stream import BrokerStream
from sniproxy.pulsar.frames import FrameError
from sniproxy.relay.copy import CopyDirection
from sniproxy.relay.direction import Side
from sniproxy.relay.pacing import ROUND_S, Paced
from sniproxy.relay.tee import PacedDirection
from sniproxy.util.buffered import Share

MIN_READ_BYTES = 1 << 12
MAX_READ_BYTES = 1 << 16
"""Bytes of one read: the more, the less work the frames of the reads before have made."""


class RewrittenDirection(PacedDirection):
    """From a broker to a client: what L{Answers} are about is held until it is whole; all else streams through.

    @param paced: its tap is shown what came from the broker, once what follows from it has been sent.
    """

    __slots__ = ("_answers", "_share", "_size", "_stream", "_unseen")

    def __init__(self, source: Side, target: Side, head: bytes, answers: Answers, paced: Paced) -> None:
        super().__init__(source, target, head, paced)
        self._answers = answers
        self._stream = BrokerStream(TYPES, answers)
        self._size = MAX_READ_BYTES
        self._unseen = b""
        self._share = Share()

    def release(self) -> None:
        self._share.holds(0)
        super().release()

    def fill(self) -> int:
        data = self._unseen = self.take(self._size)
        pace = self._paced.pace
        began = pace.clock()
        try:
            self._head = self._stream.feed(data)
        except FrameError as error:
            self._head = b""
            raise OSError(errno.EPROTO, f"it does not speak Pulsar: {error}") from error
        took = pace.clock() - began
        pace.charge(took)
        self._size = MIN_READ_BYTES if took > ROUND_S else min(2 * self._size, MAX_READ_BYTES)
        self._stream.limit = self._answers.limit
        self._share.holds(self._stream.held)
        if self.eof or not data:  # it was cut in a frame; the client shall see as much
            self._head = bytes(self._head) + self._stream.rest
        return len(data)

    def flush(self) -> int:
        try:
            return CopyDirection.flush(self) if self.holds() else 0
        finally:
            if self._unseen:
                data, self._unseen = self._unseen, b""
                self._paced.target(data)

    def put(self, frame: bytes) -> None:
        """Put a frame of our own into the stream, to be sent when the relay next pumps this direction."""
        self._head = bytes(self._head) + self._stream.put(frame)
