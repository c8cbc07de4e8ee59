"""What a byte stream is, by its first bytes: Pulsar frames, TLS, or something else. Pure.

Sources: Pulsar's framing (`sniproxy.pulsar.resync`), and which side sends which command; TLS records, RFC 8446 5.1.
"""

from __future__ import annotations

from enum import Enum

from sniproxy.pulsar.resync import frame_at

MAX_HELD_BYTES = 14
"""Bytes by which every stream is known."""

_EITHER = {15, 16, 18, 19}  # closing, and PING and PONG
# What only brokers send; all other commands are clients'.
_BROKERS = {3, 7, 8, 9, 13, 14, 17, 22, 24, 26, 27, 30, 31, 33, 35, 36, 38, 40, 51, 53, 55, 57, 59, 61, 63, 65, 66, 68}
_BROKERS |= {71, 74, 75, 77, 80}
_TLS_RECORDS = {20, 21, 22, 23}
_MAX_IN_RECORD = (1 << 14) + 256


class StreamKind(Enum):
    """What the bytes are. The Pulsar ones say who sends them, as far as a frame's type tells."""

    CLIENT = "Pulsar, from a client"
    BROKER = "Pulsar, from a broker"
    EITHER = "Pulsar"
    TLS = "TLS"
    OTHER = "something else, or the middle of a frame"
    MORE = "too few bytes to tell"

    @property
    def is_pulsar(self) -> bool:
        """A frame of Pulsar begins here."""
        return self in (StreamKind.CLIENT, StreamKind.BROKER, StreamKind.EITHER)


def sniff(data: bytes) -> StreamKind:
    """Say what begins with these bytes; `MAX_HELD_BYTES` of them always tell."""
    if data[:1] and data[0] in _TLS_RECORDS:
        if data[1:2] not in (b"", b"\x03"):
            return StreamKind.OTHER
        if len(data) < 5:
            return StreamKind.MORE
        # A frame of Pulsar that begins so would have 335 million bytes or more.
        return (
            StreamKind.TLS
            if data[2] <= 4 and 0 < int.from_bytes(data[3:5], "big") <= _MAX_IN_RECORD
            else StreamKind.OTHER
        )
    good = frame_at(data, 0)
    if good is None:
        return StreamKind.MORE
    if not good:
        return StreamKind.OTHER
    kind = data[9]
    if kind in _EITHER:
        return StreamKind.EITHER
    return StreamKind.BROKER if kind in _BROKERS else StreamKind.CLIENT
