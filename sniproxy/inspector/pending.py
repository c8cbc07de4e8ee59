"""Requests that wait for their answers: matches answers to requests and measures latency. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import number_name
from sniproxy.pulsar.events import Event, Fields
from sniproxy.util.bounded import BoundedMap, Kept

MAX_PENDING = 5000
"""Pending requests that are remembered: the default limit of concurrent lookups in a Java client."""

MAX_UNANSWERED = 100
"""Largest number of ``unanswered`` events at the end of a connection."""

ANSWER_TIMEOUT_S = 120.0
"""Seconds after which a pending request is dropped. Clients time out after 30 by default."""

T = pb.BaseCommand.Type
# Requests that a SUCCESS can answer.
SUCCESS_REQUESTS = (
    *(T.SUBSCRIBE, T.UNSUBSCRIBE, T.CLOSE_PRODUCER, T.CLOSE_CONSUMER, T.SEEK, T.WATCH_TOPIC_LIST_CLOSE),
    T.SCALABLE_TOPIC_UNSUBSCRIBE,
)
# Answers that are read only for an error and the latency: the request, and the fields of the error and its message.
PLAIN_ANSWERS: dict[int, tuple[int, str | None, str | None]] = {
    T.CONSUMER_STATS_RESPONSE: (T.CONSUMER_STATS, "error_code", "error_message"),
    T.GET_SCHEMA_RESPONSE: (T.GET_SCHEMA, "error_code", "error_message"),
    T.GET_OR_CREATE_SCHEMA_RESPONSE: (T.GET_OR_CREATE_SCHEMA, "error_code", "error_message"),
    T.TC_CLIENT_CONNECT_RESPONSE: (T.TC_CLIENT_CONNECT_REQUEST, "error", "message"),
    T.NEW_TXN_RESPONSE: (T.NEW_TXN, "error", "message"),
    T.ADD_PARTITION_TO_TXN_RESPONSE: (T.ADD_PARTITION_TO_TXN, "error", "message"),
    T.ADD_SUBSCRIPTION_TO_TXN_RESPONSE: (T.ADD_SUBSCRIPTION_TO_TXN, "error", "message"),
    T.END_TXN_RESPONSE: (T.END_TXN, "error", "message"),
    T.END_TXN_ON_PARTITION_RESPONSE: (T.END_TXN_ON_PARTITION, "error", "message"),
    T.END_TXN_ON_SUBSCRIPTION_RESPONSE: (T.END_TXN_ON_SUBSCRIPTION, "error", "message"),
    T.GET_LAST_MESSAGE_ID_RESPONSE: (T.GET_LAST_MESSAGE_ID, None, None),
}
# Requests that an ERROR can answer, in the order of the search. Some clients number lookups separately, so two requests
# may have the same number. Lookups come last, because they usually have their own answers.
ERROR_REQUESTS = (
    *(T.PRODUCER, T.SUBSCRIBE, *SUCCESS_REQUESTS[1:], T.GET_TOPICS_OF_NAMESPACE, T.WATCH_TOPIC_LIST),
    T.SCALABLE_TOPIC_SUBSCRIBE,
    *(request for request, _, _ in PLAIN_ANSWERS.values()),
    *(T.LOOKUP, T.PARTITIONED_METADATA),
)


class PendingRequest(NamedTuple):
    """A pending request. ``about``: its other fields for the answer's event."""

    topic: str | None
    about: Fields

    def outcome(
        self, status: str, latency: float | None, error: str | None = None, message: str | None = None
    ) -> Fields:
        """The fields of the answer's event."""
        answer: Fields = {"latency_s": latency, "error": error, "message": message}
        return {"topic": self.topic, "status": status, **self.about, **answer}


class PendingRequests:
    """The pending requests of one connection, by command type and request id."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._requests: BoundedMap[tuple[int, int], PendingRequest] = BoundedMap(MAX_PENDING)

    def __len__(self) -> int:
        return len(self._requests)

    def add(
        self, number: int, request_id: int, time: float, topic: str | None = None, about: Fields | None = None
    ) -> list[Event]:
        """Add a request. Returns an event for the request that is dropped for it, if any."""
        pushed_out = self._requests.put((number, request_id), PendingRequest(topic, about or {}), time)
        return [] if pushed_out is None else [self._unanswered(pushed_out, time)]

    def take(
        self, numbers: Iterable[int], request_id: int, time: float
    ) -> tuple[int | None, PendingRequest, float | None]:
        """Remove an answered request of one of these types: its type, the request, and the latency in seconds.

        For an unknown request: None, an empty request and None.
        """
        for number in numbers:
            kept = self._requests.pop((number, request_id))
            if kept is not None:
                return number, kept.value, round(max(0.0, time - kept.since), 6)
        return None, PendingRequest(None, {}), None

    def oldest(self, numbers: Iterable[int]) -> int | None:
        """The request id of the oldest pending request of these types. None: there is none."""
        wanted = frozenset(numbers)
        return next((request_id for number, request_id in self._requests if number in wanted), None)

    def expire(self, time: float) -> list[Event]:
        """Drop requests that were not answered in time."""
        return [self._unanswered(kept, time) for kept in self._requests.older(time - ANSWER_TIMEOUT_S)]

    def end(self, time: float) -> list[Event]:
        """Drop all requests: the connection has ended."""
        return [self._unanswered(kept, time) for kept in self._requests.clear()[:MAX_UNANSWERED]]

    def _unanswered(self, kept: Kept[tuple[int, int], PendingRequest], time: float) -> Event:
        waited = round(max(0.0, time - kept.since), 6)
        fields: Fields = {"request": number_name(kept.key[0]), "topic": kept.value.topic, "waited_s": waited}
        return Event("unanswered", time, self._connection, fields)
