"""The direction of a relay from a broker to a client, which rewrites frames."""

from __future__ import annotations

import errno

from sniproxy.bridge.answers import TYPES, Answers
from sniproxy.bridge.stream import BrokerStream
from sniproxy.pulsar.frames import FrameError
from sniproxy.relay.direction import Side
from sniproxy.relay.pacing import ROUND_S, Paced
from sniproxy.relay.tee import PacedDirection
from sniproxy.util.buffered import Share

MIN_READ_BYTES = 1 << 12
MAX_READ_BYTES = 1 << 16
"""Bounds of the bytes of one read. A read is larger if the frames of the read before took little time."""


class RewrittenDirection(PacedDirection):
    """Holds a frame that L{Answers} rewrite until it is complete, and passes all other frames at once.

    @param paced: its tap receives the broker's bytes, after the bytes that replace them have been sent.
    """

    __slots__ = ("_answers", "_share", "_size", "_stream", "_unseen")

    def __init__(self, source: Side, target: Side, head: bytes, answers: Answers, paced: Paced) -> None:
        super().__init__(source, target, head, paced)
        self._answers = answers
        self._stream = BrokerStream(TYPES, answers)
        self._size = MAX_READ_BYTES
        self._unseen = b""
        self._share = Share(source.relay.account)

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
        if self.eof or not data:  # a frame was cut: the client gets its beginning
            self._head = bytes(self._head) + self._stream.rest
        return len(data)

    def flush(self) -> int:
        try:
            return super().flush() if self.holds() else 0
        finally:
            if self._unseen:
                data, self._unseen = self._unseen, b""
                self._paced.target(data)

    def put(self, frame: bytes) -> bytes:
        """Insert a frame where the next frame begins.

        @return: what the relay is to send now. Empty: it is sent later, behind the rest of the current frame.
        """
        return self._stream.put(frame)
