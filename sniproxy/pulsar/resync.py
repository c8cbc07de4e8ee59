"""Finds the beginning of a frame in a stream that begins or resumes in the middle of one. Pure."""

from __future__ import annotations

import re

from sniproxy.pulsar.frames import MAX_FRAME_BYTES, FrameError, read_sizes

HIGHEST_TYPE = 82
"""The highest command type that is searched for: Pulsar 5.0's WATCH_TC_ASSIGNMENTS_CLOSE."""

_PAYLOAD_TYPES = (6, 9)
# Two sizes, under 128 and 16 MiB, then the command's type. A lookahead lets candidates overlap.
_CANDIDATE = re.compile(rb"(?s)(?=[\x00-\x07]...\x00...\x08[\x02-\x51])")
_CANDIDATE_BYTES = 10
"""Bytes by which a candidate is recognized."""


def can_begin_frame(data: bytes, limit: int = MAX_FRAME_BYTES) -> bool | None:
    """Whether a stream's first bytes can begin a frame, with any command type. None: too few bytes to tell."""
    if len(data) < 10:
        # A frame is at least 10 bytes long: two sizes and a type.
        return None
    try:
        read_sizes(data, 0, limit)
    except FrameError:
        return False
    return data[8] == 0x08 and data[9] < 128


def frame_at(data: bytes, at: int, limit: int = MAX_FRAME_BYTES) -> bool | None:
    """Whether a frame of a known type begins at offset ``at``. None: too few bytes to tell.

    The sizes must be consistent, and the command must consist of a type and one sub-message whose field number is that
    type and that ends where the command ends.
    """
    if len(data) < at + _CANDIDATE_BYTES:
        return None
    try:
        size, command_size = read_sizes(data, at, limit)
    except FrameError:
        return False
    kind = data[at + 9]
    if data[at + 8] != 0x08 or not 2 <= kind <= HIGHEST_TYPE:
        return False
    if (size == 4 + command_size) == (kind in _PAYLOAD_TYPES):
        return False
    tag, behind = _varint(data, at + 10)
    if tag is None:
        return None if behind else False
    if tag != kind << 3 | 2:
        return False
    length, behind = _varint(data, behind)
    if length is None:
        return None if behind else False
    return behind + length == at + 8 + command_size


def _varint(data: bytes, at: int) -> tuple[int | None, int]:
    """A varint of at most 4 bytes and the offset after it. None and 1: truncated; None and 0: too long."""
    value = 0
    for step in range(4):
        if at + step >= len(data):
            return None, 1
        byte = data[at + step]
        value |= (byte & 0x7F) << 7 * step
        if byte < 0x80:
            return value, at + step + 1
    return None, 0


class FrameSearch:
    """Searches a stream for the beginning of a frame. Holds only a few bytes.

    ``limit``: the largest frame in bytes. ``skipped``: the number of bytes before the held ones.
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self.limit = limit
        self.skipped = 0
        self._held = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes. Return all bytes from the beginning of a frame on, or None if no frame was found."""
        data = self._held + data
        for match in _CANDIDATE.finditer(data):
            found = frame_at(data, match.start(), self.limit)
            if found is False:
                continue
            self.skipped += match.start()
            self._held = b"" if found else data[match.start() :]
            return data[match.start() :] if found else None
        # A frame may begin in the last bytes.
        keep = max(0, len(data) - _CANDIDATE_BYTES + 1)
        self.skipped += keep
        self._held = data[keep:]
        return None
