"""Cut a byte stream into Pulsar frames, and write frames; what ``walker`` shares with it. Pure.

A frame, as Pulsar's "Binary protocol" page describes it (all numbers are unsigned, 32 bits, big endian)::

    [size of all that follows][size of the command][command]                       a simple frame
    [size of all that follows][size of the command][command][payload section]      SEND and MESSAGE

and a payload section::

    ([0x0e02, 16 bits][size][broker entry metadata])?  ([0x0e01, 16 bits][crc32c])?  [size][metadata][payload]

Nothing here looks into a command or a payload.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from attrs import frozen

#: The largest frame that clients and brokers take by default, its first four bytes included: a message of
#: 5 MiB, and 10 KiB for everything around it.
MAX_FRAME_BYTES = 5 * 1024 * 1024 + 10 * 1024

_SIZE = struct.Struct(">I")
_SIZES = struct.Struct(">II")
_BROKER_ENTRY = b"\x0e\x02"
_CHECKSUM = b"\x0e\x01"


@frozen
class Frame:
    """One frame: its command, serialized, and its payload section, empty for a simple frame.

    ``section`` can be sent on as it is (:func:`encode`), or read by :func:`read_section`.
    """

    command: bytes
    section: bytes = b""

    @property
    def size(self) -> int:
        """How many bytes the frame took on the wire."""
        return _SIZES.size + len(self.command) + len(self.section)


class FrameError(Exception):
    """The bytes are no Pulsar frame, or one that is too large; nothing after them can be read.

    ``frames``: the whole frames that came before the bad one in the same call.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.frames: list[Frame] = []


class FrameReader:
    """Cuts one direction of one connection into frames.

    ``limit``: the largest frame in bytes, its first four bytes included. It may be set at any time: what a
    broker announces in CONNECTED (plus 10 KiB) holds from then on.
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self.limit = limit
        self._held = bytearray()

    @property
    def rest(self) -> bytes:
        """The bytes that are no whole frame yet; after a `FrameError`, all from the bad frame on."""
        return bytes(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream and return the frames that they complete, oldest first.

        Raises `FrameError` as soon as the two sizes of a frame can be read and are wrong.
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
                # One copy for each part, whatever the number of pieces it came in.
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
            # CPython drops the front of a bytearray without moving the rest: the work stays linear.
            del self._held[:at]
        return frames

    def each(self, data: bytes) -> Iterator[Frame]:
        """As `feed`, one by one: the frames before a bad one come before the `FrameError`."""
        try:
            yield from self.feed(data)
        except FrameError as error:
            yield from error.frames
            raise


def read_sizes(data: bytes | bytearray, at: int, limit: int) -> tuple[int, int]:
    """The two sizes of the frame at ``at``, of which at least 8 bytes are there.

    Raises `FrameError` when the frame is larger than ``limit``, or its command larger than the frame.
    """
    size, command_size = _SIZES.unpack_from(data, at)
    if _SIZE.size + size > limit:
        raise FrameError(f"a frame of {_SIZE.size + size} bytes, over the limit of {limit}")
    if _SIZE.size + command_size > size:
        raise FrameError(f"a command of {command_size} bytes in a frame of {_SIZE.size + size}")
    return size, command_size


@frozen
class Section:
    """The parts of a payload section. ``payload`` is a view into it: the payload itself is not copied.

    ``broker_entry`` (broker entry metadata, serialized) and ``checksum`` (crc32c over all that follows it)
    are None where the sender left them out. The checksum is not verified.
    """

    broker_entry: bytes | None
    checksum: int | None
    metadata: bytes
    payload: memoryview


def read_section(section: bytes) -> Section:
    """Take a frame's payload section apart; raises `FrameError` when its sizes contradict each other."""
    layout = locate(section, 0, len(section), len(section))
    # An offset would ask for bytes behind the section's end, and those are refused.
    assert isinstance(layout, Layout)
    entry = None if layout.entry is None else section[slice(*layout.entry)]
    start, stop = layout.metadata
    return Section(entry, layout.checksum, section[start:stop], memoryview(section)[stop:])


class Layout(NamedTuple):
    """Where the parts of a payload section lie: offsets of the first byte and of the one behind the last.

    The payload is what follows the metadata. ``entry`` (broker entry metadata) and ``checksum`` are None where
    the sender left them out.
    """

    entry: tuple[int, int] | None
    checksum: int | None
    metadata: tuple[int, int]


def locate(data: bytes | bytearray, at: int, end: int, have: int) -> Layout | int:
    """Find the parts of the payload section that lies from ``at`` to ``end``, by the bytes before ``have``.

    Returns an offset (over ``have``, at most ``end``) when all bytes before that one are needed to go on.
    Raises `FrameError` when the sizes contradict each other.
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
    """Where the bytes behind the size at ``at`` lie, or how many bytes must be there to tell."""
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
    """A whole frame, of a serialized command and, for SEND and MESSAGE, a payload section."""
    return _SIZES.pack(_SIZE.size + len(command) + len(section), len(command)) + command + section


def encode_section(metadata: bytes, payload: bytes) -> bytes:
    """A payload section without the checksum, which the protocol leaves to the sender's choice."""
    return _SIZE.pack(len(metadata)) + metadata + payload
