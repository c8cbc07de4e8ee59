"""Walk along a stream of Pulsar frames without keeping payloads: what an inspector sees of it.

``frames.FrameReader`` hands out whole frames, payloads included. A walker holds the head of one frame at most (command
and metadata, 1 MiB in all), and steps over the rest, neither copied nor held.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sniproxy.pulsar.frames import DEFAULT_LIMIT, FrameError, locate, read_sizes

MOST_HEAD = 1024 * 1024
"""Bytes of one frame, its two sizes included, that are looked at. Of a longer head only the type is read."""

_SIZES = 8
_BEGINNING = struct.Struct(">IIBB")
_LEAST = _BEGINNING.size
_CHECKED = struct.Struct(">HII")
_CHECKSUM = 0x0E01
_TYPE_FIELD = 0x08
_SEND, _MESSAGE = 6, 9
_ENOUGH = 16
"""Bytes of a command that is too long to be held."""


class Walked(NamedTuple):
    """One whole frame that went by.

    ``type``: the value of the command's type; 0 when the command does not begin with a type under 128.
    ``command``: the command, serialized; only its beginning when ``complete`` is False.
    ``size``: bytes on the wire, the first four included. ``payload``: bytes that were stepped over.
    ``metadata``, ``entry`` (broker entry metadata): serialized, None where there is none, or where the head is longer
    than `MOST_HEAD`. ``checksum``: crc32c, None where the sender left it out.
    """

    type: int
    command: bytes
    size: int
    payload: int = 0
    metadata: bytes | None = None
    entry: bytes | None = None
    checksum: int | None = None
    complete: bool = True


class WalkError(FrameError):
    """The bytes are no Pulsar frame, or one that is too large. ``walked``: the frames before it in the same call."""

    def __init__(self, reason: str, walked: list[Walked]) -> None:
        super().__init__(reason)
        self.walked = walked


class FrameWalker:
    """Walks along one direction of one connection.

    ``limit``: the largest frame in bytes, its first four bytes included. It may be set at any time.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self._held = bytearray()
        self._skip = 0
        self._passing: Walked | None = None
        self._refused: str | None = None

    @property
    def held(self) -> int:
        """How many bytes are held at the moment."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Walked]:
        """Take the next bytes of the stream and return the frames that end in them, oldest first.

        Raises `WalkError` as soon as sizes can be read and are wrong, and from then on at every call.
        """
        walked: list[Walked] = []
        if self._refused is not None:
            raise WalkError(self._refused, walked)
        try:
            self._walk(data, walked)
        except FrameError as error:
            self._refused = str(error)
            self._held.clear()
            raise WalkError(self._refused, walked) from None
        return walked

    def _walk(self, data: bytes, walked: list[Walked]) -> None:
        at, length = self._step(data, 0, walked), len(data)
        while self._held and at < length:
            # Only what the head needs moves into the buffer, so that payload never does.
            head = self._head(self._held, 0, len(self._held))
            while isinstance(head, int) and at < length:
                take = min(head - len(self._held), length - at)
                self._held += data[at : at + take]
                at += take
                head = self._head(self._held, 0, len(self._held))
            if isinstance(head, int):
                return
            size = len(self._held)
            self._held.clear()
            self._passing, self._skip = head, head.size - size
            at = self._step(data, at, walked)
        while at < length:
            at = self._sweep(data, at, walked)
            if at == length:
                return
            head = self._head(data, at, length)
            if isinstance(head, int):
                self._held += data[at:]
                return
            if at + head.size <= length:
                walked.append(head)
                at += head.size
            else:
                self._passing, self._skip = head, head.size - (length - at)
                return

    def _sweep(self, data: bytes, at: int, walked: list[Walked]) -> int:
        """Walk over what most streams are made of: whole simple frames and messages with a checksum, nothing unusual.

        The offset of the first frame that needs a closer look. It says the same as `_head`, in a third of the time.
        """
        last, limit = len(data) - _LEAST, self.limit
        while at <= last:
            size, command_size, tag, kind = _BEGINNING.unpack_from(data, at)
            start, end = at + _SIZES, at + 4 + size
            stop = start + command_size
            if size + 4 > limit or tag != _TYPE_FIELD or kind > 127 or command_size < 2 or size + 4 > MOST_HEAD:
                break
            if stop == end:
                if end > len(data):
                    break
                walked.append(Walked(kind, data[start:stop], size + 4))
            else:
                first = stop + _CHECKED.size
                if (kind != _SEND and kind != _MESSAGE) or first > end or end > len(data):
                    break
                magic, checksum, metadata_size = _CHECKED.unpack_from(data, stop)
                behind = first + metadata_size
                if magic != _CHECKSUM or behind > end:
                    break
                message = data[start:stop], size + 4, end - behind, data[first:behind], None, checksum
                walked.append(Walked(kind, *message))
            at = end
        return at

    def _step(self, data: bytes, at: int, walked: list[Walked]) -> int:
        """Step over what is left of the frame that passes by; the offset behind it."""
        if self._passing is None:
            return at
        step = min(self._skip, len(data) - at)
        self._skip -= step
        if not self._skip:
            walked.append(self._passing)
            self._passing = None
        return at + step

    def _head(self, data: bytes | bytearray, at: int, have: int) -> Walked | int:
        """Read the head of the frame at ``at``, or say up to which offset bytes must be there to go on."""
        start = at + _SIZES
        if start > have:
            return start
        size, command_size = read_sizes(data, at, self.limit)
        stop, end = start + command_size, at + 4 + size
        room = at + MOST_HEAD
        if stop > room:
            enough = start + _ENOUGH
            if enough > have:
                return enough
            return Walked(_type(data, start, stop), bytes(data[start:enough]), 4 + size, complete=False)
        if stop > have:
            return stop
        kind = _type(data, start, stop)
        # What a command of another release carries behind it is its own affair.
        layout = locate(data, stop, end, min(have, room)) if stop < end and kind in (_SEND, _MESSAGE) else room + 1
        if isinstance(layout, int) and layout <= room:
            return layout
        # Copied only when the head is whole: it may come a byte at a time.
        command = bytes(data[start:stop])
        if isinstance(layout, int):
            return Walked(kind, command, 4 + size, end - stop)
        first, behind = layout.metadata
        entry = None if layout.entry is None else bytes(data[slice(*layout.entry)])
        return Walked(kind, command, 4 + size, end - behind, bytes(data[first:behind]), entry, layout.checksum)


def _type(data: bytes | bytearray, start: int, stop: int) -> int:
    """The type of a command by its first two bytes: all writers put it there, and all types are under 128."""
    return data[start + 1] if stop - start > 1 and data[start] == _TYPE_FIELD and data[start + 1] < 128 else 0
