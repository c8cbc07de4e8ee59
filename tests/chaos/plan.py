"""What the two ends of a tunnel do, drawn from a seed and the tunnel's number. Pure."""

from __future__ import annotations

import random

from attrs import frozen

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import encode_section

MAX_BYTES = 1 << 18
CLIENT, TARGET = "client", "target"
_MAX_PAYLOAD = 1 << 14


@frozen
class Manner:
    """How an end behaves. ``waits``: sends only when the other end has ended its half. ``piece``: bytes of a write.

    ``pauses_s``: seconds that it does not read, after each read; 0: a fast reader. ``small_buffer``: its receive buffer
    is soon full, so that the proxy has to hold bytes.
    """

    waits: bool
    piece: int
    pauses_s: float
    small_buffer: bool


@frozen
class Plan:
    """A tunnel. ``data``: the bytes that each end sends; ``manners``: how each behaves. Both by `CLIENT` and `TARGET`.

    ``hello_bytes``: of the padding of its ClientHello, so that some take two packets.
    """

    number: int
    data: dict[str, bytes]
    manners: dict[str, Manner]
    hello_bytes: int


def draw(seed: int, number: int, frames: bool) -> Plan:
    """The plan of a tunnel. ``frames``: its bytes are frames of Pulsar's protocol."""
    chance = random.Random(f"{seed} {number}")
    make = _frames if frames else random.Random.randbytes
    data = {end: make(chance, int(MAX_BYTES ** chance.random()) - 1) for end in (CLIENT, TARGET)}
    patient = chance.choice((CLIENT, TARGET, None, None))
    manners = {}
    for end in (CLIENT, TARGET):
        piece = chance.choice((64, 1000, 16_384, 65_536, 65_536))
        if len(data[end]) > 20_000:
            piece = max(piece, 1000)
        slow = chance.random() < 0.15
        manners[end] = Manner(
            end == patient, piece, chance.uniform(0.001, 0.02) if slow else 0.0, chance.random() < 0.25
        )
    return Plan(number, data, manners, chance.choice((0, 0, 1600, 5000)))


def _frames(chance: random.Random, size: int) -> bytes:
    """Frames that carry random payloads, about so many bytes."""
    made = bytearray()
    while len(made) < size:
        payload = chance.randbytes(chance.randrange(_MAX_PAYLOAD))
        metadata = pb.MessageMetadata(producer_name="chaos", sequence_id=len(made), publish_time=1).SerializeToString()
        made += write(pb.CommandSend(producer_id=1, sequence_id=len(made)), encode_section(metadata, payload))
    return bytes(made)
