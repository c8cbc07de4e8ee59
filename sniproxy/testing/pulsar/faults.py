"""Faults by Pulsar's own words: what a broker does at which of its commands. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

from attrs import define
from google.protobuf.message import Message

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.topicname import full_name, is_topic
from sniproxy.testing.pulsar.session import NO_REQUEST

#: Maximum faults of a broker that have not happened yet.
MAX_FAULTS = 1000

#: Maximum seconds of a delay.
MAX_DELAY_S = 86_400.0

_COMMANDS = frozenset(pb.BaseCommand.Type.keys())
_ERRORS = {name: cast(pb.ServerError, number) for name, number in pb.ServerError.items()}

SENT_BY_BROKERS = frozenset(
    name
    for name in _COMMANDS - {"AUTH_RESPONSE"}
    if name.endswith(("_RESPONSE", "_SUCCESS", "_UPDATE", "_RECEIPT", "_ERROR"))
) | {
    "CONNECTED", "MESSAGE", "SUCCESS", "ERROR", "PING", "PONG", "CLOSE_PRODUCER", "CLOSE_CONSUMER", "AUTH_CHALLENGE",
    "ACTIVE_CONSUMER_CHANGE", "REACHED_END_OF_TOPIC", "TOPIC_MIGRATED",
}  # fmt: skip
"""Commands that brokers send. Clients send some of them, too: a fault at such a command is one of the broker's."""


class Action(Enum):
    """What happens at a command."""

    DROP = "drop"
    DELAY = "delay"
    RESET = "reset"
    HALF_CLOSE = "half_close"
    REFUSE = "refuse"


@define(eq=False)
class BrokerFault:
    """A fault at a command of this name.

    ``topic``: only commands about this topic or a partition of it; None: all commands. ``skip``: how many commands pass
    first. ``left``: how often it happens; None or 0: each time. ``seconds``: of a delay. ``error`` and ``message``:
    of a refusal.
    """

    command: str
    action: Action
    topic: str | None = None
    skip: int = 0
    left: int | None = None
    seconds: float = 0.0
    error: pb.ServerError = pb.UnknownError
    message: str = ""


class BrokerFaults:
    """The faults of one broker, oldest first: the first one that fits happens."""

    def __init__(self) -> None:
        self._faults: list[BrokerFault] = []

    def add(self, fault: BrokerFault) -> None:
        """Add a fault. Raises ValueError for an unknown command, a number that is not allowed, and too many faults."""
        if fault.command not in _COMMANDS:
            raise ValueError(f"{fault.command!r} is not the name of a command, such as SEND_RECEIPT")
        if fault.left is not None:
            _require_count("times", fault.left)
        _require_count("skip", fault.skip)
        if not 0 <= fault.seconds <= MAX_DELAY_S:
            raise ValueError(f"seconds: {fault.seconds!r} is not allowed; write a number from 0 to {MAX_DELAY_S:g}")
        if len(self._faults) >= MAX_FAULTS:
            raise ValueError(f"the broker has {MAX_FAULTS} faults already; clear_faults() removes them")
        fault.left = fault.left or None
        fault.topic = None if fault.topic is None else full_name(fault.topic)
        self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def take(self, command: str, topic: str | None) -> BrokerFault | None:
        """The fault that happens at a command about a topic. None: no fault."""
        for fault in self._faults:
            if fault.command != command or not (fault.topic is None or is_topic(fault.topic, topic)):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.left is not None:
                fault.left -= 1
                if fault.left <= 0:
                    self._faults.remove(fault)
            return fault
        return None


def _require_count(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{name}: {value!r} is not allowed; write a whole number from 0 on")


def error_number(name: str) -> pb.ServerError:
    """The ``ServerError`` of a name, such as ``ServiceNotReady``. Raises ValueError."""
    try:
        return _ERRORS[name]
    except KeyError:
        raise ValueError(f"{name!r} is not a ServerError; those are {', '.join(_ERRORS)}") from None


def refusal(fields: Any, error: pb.ServerError, text: str) -> Message | None:
    """The answer that refuses a command, in the form of its answers. None: the command has no answer."""
    match fields:
        case pb.CommandConnect() | pb.CommandAuthResponse():
            return pb.CommandError(request_id=NO_REQUEST, error=error, message=text)
        case pb.CommandLookupTopic():
            failed = pb.CommandLookupTopicResponse.Failed
            request = fields.request_id
            return pb.CommandLookupTopicResponse(request_id=request, response=failed, error=error, message=text)
        case pb.CommandPartitionedTopicMetadata():
            none = pb.CommandPartitionedTopicMetadataResponse.Failed
            request = fields.request_id
            return pb.CommandPartitionedTopicMetadataResponse(
                request_id=request, response=none, error=error, message=text
            )
        case pb.CommandSend():
            producer, sequence = fields.producer_id, fields.sequence_id
            return pb.CommandSendError(producer_id=producer, sequence_id=sequence, error=error, message=text)
        case pb.CommandGetSchema():
            return pb.CommandGetSchemaResponse(request_id=fields.request_id, error_code=error, error_message=text)
        case pb.CommandGetOrCreateSchema():
            request = fields.request_id
            return pb.CommandGetOrCreateSchemaResponse(request_id=request, error_code=error, error_message=text)
        case pb.CommandTcClientConnectRequest():
            return pb.CommandTcClientConnectResponse(request_id=fields.request_id, error=error, message=text)
        case pb.CommandConsumerStats():
            return pb.CommandConsumerStatsResponse(request_id=fields.request_id, error_code=error, error_message=text)
    names = fields.DESCRIPTOR.fields_by_name
    if "request_id" not in names or not fields.HasField("request_id"):
        return None
    if isinstance(fields, pb.CommandAck):
        consumer, request = fields.consumer_id, fields.request_id
        return pb.CommandAckResponse(consumer_id=consumer, request_id=request, error=error, message=text)
    return pb.CommandError(request_id=fields.request_id, error=error, message=text)
