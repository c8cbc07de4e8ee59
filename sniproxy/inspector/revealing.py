"""Parts of events that are shown only on request: principals, and properties of clients. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import feature_names, text
from sniproxy.pulsar.events import Fields, Value

MAX_PROPERTIES = 64
"""Properties listed in one event."""


class PrivateFields:
    """``reveal``: whether to show these fields. If not, they are None."""

    def __init__(self, reveal: bool) -> None:
        self._reveal = reveal

    def properties(self, pairs: Iterable[pb.KeyValue]) -> dict[str, Value] | None:
        """A command's first `MAX_PROPERTIES` properties by name. The last one of a name counts."""
        if not self._reveal:
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
            "original_principal": text(connect, "original_principal") if self._reveal else None,
            "original_auth_method": text(connect, "original_auth_method") if self._reveal else None,
        }

    def subscribe(self, command: pb.CommandSubscribe) -> Fields:
        """The fields of a ``subscribe`` event that come from the request, without the topic."""
        return {
            "subscription": text(command, "subscription"),
            "subscription_type": command.SubType.Name(command.subType) if command.HasField("subType") else None,
            "consumer_id": command.consumer_id,
            "consumer_name": text(command, "consumer_name"),
            "properties": self.properties(command.metadata),
            "subscription_properties": self.properties(command.subscription_properties),
        }
