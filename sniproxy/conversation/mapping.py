"""Ids and names of a recording, and those that stand for the same thing in another run. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

_LARGEST_ID = (1 << 63) - 1

Domain = tuple[str, Hashable]
"""What an id counts, such as C{request}; and its scope, such as the producer of a sequence id. None: everywhere."""

_DOMAINS = {
    "producer_id": "producer",
    "resource_id": "resource",
    "consumer_id": "consumer",
    "watcher_id": "watcher",
    "watch_id": "watch",
    "session_id": "session",
    "ledgerId": "ledger",
    "producer_name": "producer name",
    "consumer_name": "consumer name",
    "schema_version": "schema version",
    "txnid_most_bits": "transaction, most",
    "txnid_least_bits": "transaction, least",
    "topic_epoch": "topic epoch",
    "brokerServiceUrl": "broker",
    "brokerServiceUrlTls": "broker",
    "assignedBrokerServiceUrl": "broker",
    "assignedBrokerServiceUrlTls": "broker",
    "broker_url": "broker",
    "broker_url_tls": "broker",
    "controller_broker_url": "broker",
    "controller_broker_url_tls": "broker",
    "broker_service_url": "broker",
    "broker_service_url_tls": "broker",
}
_LOOKUPS = {"LOOKUP", "PARTITIONED_METADATA", "GET_TOPICS_OF_NAMESPACE", "GET_SCHEMA"}
_SEQUENCES = {"sequence_id", "highest_sequence_id", "last_sequence_id"}


def domain_of(name: str, siblings: dict[str, Any], producer: Hashable, command: str) -> Domain | None:
    """The domain of a field. None: its values are the same in each run.

    @param siblings: the recorded fields of the message that has this field.
    @param producer: the recorded id or name of the producer of a SEND or MESSAGE.
    @param command: the type of the command. C++ clients number their lookups apart from other requests.
    """
    if name == "request_id":
        return ("request", "lookup" if command.removesuffix("_RESPONSE") in _LOOKUPS else None)
    if name == "entryId":
        return ("entry", _key(siblings.get("ledgerId")))
    if name in _SEQUENCES:
        return (name, _key(producer))
    domain = _DOMAINS.get(name)
    return None if domain is None else (domain, None)


class Mapping:
    """Which value of this run stands for which recorded one.

    @param renews_requests: the peer numbers the requests, and may use a number again; a request binds its number anew.
    """

    def __init__(self, renews_requests: bool = False) -> None:
        self._renews = renews_requests
        self._there: dict[tuple[Domain, Hashable], Any] = {}
        self._back: dict[tuple[Domain, Hashable], Any] = {}

    def bind(self, domain: Domain, recorded: Any, came: Any) -> bool:
        """Let one value stand for another. @return: whether this contradicts nothing that was bound before."""
        if _fixed(recorded) or _fixed(came):
            return bool(recorded == came)
        there, back = (domain, _key(recorded)), (domain, _key(came))
        if self._is_free(domain):
            self._there[there] = came
            return True
        if self._there.get(there, came) != came or self._back.get(back, recorded) != recorded:
            return False
        self._there[there], self._back[back] = came, recorded
        return True

    def agrees(self, domain: Domain, recorded: Any, came: Any) -> bool:
        """Whether `bind` would return True; nothing is bound."""
        if _fixed(recorded) or _fixed(came):
            return bool(recorded == came)
        there, back = (domain, _key(recorded)), (domain, _key(came))
        if self._is_free(domain):
            return True
        return bool(self._there.get(there, came) == came and self._back.get(back, recorded) == recorded)

    def _is_free(self, domain: Domain) -> bool:
        """Whether a value may stand for another one each time: a topic may have any broker in each run."""
        return domain[0] == "broker" or (self._renews and domain[0] == "request")

    def value(self, domain: Domain, recorded: Any) -> Any:
        """The value of this run; the recorded one itself if nothing stands for it."""
        return self._there.get((domain, _key(recorded)), recorded)


def _fixed(value: Any) -> bool:
    """Whether a value has the same meaning everywhere: -1 and the largest numbers; an empty text."""
    if isinstance(value, int):
        return value < 0 or value >= _LARGEST_ID
    return isinstance(value, str) and not value


def _key(value: Any) -> Hashable:
    return value if isinstance(value, str | int) else repr(value)
