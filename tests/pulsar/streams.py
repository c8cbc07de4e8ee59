"""Recorded connections (tests/data/pulsar/README), and an independent decoder."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent.parent / "data" / "pulsar"
NAMES = sorted(path.stem for path in FOLDER.glob("*.stream"))


class Segment(NamedTuple):
    """Some bytes, the sender ("client" or "broker") and the time."""

    time: float
    side: str
    data: bytes


def segments(name: str) -> list[Segment]:
    """The segments of a connection, in order."""
    whole = (FOLDER / f"{name}.stream").read_bytes()
    (began,) = struct.unpack_from(">d", whole)
    found, at = [], 8
    while at < len(whole):
        side, micros, size = struct.unpack_from(">cIH", whole, at)
        at += 7
        found.append(Segment(began + micros / 1e6, {b"c": "client", b"b": "broker"}[side], whole[at : at + size]))
        at += size
    return found


def side_of(name: str, side: str) -> bytes:
    """All bytes of one side."""
    return b"".join(segment.data for segment in segments(name) if segment.side == side)


# A decoder that shares nothing with the one under test: no generated code, whole streams only, and no patience.


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A base 128 varint and the offset after it."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def fields(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message by number, the last one of each; the last must end the message."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == 0:
            value, at = varint(data, at)
        else:
            assert wire == 2, f"wire type {wire}"
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        found[number] = value
    assert at == len(data)
    return found


class Seen(NamedTuple):
    """One frame: the command's type, its fields, the frame's size and the payload."""

    type: int
    fields: dict[int, int | bytes]
    size: int
    payload: bytes


def frames(stream: bytes) -> Iterator[Seen]:
    """The frames of a stream; the last must end the stream."""
    at = 0
    while at < len(stream):
        size, command_size = struct.unpack_from(">II", stream, at)
        frame, at = stream[at + 8 : at + 4 + size], at + 4 + size
        assert len(frame) == size - 4
        command, rest = fields(frame[:command_size]), frame[command_size:]
        number = command[1]
        assert isinstance(number, int)
        inner = command[number]
        assert isinstance(inner, bytes)
        if rest[:2] == b"\x0e\x02":
            rest = rest[6 + int.from_bytes(rest[2:6], "big") :]
        if rest[:2] == b"\x0e\x01":
            rest = rest[6:]
        payload = rest[4 + int.from_bytes(rest[:4], "big") :] if rest else b""
        yield Seen(number, fields(inner), size + 4, payload)
