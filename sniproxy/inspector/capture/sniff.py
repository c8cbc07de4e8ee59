"""Recognizes Pulsar and TLS by the first bytes of a stream. Pure.

Sources: Pulsar's framing (`sniproxy.pulsar.resync`), and which side sends which command; TLS records, RFC 8446 5.1.
"""

from __future__ import annotations

from enum import Enum

from sniproxy.pulsar.resync import frame_at

MAX_HELD_BYTES = 14
"""Bytes that are always enough to recognize a stream."""

_EITHER_TYPES = {15, 16, 18, 19}  # CLOSE_PRODUCER, CLOSE_CONSUMER, PING, PONG
# Types that only brokers send. All other types are sent by clients.
_BROKER_TYPES = {3, 7, 8, 9, 13, 14, 17, 22, 24, 26, 27, 30, 31, 33, 35, 36, 38, 40, 51, 53, 55, 57, 59, 61, 63, 65}
_BROKER_TYPES |= {66, 68, 71, 74, 75, 77, 80}
_TLS_RECORDS = {20, 21, 22, 23}
_MAX_RECORD_BYTES = (1 << 14) + 256


class StreamKind(Enum):
    """The kind of a stream. For Pulsar, the first frame's type may tell which side sends it."""

    CLIENT = "Pulsar, from a client"
    BROKER = "Pulsar, from a broker"
    EITHER = "Pulsar"
    TLS = "TLS"
    OTHER = "something else, or the middle of a frame"
    MORE = "too few bytes to tell"

    @property
    def is_pulsar(self) -> bool:
        """Whether the bytes begin with a Pulsar frame."""
        return self in (StreamKind.CLIENT, StreamKind.BROKER, StreamKind.EITHER)


def sniff(data: bytes) -> StreamKind:
    """Recognize a stream by its first bytes. The answer for `MAX_HELD_BYTES` of them is never ``MORE``."""
    if data[:1] and data[0] in _TLS_RECORDS:
        if data[1:2] not in (b"", b"\x03"):
            return StreamKind.OTHER
        if len(data) < 5:
            return StreamKind.MORE
        # A Pulsar frame with these first bytes would have at least 335 million bytes.
        return (
            StreamKind.TLS
            if data[2] <= 4 and 0 < int.from_bytes(data[3:5], "big") <= _MAX_RECORD_BYTES
            else StreamKind.OTHER
        )
    good = frame_at(data, 0)
    if good is None:
        return StreamKind.MORE
    if not good:
        return StreamKind.OTHER
    kind = data[9]
    if kind in _EITHER_TYPES:
        return StreamKind.EITHER
    return StreamKind.BROKER if kind in _BROKER_TYPES else StreamKind.CLIENT
