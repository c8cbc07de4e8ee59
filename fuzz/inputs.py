"""What targets make of the fuzzer's bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sniproxy.pulsar.frames import FrameReader, encode
from tests.pulsar import streams

FRAMES = sorted(
    {
        (side == "client", frame.command, frame.section[:200])
        for name in streams.NAMES
        for side in ("client", "broker")
        for frame in FrameReader().feed(streams.side_of(name, side))
    }
)
"""Frames of real clients and brokers: whether the client has sent it, the command, and the section's beginning."""


def pieces(data: bytes) -> Iterator[bytes]:
    """The data after its first byte, in pieces of that size."""
    size = max(data[0], 1) if data else 1
    for at in range(1, len(data), size):
        yield data[at : at + size]


def talk(data: bytes) -> tuple[int, list[tuple[bool, bytes]]]:
    """Real frames, some with a byte replaced, and at the end bytes that may be anything.

    @return: a size for pieces, and who sends what; True: the client.
    """
    size = max(data[0], 1) if data else 1
    said = []
    for which, at, value in struct.iter_unpack(">HHB", data[1 : 1 + (len(data) - 1) // 5 * 5]):
        by_client, command, section = FRAMES[which % len(FRAMES)]
        frame = bytearray(encode(command, section))
        if at:
            frame[at % len(frame)] = value
        said.append((by_client, bytes(frame)))
    rest = data[1 + (len(data) - 1) // 5 * 5 :]
    return size, [*said, (bool(size & 1), rest)]
