"""Splits a byte stream into Pulsar frames, and writes frames. Pure.

The format of a frame is described on Pulsar's page "Binary protocol". All numbers are unsigned, 32 bits, big endian::

    [size of all that follows][size of the command][command]                       a simple frame
    [size of all that follows][size of the command][command][payload section]      SEND and MESSAGE

and a payload section::

    ([0x0e02, 16 bits][size][broker entry metadata])?  ([0x0e01, 16 bits][crc32c])?  [size][metadata][payload]

This module does not read commands or payloads.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from attrs import frozen

MAX_FRAME_BYTES = 5 * 1024 * 1024 + 10 * 1024
"""Largest frame, including its first four bytes, that clients and brokers accept by default: a message of 5 MiB, and
10 KiB for the bytes around it."""

_SIZE = struct.Struct(">I")
_SIZES = struct.Struct(">II")
_BROKER_ENTRY = b"\x0e\x02"
_CHECKSUM = b"\x0e\x01"


@frozen
class Frame:
    """One frame: its serialized command and its payload section, which is empty for a simple frame.

    ``section`` can be forwarded unchanged (:func:`encode`), or read by :func:`read_section`.
    """

    command: bytes
    section: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the frame on the wire."""
        return _SIZES.size + len(self.command) + len(self.section)


class FrameError(Exception):
    """The bytes are not a Pulsar frame, or the frame is too large. The stream cannot be read any further.

    ``frames``: the whole frames before the bad one in the same call.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.frames: list[Frame] = []


class FrameReader:
    """Splits one direction of a connection into frames.

    ``limit``: the largest frame in bytes, including its first four. It may be changed at any time, for instance to the
    size that the broker announces in CONNECTED, plus 10 KiB.
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self.limit = limit
        self._held = bytearray()

    @property
    def rest(self) -> bytes:
        """The bytes of an unfinished frame; after a `FrameError`, all bytes from the bad frame on."""
        return bytes(self._held)

    @property
    def held(self) -> int:
        """Number of bytes of `rest`."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream. Return the frames that they complete, oldest first.

        Raises `FrameError` as soon as the two sizes of a frame are read and are wrong.
        """
        self._held += data
        frames: list[Frame] = []
        at = 0
        try:
            while len(self._held) - at >= _SIZES.size:
                size, command_size = read_sizes(self._held, at, self.limit)
                end = at + _SIZE.size + size
                if len(self._held) < end:
                    break
                # One copy for each part, however many pieces it arrived in.
                start = at + _SIZES.size
                with memoryview(self._held) as view:
                    command = bytes(view[start : start + command_size])
                    section = bytes(view[start + command_size : end])
                frames.append(Frame(command, section))
                at = end
        except FrameError as error:
            error.frames = frames
            raise
        finally:
            # CPython drops the front of a bytearray without moving the rest, so the work stays linear.
            del self._held[:at]
        return frames

    def each(self, data: bytes) -> Iterator[Frame]:
        """Like `feed`, but yield the frames one by one, and those before a bad frame before the `FrameError`."""
        try:
            yield from self.feed(data)
        except FrameError as error:
            yield from error.frames
            raise


def read_sizes(data: bytes | bytearray, at: int, limit: int) -> tuple[int, int]:
    """Read the two sizes of the frame at offset ``at``, of which at least 8 bytes must be there.

    Raises `FrameError` if the frame is larger than ``limit``, or its command larger than the frame.
    """
    size, command_size = _SIZES.unpack_from(data, at)
    if _SIZE.size + size > limit:
        raise FrameError(f"frame of {_SIZE.size + size} bytes is over the limit of {limit}")
    if _SIZE.size + command_size > size:
        raise FrameError(f"command of {command_size} bytes in a frame of {_SIZE.size + size} bytes")
    return size, command_size


@frozen
class Section:
    """The parts of a payload section. ``payload`` is a view of the section, without a copy.

    ``broker_entry`` (serialized broker entry metadata) and ``checksum`` (crc32c of all bytes after it) are None if the
    sender left them out. The checksum is not verified.
    """

    broker_entry: bytes | None
    checksum: int | None
    metadata: bytes
    payload: memoryview


def read_section(section: bytes) -> Section:
    """Read the parts of a payload section. Raises `FrameError` if its sizes contradict each other."""
    layout = locate(section, 0, len(section), len(section))
    # An offset would lie behind the section's end, and then locate raises an error.
    assert isinstance(layout, Layout)
    entry = None if layout.entry is None else section[slice(*layout.entry)]
    start, stop = layout.metadata
    return Section(entry, layout.checksum, section[start:stop], memoryview(section)[stop:])


class Layout(NamedTuple):
    """The parts of a payload section, as pairs of offsets: the first byte, and the byte after the last.

    The payload follows the metadata. ``entry`` (broker entry metadata) and ``checksum`` are None if the sender left
    them out.
    """

    entry: tuple[int, int] | None
    checksum: int | None
    metadata: tuple[int, int]


def locate(data: bytes | bytearray, at: int, end: int, have: int) -> Layout | int:
    """Find the parts of the payload section from ``at`` to ``end``, of which the bytes before ``have`` are there.

    If more bytes are needed, returns the offset (over ``have``, at most ``end``) before which all must be there.
    Raises `FrameError` if the sizes contradict each other.
    """
    entry = checksum = None
    magic = _magic(data, at, end)
    if at + 2 > have and at + 2 <= end:
        return at + 2
    if magic == _BROKER_ENTRY:
        found = _sized(data, at + 2, end, have, "broker entry metadata")
        if isinstance(found, int):
            return found
        entry = found
        at = entry[1]
        if at + 2 > have and at + 2 <= end:
            return at + 2
        magic = _magic(data, at, end)
    if magic == _CHECKSUM:
        at += 2 + _SIZE.size
        if at > end:
            raise FrameError("the payload section ends in its checksum")
        if at > have:
            return at
        (checksum,) = _SIZE.unpack_from(data, at - _SIZE.size)
    metadata = _sized(data, at, end, have, "metadata")
    if isinstance(metadata, int):
        return metadata
    return metadata[1] if metadata[1] > have else Layout(entry, checksum, metadata)


def _magic(data: bytes | bytearray, at: int, end: int) -> bytes | bytearray:
    return data[at : min(at + 2, end)]


def _sized(data: bytes | bytearray, at: int, end: int, have: int, what: str) -> tuple[int, int] | int:
    """The offsets of the bytes after the size at ``at``, or the offset before which all bytes must be there."""
    start = at + _SIZE.size
    if start > end:
        raise FrameError(f"the payload section ends before its {what}")
    if start > have:
        return start
    (size,) = _SIZE.unpack_from(data, at)
    if start + size > end:
        raise FrameError(f"{what} of {size} bytes, but the payload section has {end - start} left")
    return start, start + size


def encode(command: bytes, section: bytes = b"") -> bytes:
    """Write a frame with a serialized command and, for SEND and MESSAGE, a payload section."""
    return _SIZES.pack(_SIZE.size + len(command) + len(section), len(command)) + command + section


def encode_section(metadata: bytes, payload: bytes) -> bytes:
    """Write a payload section without a checksum, which the protocol does not require."""
    return _SIZE.pack(len(metadata)) + metadata + payload
