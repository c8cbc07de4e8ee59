"""Producers: their names, and the messages that they send. Pure."""

from __future__ import annotations

from contextlib import suppress

from google.protobuf.message import DecodeError

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError
from sniproxy.pulsar.frames import read_section
from sniproxy.testing.pulsar.hidden import bytes_of, number_of
from sniproxy.testing.pulsar.schemas import store_schema
from sniproxy.testing.pulsar.session import MAX_OPEN, NO_REQUEST, ClientSession
from sniproxy.testing.pulsar.state import MAX_ATTACHED, RequestError, require_short
from sniproxy.testing.pulsar.topics import AttachedProducer

_EPOCH = 8  # of PRODUCER
_ACCESS_MODE = 10
_KEY = 6  # of the metadata of a message
_DUPLICATE = pb.MessageIdData(ledgerId=NO_REQUEST, entryId=NO_REQUEST)  # -1:-1


def open_producer(session: ClientSession, request: pb.CommandProducer) -> None:
    """PRODUCER."""
    session.require_ownership(request.topic)
    if number_of(request, _ACCESS_MODE, 0):
        raise RequestError(pb.UnsupportedVersionError, "the embedded broker has shared access of producers only")
    topic = session.cluster.topic(request.topic)
    require_short(request.producer_name)
    number = request.producer_id
    session.detach_producer(number)
    name = request.producer_name or f"{session.broker}-{session.client}-{number}"
    epoch = number_of(request, _EPOCH, 0)
    other = topic.producers.get(name)
    if other is not None and epoch <= other.epoch:
        raise RequestError(pb.ProducerBusy, f"a producer with the name {name} is connected already")
    if len(session.producers) >= MAX_OPEN or len(topic.producers) >= MAX_ATTACHED:
        raise RequestError(pb.NotAllowedError, "too many producers")
    version = store_schema(session, request)
    session.report("PRODUCER", request.topic)

    def close_command() -> pb.CommandCloseProducer:
        return pb.CommandCloseProducer(producer_id=number, request_id=NO_REQUEST)

    endings = session.endings(number, session.detach_producer, close_command, pb.CommandTopicMigrated.Producer)
    producer = AttachedProducer(name, epoch, *endings)
    topic.producers[name] = producer
    session.producers[number] = (request.topic, producer)
    session.answer(
        pb.CommandProducerSuccess(
            request_id=request.request_id,
            producer_name=name,
            last_sequence_id=session.cluster.last_sequence_id(request.topic, name),
            schema_version=version,
        )
    )


def store_message(session: ClientSession, send: pb.CommandSend, section: bytes) -> None:
    """SEND: store the payload section as it is, and answer with a receipt. Its checksum is not verified."""
    # Validate the section, or consumers would fail to parse it.
    metadata = pb.MessageMetadata()
    with suppress(DecodeError):
        metadata.ParseFromString(read_section(section).metadata)
    if not metadata.IsInitialized():
        raise CommandError("SEND with invalid metadata")
    number = send.producer_id
    if number not in session.producers:
        # As real brokers: such messages may be on their way when the broker closes a producer.
        return
    name, producer = session.producers[number]
    topic = session.cluster.topic(name)
    last = max(send.sequence_id, send.highest_sequence_id)
    where = _DUPLICATE
    if not session.cluster.is_repeated(name, producer.name, last):
        key = bytes_of(metadata, _KEY) or b""
        entry = session.cluster.publish(name, section, max(1, send.num_messages), metadata.publish_time, key)
        session.cluster.remember(name, producer.name, last)
        where = pb.MessageIdData(ledgerId=topic.ledger, entryId=entry)
    session.report("SEND", name)
    session.answer(
        pb.CommandSendReceipt(
            producer_id=number,
            sequence_id=send.sequence_id,
            highest_sequence_id=send.highest_sequence_id,
            message_id=where,
        )
    )


def close_producer(session: ClientSession, request: pb.CommandCloseProducer) -> None:
    """CLOSE_PRODUCER of the client."""
    session.detach_producer(request.producer_id)
    session.answer(pb.CommandSuccess(request_id=request.request_id))
