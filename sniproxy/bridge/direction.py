"""A relay's direction whose frames are rewritten on their way."""

from __future__ import annotations

import errno
from collections.abc import Callable

from sniproxy.bridge.answers import TYPES, Answers
from sniproxy.bridge.stream import BrokerStream
from sniproxy.net.copying import CopyDirection
from sniproxy.net.relay import Side
from sniproxy.pulsar.frames import FrameError

Show = Callable[[bytes], None]


class RewrittenDirection(CopyDirection):
    """From a broker to a client: what L{Answers} are about is held until it is whole; all else streams through.

    @param show: is shown what came from the broker, once what follows from it has been sent.
    """

    __slots__ = ("_answers", "_show", "_stream", "_unseen")

    def __init__(self, source: Side, target: Side, head: bytes, answers: Answers, show: Show) -> None:
        super().__init__(source, target, head)
        self._answers = answers
        self._stream = BrokerStream(TYPES, answers)
        self._show = show
        self._unseen = b""

    def fill(self) -> int:
        count = CopyDirection.fill(self)
        data = bytes(self._head)
        self._unseen = data
        try:
            self._head = self._stream.feed(data)
        except FrameError as error:
            self._head = b""
            raise OSError(errno.EPROTO, f"it does not speak Pulsar: {error}") from error
        self._stream.limit = self._answers.limit
        if self.eof or not count:  # it was cut in a frame; the client shall see as much
            self._head = bytes(self._head) + self._stream.rest
        return count

    def flush(self) -> int:
        try:
            return CopyDirection.flush(self) if self.holds() else 0
        finally:
            if self._unseen:
                data, self._unseen = self._unseen, b""
                self._show(data)

    def put(self, frame: bytes) -> None:
        """Put a frame of our own into the stream, to be sent when the relay next pumps this direction."""
        self._head = bytes(self._head) + self._stream.put(frame)
