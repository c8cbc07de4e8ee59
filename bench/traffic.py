"""Makes Pulsar traffic: of a producer that sends much, and of a client that looks topics up."""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from attrs import frozen

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import encode_section

TOPIC = "persistent://public/default/orders-{}"
CYCLE = 16_000_000
"""Bytes of the frames that are sent repeatedly: more than a CPU's L2 cache holds."""

_FIRST_SEQUENCE = 200_000
_CHECKSUM = b"\x0e\x01\x12\x34\x56\x78"


@frozen
class Produce:
    """A producer's connection. Frames and receipts form a cycle that is repeated.

    ``hello``: the client's first command, answered by ``welcome``. ``frames``: consecutive SENDs; ``ends``: the end
    offset of each. ``receipts``, ``receipt_ends``: the answers.
    """

    hello: bytes
    welcome: bytes
    frames: bytes
    ends: Sequence[int]
    receipts: bytes
    receipt_ends: Sequence[int]

    def receipt_bytes(self, received: int) -> int:
        """Bytes of receipts that are due after ``received`` bytes of frames."""
        cycles, rest = divmod(received, len(self.frames))
        whole = bisect_right(self.ends, rest)
        return cycles * len(self.receipts) + (self.receipt_ends[whole - 1] if whole else 0)

    def frames_in(self, cycles: int) -> int:
        """Number of SENDs in ``cycles`` cycles."""
        return cycles * len(self.ends)


def send_receipts(sock: socket.socket, traffic: Produce, received: int, sent: int) -> int:
    """Send the receipts that are due after ``received`` bytes of frames. Returns the receipts' bytes sent so far.

    ``sent``: those of the calls before.
    """
    receipts = memoryview(traffic.receipts)
    due = traffic.receipt_bytes(received)
    while sent < due:
        at = sent % len(receipts)
        part = receipts[at : at + due - sent]
        sock.sendall(part)
        sent += len(part)
    return sent


def produce(size: int, cycle: int = CYCLE) -> Produce:
    """Frames of ``size`` bytes on average, from half to one and a half of it. Always the same."""
    random = Random(size)
    frames: list[bytes] = []
    receipts: list[bytes] = []
    length = 0
    noise = random.randbytes(2 * size)
    while length < cycle:
        sequence = _FIRST_SEQUENCE + len(frames)
        frames.append(_send(sequence, noise[: size // 2 + random.randrange(size)]))
        message = pb.MessageIdData(ledgerId=4321, entryId=_FIRST_SEQUENCE + len(frames))
        receipts.append(write(pb.CommandSendReceipt(producer_id=1, sequence_id=sequence, message_id=message)))
        length += len(frames[-1])
    return Produce(
        write(pb.CommandConnect(client_version="bench", protocol_version=21))
        + write(pb.CommandProducer(topic=TOPIC.format(0), producer_id=1, request_id=1)),
        write(pb.CommandConnected(server_version="bench", protocol_version=21, max_message_size=5 * 1024 * 1024))
        + write(pb.CommandProducerSuccess(request_id=1, producer_name="bench-1")),
        b"".join(frames),
        list(accumulate(map(len, frames))),
        b"".join(receipts),
        list(accumulate(map(len, receipts))),
    )


def _send(sequence: int, payload: bytes) -> bytes:
    return write(pb.CommandSend(producer_id=1, sequence_id=sequence), _section(sequence, payload))


def _section(sequence: int, payload: bytes) -> bytes:
    metadata = pb.MessageMetadata(
        producer_name="bench-1", sequence_id=sequence, publish_time=1_700_000_000_000 + sequence
    )
    return _CHECKSUM + encode_section(metadata.SerializeToString(), payload)


def messages(size: int, cycle: int = CYCLE) -> bytes:
    """MESSAGEs as a consumer receives them, with sizes as in `produce`."""
    random = Random(size)
    noise = random.randbytes(2 * size)
    frames: list[bytes] = []
    length = 0
    while length < cycle:
        message = pb.MessageIdData(ledgerId=4321, entryId=_FIRST_SEQUENCE + len(frames))
        section = _section(_FIRST_SEQUENCE + len(frames), noise[: size // 2 + random.randrange(size)])
        frames.append(write(pb.CommandMessage(consumer_id=1, message_id=message), section))
        length += len(frames[-1])
    return b"".join(frames)


def lookups(count: int) -> list[tuple[bytes, bytes]]:
    """``count`` lookups of different topics, each with its response."""
    kind = pb.CommandLookupTopicResponse.LookupType.Connect
    return [
        (
            write(pb.CommandLookupTopic(topic=TOPIC.format(number), request_id=number)),
            write(
                pb.CommandLookupTopicResponse(
                    request_id=number,
                    response=kind,
                    brokerServiceUrl=f"pulsar://broker-{number % 8}.pulsar.test:6650",
                    brokerServiceUrlTls=f"pulsar+ssl://broker-{number % 8}.pulsar.test:6651",
                    authoritative=True,
                )
            ),
        )
        for number in range(count)
    ]
