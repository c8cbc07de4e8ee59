"""Pulsar's topic lookup and its response, as bytes."""

from __future__ import annotations

from sniproxy.pulsar.commands import write
from sniproxy.pulsar.commands_pb2 import CommandLookupTopic, CommandLookupTopicResponse

TOPIC = "persistent://public/default/orders"


ASK = write(CommandLookupTopic(topic=TOPIC, request_id=7))


def answer(broker: str) -> bytes:
    """A LOOKUP_RESPONSE that names a broker."""
    return plain_answer(f"pulsar://{broker}:6650", f"pulsar+ssl://{broker}:6651")


def plain_answer(url: str, tls: str | None = None) -> bytes:
    """A LOOKUP_RESPONSE with these URLs."""
    return write(
        CommandLookupTopicResponse(
            request_id=7,
            response=CommandLookupTopicResponse.LookupType.Connect,
            brokerServiceUrl=url,
            brokerServiceUrlTls=tls,
            authoritative=True,
        )
    )
