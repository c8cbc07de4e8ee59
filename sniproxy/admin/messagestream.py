"""An answer of the admin endpoint without an end: messages, a line each, at the pace of its reader."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

# The values that the service reports are imported without a web server.
if TYPE_CHECKING:
    from twisted.web.server import Request

JSON_LINES = "application/jsonl"
"""The media type."""

MAX_QUEUED_BYTES = 8 << 20
"""Bytes of messages that wait for a client that does not read, besides the buffer of its connection."""

Send = Callable[[str, bool], bool]
"""Sends a message; with True, whatever waits already. @return: False: too much waits, and it was dropped."""


@implementer(IPushProducer)
class MessageStream:
    """Sends messages as the body of an answer. What its client does not read waits, up to a bound."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._paused = self._over = False

    def start(self) -> None:
        """Begin the answer."""
        self._request.setHeader(b"Content-Type", JSON_LINES.encode())
        self._request.registerProducer(self, True)

    def send(self, message: str, must: bool) -> bool:
        """Send a message. @param must: whatever waits already. @return: False: too much waits; it was dropped."""
        data = message.encode() + b"\n"
        if self._over:
            return False
        if not self._paused:
            self._request.write(data)
            return True
        if self._size + len(data) > MAX_QUEUED_BYTES and not must:
            return False
        self._waiting.append(data)
        self._size += len(data)
        return True

    def pauseProducing(self) -> None:
        """The client does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client has read."""
        self._paused = False
        while self._waiting and not self._paused:
            data = self._waiting.popleft()
            self._size -= len(data)
            self._request.write(data)

    def stopProducing(self) -> None:
        """The client has left."""
        self._over, self._size = True, 0
        self._waiting.clear()
