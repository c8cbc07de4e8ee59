"""Frames that the proxy sends on purpose, in place of a command or behind it. Pure."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from sniproxy.faults.topics import Concerned
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write

T = pb.BaseCommand.Type
CONNECTION = 2**64 - 1
"""The request id of an ERROR that concerns the connection: a broker's answer to a CONNECT that it refuses."""

MESSAGE = "a fault on purpose"
"""The message of an error, unless the fault has one."""


def error(number: int, command: Any, name: str, message: str | None) -> bytes:
    """A broker's error as the answer to a request, or in place of the answer.

    @param number: the type of the request or answer. @param command: its sub-message.
    @param name: of the ServerError. @param message: None: L{MESSAGE}.
    """
    text = MESSAGE if message is None else message
    answer: Message
    if number in (T.LOOKUP, T.LOOKUP_RESPONSE):
        failed = pb.CommandLookupTopicResponse.Failed
        answer = pb.CommandLookupTopicResponse(request_id=command.request_id, response=failed, error=name, message=text)
    elif number in (T.PARTITIONED_METADATA, T.PARTITIONED_METADATA_RESPONSE):
        bad = pb.CommandPartitionedTopicMetadataResponse.Failed
        answer = pb.CommandPartitionedTopicMetadataResponse(
            request_id=command.request_id, response=bad, error=name, message=text
        )
    elif number in (T.SEND, T.SEND_RECEIPT):
        answer = pb.CommandSendError(
            producer_id=command.producer_id, sequence_id=command.sequence_id, error=name, message=text
        )
    elif number in (T.ACK, T.ACK_RESPONSE):
        answer = pb.CommandAckResponse(
            consumer_id=command.consumer_id, request_id=command.request_id, error=name, message=text
        )
    else:
        about = CONNECTION if number in (T.CONNECT, T.CONNECTED) else command.request_id
        answer = pb.CommandError(request_id=about, error=name, message=text)
    return write(answer)


def redirect(request_id: int, url: str, *, connect: bool) -> bytes:
    """The answer to a lookup that names a broker. @param connect: as the owner, instead of one to ask next."""
    kind = pb.CommandLookupTopicResponse
    answer = kind(request_id=request_id, response=kind.Connect if connect else kind.Redirect)
    answer.authoritative = connect
    return write(_with_url(answer, "brokerServiceUrl", url))


def close(producer: bool, concerned: Concerned, url: str | None) -> bytes | None:
    """A broker's close of a producer or consumer. None: the command concerns none.

    @param url: of the broker that clients are to connect to (PIP-307). None: they look the topic up.
    """
    number = concerned.producer_id if producer else concerned.consumer_id
    if number is None:
        return None
    # Broker to client: the request id is not answered.
    closing: Message = (
        pb.CommandCloseProducer(producer_id=number, request_id=CONNECTION)
        if producer
        else pb.CommandCloseConsumer(consumer_id=number, request_id=CONNECTION)
    )
    return write(closing if url is None else _with_url(closing, "assignedBrokerServiceUrl", url))


def close_at_broker(consumer_id: int, request_id: int) -> bytes:
    """The close of a consumer towards the broker, which would otherwise keep it."""
    return write(pb.CommandCloseConsumer(consumer_id=consumer_id, request_id=request_id))


def migrate(concerned: Concerned, url: str) -> bytes | None:
    """A broker's message that the topic has moved to another cluster (PIP-188). None: the command concerns none."""
    kind = pb.CommandTopicMigrated
    if concerned.producer_id is not None:
        moved = kind(resource_id=concerned.producer_id, resource_type=kind.Producer)
    elif concerned.consumer_id is not None:
        moved = kind(resource_id=concerned.consumer_id, resource_type=kind.Consumer)
    else:
        return None
    return write(_with_url(moved, "brokerServiceUrl", url))


def _with_url(message: Message, field: str, url: str) -> Message:
    setattr(message, f"{field}Tls" if url.startswith("pulsar+ssl:") else field, url)
    return message
