"""The parts of events that are shown only when somebody asks for them: principals, and properties of clients. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import feature_names, text
from sniproxy.pulsar.events import Fields, Value

MAX_PROPERTIES = 64
"""Properties that an event lists."""


class Revealing:
    """``wanted``: whether it is asked for; else all of it is None."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def properties(self, pairs: Iterable[pb.KeyValue]) -> dict[str, Value] | None:
        """The first properties of a command by their names, the last one of each."""
        if not self._wanted:
            return None
        found: dict[str, Value] = {}
        for pair, _ in zip(pairs, range(MAX_PROPERTIES), strict=False):
            found[text(pair, "key") or ""] = text(pair, "value")
        return found

    def connect(self, connect: pb.CommandConnect) -> Fields:
        """The fields of a ``connect`` event."""
        return {
            "client_version": text(connect, "client_version"),
            "protocol_version": connect.protocol_version,
            "auth_method": text(connect, "auth_method_name"),
            "proxy_to_broker_url": text(connect, "proxy_to_broker_url"),
            "proxy_version": text(connect, "proxy_version"),
            "feature_flags": [*feature_names(connect.feature_flags)],
            "original_principal": text(connect, "original_principal") if self._wanted else None,
            "original_auth_method": text(connect, "original_auth_method") if self._wanted else None,
        }

    def subscribe(self, asked: pb.CommandSubscribe) -> Fields:
        """What a ``subscribe`` event says of the request, but for its topic."""
        return {
            "subscription": text(asked, "subscription"),
            "subscription_type": asked.SubType.Name(asked.subType) if asked.HasField("subType") else None,
            "consumer_id": asked.consumer_id,
            "consumer_name": text(asked, "consumer_name"),
            "properties": self.properties(asked.metadata),
            "subscription_properties": self.properties(asked.subscription_properties),
        }
