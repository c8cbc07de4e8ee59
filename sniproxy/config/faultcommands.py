"""The types of Pulsar's commands, by what a fault can do with them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.pulsar import commands_pb2 as pb

COMMANDS: dict[str, int] = dict(pb.BaseCommand.Type.items())
"""The numbers of all types, by name."""

SERVER_ERRORS: tuple[str, ...] = tuple(pb.ServerError.keys())
"""The names of all errors of a broker."""

_KINDS = {
    field.number: field.message_type for field in pb.BaseCommand.DESCRIPTOR.fields if field.message_type is not None
}

SHARED_COMMANDS = frozenset(("CLOSE_PRODUCER", "CLOSE_CONSUMER", "PING", "PONG"))
"""Those that clients and brokers send."""

_BROKER = frozenset(
    (
        "CONNECTED", "SEND_RECEIPT", "SEND_ERROR", "MESSAGE", "SUCCESS", "ERROR", "PRODUCER_SUCCESS",
        "REACHED_END_OF_TOPIC", "ACTIVE_CONSUMER_CHANGE", "AUTH_CHALLENGE", "WATCH_TOPIC_LIST_SUCCESS",
        "WATCH_TOPIC_UPDATE", "TOPIC_MIGRATED", "SCALABLE_TOPIC_UPDATE", "SCALABLE_TOPIC_ASSIGNMENT_UPDATE",
        "WATCH_SCALABLE_TOPICS_UPDATE", "WATCH_TC_ASSIGNMENTS_UPDATE",
    )
)  # fmt: skip


def _from_broker(name: str) -> bool:
    return name in _BROKER or (name.endswith("_RESPONSE") and name != "AUTH_RESPONSE")


def _with(fields: Iterable[str]) -> frozenset[str]:
    """The types that have one of these fields."""
    wanted = set(fields)
    return frozenset(
        name
        for name, number in COMMANDS.items()
        if number in _KINDS and wanted & {field.name for field in _KINDS[number].fields}
    )


CLIENT_COMMANDS = frozenset(name for name in COMMANDS if not _from_broker(name)) - SHARED_COMMANDS
"""Those that only clients send."""

TOPIC_COMMANDS = _with(("topic", "request_id", "producer_id", "consumer_id", "resource_id"))
"""Those that can concern a topic."""

PRODUCER_COMMANDS = _with(("producer_id",)) | {"PRODUCER_SUCCESS"}
"""Those of one producer."""

CONSUMER_COMMANDS = _with(("consumer_id",))
"""Those of one consumer."""

ERROR_COMMANDS = _with(("request_id",)) | {"SEND", "SEND_RECEIPT", "CONNECT", "CONNECTED"}
"""Requests that a broker can answer with an error, and the answers to these."""
