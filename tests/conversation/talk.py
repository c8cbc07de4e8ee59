"""A small conversation, as frames, for tests."""

from __future__ import annotations

from google.protobuf.message import Message

from sniproxy.conversation.recorder import Recorder, Recording
from sniproxy.conversation.textform import Conversation, Side, read_conversation
from sniproxy.proxyprotocol.tlvs import crc32c
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import Frame, FrameReader

TOPIC = "persistent://public/default/orders"


def section(payload: bytes, sequence: int = 0, producer: str = "p-1") -> bytes:
    """A payload section with a correct checksum."""
    metadata = pb.MessageMetadata(producer_name=producer, sequence_id=sequence, publish_time=1_700_000_000_000)
    data = metadata.SerializeToString()
    rest = len(data).to_bytes(4) + data + payload
    return b"\x0e\x01" + crc32c(rest).to_bytes(4) + rest


def frame(message: Message, data: bytes = b"") -> Frame:
    """The frame of a command."""
    [one] = FrameReader().feed(write(message, data))
    return one


def talk(
    request: int = 7, topic: str = TOPIC, producer: int = 3, name: str = "p-1", ledger: int = 42, payload: bytes = b"hi"
) -> list[tuple[Side, bytes]]:
    """The bytes of a conversation in which a client sends one message."""
    return [
        ("client", write(pb.CommandConnect(client_version="test-1", protocol_version=20))),
        ("broker", write(pb.CommandConnected(server_version="broker-1", max_message_size=5 << 20))),
        ("client", write(pb.CommandProducer(topic=topic, producer_id=producer, request_id=request))),
        ("broker", write(pb.CommandProducerSuccess(request_id=request, producer_name=name))),
        ("client", write(pb.CommandPing())),
        ("broker", write(pb.CommandPong())),
        ("client", write(pb.CommandSend(producer_id=producer, sequence_id=0), section(payload, 0, name))),
        (
            "broker",
            write(
                pb.CommandSendReceipt(
                    producer_id=producer, sequence_id=0, message_id=pb.MessageIdData(ledgerId=ledger, entryId=0)
                )
            ),
        ),
        ("client", write(pb.CommandCloseProducer(producer_id=producer, request_id=request + 1))),
        ("broker", write(pb.CommandSuccess(request_id=request + 1))),
    ]


def recorded(bytes_of: list[tuple[Side, bytes]], recording: Recording | None = None) -> list[str]:
    """The lines that a recorder writes, with a quarter of a second between the frames."""
    lines: list[str] = []
    recorder = Recorder("c:1", "b:2", "2026-01-01", recording or Recording(), lines.append)
    time = 100.0
    for side, data in bytes_of:
        recorder.feed(side, data, time)
        time += 0.25
    recorder.end(time, "client")
    return lines


def conversation(bytes_of: list[tuple[Side, bytes]], recording: Recording | None = None) -> Conversation:
    """The conversation that is recorded of these bytes."""
    return read_conversation(recorded(bytes_of, recording))
