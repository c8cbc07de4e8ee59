"""Cuts a stream of Pulsar's frames into commands and the bytes behind them. Pure.

A command is held until it is complete. Payloads are not held.
"""

from __future__ import annotations

from attrs import frozen

from sniproxy.pulsar.frames import FrameError, read_sizes

MAX_COMMAND_BYTES = 1 << 20
"""Largest command that is held and read. The frame of a larger one passes unread."""

MAX_FRAME_BYTES = 1 << 27
"""Frames that are larger are not Pulsar's: brokers have a limit of 5 MiB, which few raise."""

_SIZES = 8


@frozen
class Opening:
    """The beginning of a frame: its sizes and its command.

    @ivar raw: as it was sent, with the sizes. @ivar section: number of the frame's bytes behind it.
    """

    raw: bytes
    section: int

    @property
    def command(self) -> bytes:
        """The serialized command."""
        return self.raw[_SIZES:]


class CommandReader:
    """One direction of a connection.

    @ivar lost: why the stream is not read any more: it is not Pulsar's. Empty: it is read.
    """

    def __init__(self) -> None:
        self.lost = ""
        self._held = bytearray()
        self._behind = 0  # bytes of the current frame that are still to come

    @property
    def held(self) -> int:
        """Number of bytes that are held."""
        return len(self._held)

    @property
    def between_frames(self) -> bool:
        """Whether what L{next} has returned so far ends with a frame."""
        return not self._behind and not self.lost

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._held += data

    def next(self) -> Opening | bytes | None:
        """The next piece: the beginning of a frame, or bytes behind it. None: more bytes are needed."""
        if not self._held:
            return None
        if self._behind or self.lost:
            return self._bytes(len(self._held) if self.lost else self._behind)
        if len(self._held) < _SIZES:
            return None
        try:
            size, command = read_sizes(self._held, 0, MAX_FRAME_BYTES)
        except FrameError as error:
            self.lost = str(error)
            return self._bytes(len(self._held))
        if command > MAX_COMMAND_BYTES:
            self._behind = size + 4
            return self._bytes(self._behind)
        if len(self._held) < _SIZES + command:
            return None
        self._behind = size - 4 - command
        return Opening(self._cut(_SIZES + command), self._behind)

    def rest(self) -> bytes:
        """Give out all that is held: the beginning of a frame whose rest does not come."""
        return self._cut(len(self._held))

    def _bytes(self, most: int) -> bytes:
        piece = self._cut(most)
        self._behind = max(0, self._behind - len(piece))
        return piece

    def _cut(self, count: int) -> bytes:
        piece = bytes(self._held[:count])
        del self._held[:count]
        return piece
