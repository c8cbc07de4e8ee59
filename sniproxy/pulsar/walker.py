"""Reads the commands in a stream of Pulsar frames and skips payloads, for inspection. Pure.

``frames.FrameReader`` returns whole frames with their payloads. A walker holds at most the head of one frame (command
and metadata, 1 MiB in all) and skips the rest without copying it. Frames of types that the caller does not want are
counted and not copied; most frames of a stream are of this kind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

from sniproxy.pulsar.commands import CommandError, opening, type_of
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, FrameError, locate, read_sizes

MAX_HEAD_BYTES = 1024 * 1024
"""Largest head of a frame in bytes, including the two sizes. Of a longer head only the beginning is read."""

TYPES = 128
"""Command types are smaller than this number."""

_SIZES = 8
_BEGINNING = struct.Struct(">IIH")
_LEAST = _BEGINNING.size
_CHECKED = 0x0E01
_FIRST_TAG = 0x0800
_SEND, _MESSAGE = 6, 9
_BEGINNING_BYTES = 1024
"""Bytes that are read of a command that is too long to hold."""


class WalkedFrame(NamedTuple):
    """One whole frame.

    ``type``: the command's type, as protobuf reads it.
    ``command``: the serialized command; only its beginning if ``complete`` is False.
    ``size``: bytes on the wire, including the first four. ``payload``: skipped bytes.
    ``metadata``, ``entry`` (broker entry metadata): serialized; None: there is none, or the head is longer than
    `MAX_HEAD_BYTES`. ``checksum``: crc32c; None: the sender left it out.
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
    """The bytes are not a Pulsar frame, or it is too large. ``walked``: the frames before it in the same call."""

    def __init__(self, reason: str, walked: list[WalkedFrame]) -> None:
        super().__init__(reason)
        self.walked = walked


class FrameWalker:
    """Reads one direction of a connection.

    ``limit``: the largest frame in bytes, including its first four. It may be changed at any time. ``wanted``: the
    command types whose frames are returned; frames of other types are only counted.
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES, wanted: Collection[int] = range(TYPES)) -> None:
        self.limit = limit
        self._wanted = frozenset(wanted)
        # A frame is counted at its head. While its rest is skipped, _last has its type and payload.
        self._seen = [0] * TYPES
        self._payload = 0
        self._last = 0, 0
        self._skip = 0
        self._begin()

    def _begin(self) -> None:
        self._held = bytearray()
        self._passing: WalkedFrame | None = None
        self._refused: str | None = None

    def reset(self) -> None:
        """Drop an unfinished frame and an error. The next bytes begin a frame."""
        self._seen, self._payload, self._skip = self.seen, self.payload, 0
        self._begin()

    @property
    def seen(self) -> list[int]:
        """Number of whole frames of each type so far."""
        seen = self._seen.copy()
        if self._skip:
            seen[self._last[0]] -= 1
        return seen

    @property
    def payload(self) -> int:
        """Number of skipped bytes in these frames."""
        return self._payload - self._last[1] if self._skip else self._payload

    @property
    def held(self) -> int:
        """Number of bytes held now."""
        return len(self._held)

    def feed(self, data: bytes) -> list[WalkedFrame]:
        """Take the next bytes of the stream. Return the wanted frames that end in them, oldest first.

        Raises `WalkError` as soon as sizes are read and are wrong, and then at every call.
        """
        walked: list[WalkedFrame] = []
        at = self._skip
        if at > len(data):
            self._skip -= len(data)
            return walked
        if self._refused is not None:
            raise WalkError(self._refused, walked)
        self._skip = 0
        if self._passing is not None:
            walked.append(self._passing)
            self._passing = None
        try:
            self._walk(data, at, walked)
        except FrameError as error:
            self._refused = str(error)
            self._held.clear()
            raise WalkError(self._refused, walked) from None
        return walked

    def _walk(self, data: bytes, at: int, walked: list[WalkedFrame]) -> None:
        """Read from the beginning of a frame, or continue the held one."""
        length = len(data)
        while self._held and at < length:
            # Only the bytes that the head needs are copied into the buffer, never payload.
            head = self._head(self._held, 0, len(self._held))
            while isinstance(head, int) and at < length:
                take = min(head - len(self._held), length - at)
                self._held += data[at : at + take]
                at += take
                head = self._head(self._held, 0, len(self._held))
            if isinstance(head, int):
                return
            begun = at - len(self._held)
            self._held.clear()
            at = self._pass(head, begun, length, walked)
        while at < length:
            at = self._sweep(data, at, walked)
            if at == length:
                return
            head = self._head(data, at, length)
            if isinstance(head, int):
                self._held += data[at:]
                return
            at = self._pass(head, at, length, walked)

    def _pass(self, frame: WalkedFrame, at: int, length: int, walked: list[WalkedFrame]) -> int:
        """Count the frame that begins at ``at``, and return it once it is whole. Return the offset after it."""
        self._seen[frame.type] += 1
        self._payload += frame.payload
        end = at + frame.size
        wanted = frame.type in self._wanted
        if end > length:
            self._passing = frame if wanted else None
            return self._cut(frame.type, frame.payload, end, length)
        if wanted:
            walked.append(frame)
        return end

    def _cut(self, kind: int, payload: int, end: int, length: int) -> int:
        """Note that the last counted frame ends after the available bytes. Return the offset after these."""
        self._last = kind, payload
        self._skip = end - length
        return length

    def _sweep(self, data: bytes, at: int, walked: list[WalkedFrame]) -> int:
        """Read the usual frames quickly: simple frames, and messages that are only counted.

        Returns the offset of the first frame that needs `_head`, which gives the same results in more time.
        """
        length = len(data)
        most = self.limit if self.limit < MAX_HEAD_BYTES else MAX_HEAD_BYTES
        while at + _LEAST <= length:
            size, command_size, tag = _BEGINNING.unpack_from(data, at)
            kind, first, step = tag - _FIRST_TAG, at, size + 4
            if not 0 < kind < TYPES or not 6 <= command_size + 4 <= size < most - 3:
                return at
            known = opening(kind, command_size)
            if known is None or not data.startswith(known, at + _SIZES):
                return at
            if command_size + 4 < size:
                if kind in self._wanted or (kind != _SEND and kind != _MESSAGE):
                    return at
                at = self._sweep_messages(data, at, kind, command_size, most)
                if at == first:
                    return at
            elif kind in self._wanted:
                if at + step > length:
                    return at
                at += step
                self._seen[kind] += 1
                walked.append(WalkedFrame(kind, data[first + _SIZES : at], step))
            else:
                # Frames such as receipts often repeat with the same size.
                head = data[at : at + _SIZES + len(known)]
                while data.startswith(head, at):
                    at += step
                self._seen[kind] += (at - first) // step
                if at > length:
                    return self._cut(kind, 0, at, length)
        return at

    def _sweep_messages(self, data: bytes, at: int, kind: int, command_size: int, most: int) -> int:
        """Count consecutive messages that have a checksum and commands of the same type and size."""
        unpack, known, around = _message(kind, command_size)
        length, first = len(data), at
        last = length - around
        count = behind = size = metadata = 0
        while at <= last:
            size, other_size, begin, magic, metadata = unpack(data, at)
            if other_size != command_size or begin != known or magic != _CHECKED:
                break
            if not around + metadata <= size + 4 <= most:
                break
            at += size + 4
            count += 1
            behind += metadata
        self._seen[kind] += count
        self._payload += at - first - count * around - behind
        if at > length:
            return self._cut(kind, size + 4 - around - metadata, at, length)
        return at

    def _head(self, data: bytes | bytearray, at: int, have: int) -> WalkedFrame | int:
        """Read the head of the frame at ``at``, or return the offset before which all bytes must be there."""
        start = at + _SIZES
        if start > have:
            return start
        size, command_size = read_sizes(data, at, self.limit)
        if not command_size:
            raise FrameError("empty command")
        stop, end = start + command_size, at + 4 + size
        room = at + MAX_HEAD_BYTES
        if stop > room:
            enough = start + _BEGINNING_BYTES
            if enough > have:
                return enough
            beginning = bytes(data[start:enough])
            return WalkedFrame(_type(beginning, command_size), beginning, 4 + size, complete=False)
        if stop > have:
            return stop
        known = opening(data[start + 1], command_size) if command_size > 1 else None
        if known is not None and data.startswith(known, start):
            kind = data[start + 1]
        elif stop == end:
            kind = _type(bytes(data[start:stop]), command_size)
        else:
            raise FrameError("payload after a command that does not begin with its type and one field of that type")
        # Bytes after a command of another release are skipped as payload.
        layout = locate(data, stop, end, min(have, room)) if stop < end and kind in (_SEND, _MESSAGE) else room + 1
        if isinstance(layout, int) and layout <= room:
            return layout
        # Copied only once the head is whole, because it may arrive byte by byte.
        command = bytes(data[start:stop])
        if isinstance(layout, int):
            return WalkedFrame(kind, command, 4 + size, end - stop)
        first, behind = layout.metadata
        entry = None if layout.entry is None else bytes(data[slice(*layout.entry)])
        return WalkedFrame(kind, command, 4 + size, end - behind, bytes(data[first:behind]), entry, layout.checksum)


def _type(command: bytes, size: int) -> int:
    """The type of a command of this size, given all of it or its beginning."""
    if len(command) < size:
        known = opening(command[1], size)
        if known is None or not command.startswith(known):
            raise FrameError(f"command of {size} bytes does not begin with its type and one field of that type")
        return command[1]
    try:
        return type_of(command)
    except CommandError as error:
        raise FrameError(str(error)) from None


@lru_cache(256)
def _message(kind: int, command_size: int) -> tuple[Callable[[bytes, int], tuple[Any, ...]], bytes, int]:
    """A function that reads a message up to its metadata, the command's first bytes, and the size of the part read.

    The function reads two sizes, the command's first bytes, the checksum's magic and the metadata's size.
    """
    known = opening(kind, command_size) or b""
    shape = struct.Struct(f">II{len(known)}s{command_size - len(known)}xH4xI")
    return shape.unpack_from, known, shape.size
