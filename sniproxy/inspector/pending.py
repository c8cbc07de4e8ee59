"""Requests that wait for their answers: which command answers which, and how long it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import number_name
from sniproxy.pulsar.events import Event, Fields
from sniproxy.util.bounded import BoundedMap, Kept

MAX_PENDING = 5000
"""Requests without an answer that are remembered; as many lookups as a Java client has under way by default."""

MAX_UNANSWERED = 100
"""Events for requests that were not answered when the connection ended."""

ANSWER_TIMEOUT_S = 120.0
"""Seconds after which an answer is no longer waited for. Clients give up after 30 by default."""

T = pb.BaseCommand.Type
# Kinds of requests that a SUCCESS answers.
TO_SUCCESS = (T.SUBSCRIBE, T.UNSUBSCRIBE, T.CLOSE_PRODUCER, T.CLOSE_CONSUMER, T.SEEK, T.WATCH_TOPIC_LIST_CLOSE)
# Requests whose answer is read for nothing but an error and the latency: request, answer, and the answer's fields.
PLAIN: dict[int, tuple[int, str | None, str | None]] = {
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
# Requests that an ERROR can answer, in the order in which they are looked for: a number may be in use twice, because
# some clients count lookups apart; and lookups have an answer of their own.
TO_ERROR = (
    *(T.PRODUCER, T.SUBSCRIBE, *TO_SUCCESS[1:], T.GET_TOPICS_OF_NAMESPACE, T.WATCH_TOPIC_LIST),
    *(request for request, _, _ in PLAIN.values()),
    *(T.LOOKUP, T.PARTITIONED_METADATA),
)


class PendingRequest(NamedTuple):
    """A request that waits for its answer; ``about``: what else the answer's event says of it."""

    topic: str | None
    about: Fields

    def outcome(
        self, status: str, latency: float | None, error: str | None = None, message: str | None = None
    ) -> Fields:
        """The fields of an event about the answer."""
        answer: Fields = {"latency_s": latency, "error": error, "message": message}
        return {"topic": self.topic, "status": status, **self.about, **answer}


class Pending:
    """The requests of one connection that wait. A request is known by its type and its number: types count apart."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._asked: BoundedMap[tuple[int, int], PendingRequest] = BoundedMap(MAX_PENDING)

    def __len__(self) -> int:
        return len(self._asked)

    def ask(
        self, number: int, request_id: int, time: float, topic: str | None = None, about: Fields | None = None
    ) -> list[Event]:
        """A request went by; returns an event about the one that is forgotten for it, if there is one."""
        pushed_out = self._asked.put((number, request_id), PendingRequest(topic, about or {}), time)
        return [] if pushed_out is None else [self._unanswered(pushed_out, time)]

    def answered(
        self, numbers: Iterable[int], request_id: int, time: float
    ) -> tuple[int | None, PendingRequest, float | None]:
        """The request of one of these types that is answered: its type, what it was, and the seconds since.

        None, nothing and None for a request that is not known.
        """
        for number in numbers:
            kept = self._asked.pop((number, request_id))
            if kept is not None:
                return number, kept.value, round(max(0.0, time - kept.since), 6)
        return None, PendingRequest(None, {}), None

    def oldest(self, numbers: Iterable[int]) -> int | None:
        """The number of the oldest request of these types that waits; None: none does."""
        wanted = frozenset(numbers)
        return next((request_id for number, request_id in self._asked if number in wanted), None)

    def tick(self, time: float) -> list[Event]:
        """Give up on those that were not answered in time."""
        return [self._unanswered(kept, time) for kept in self._asked.older(time - ANSWER_TIMEOUT_S)]

    def end(self, time: float) -> list[Event]:
        """The connection ended."""
        return [self._unanswered(kept, time) for kept in self._asked.clear()[:MAX_UNANSWERED]]

    def _unanswered(self, kept: Kept[tuple[int, int], PendingRequest], time: float) -> Event:
        waited = round(max(0.0, time - kept.since), 6)
        fields: Fields = {"request": number_name(kept.key[0]), "topic": kept.value.topic, "waited_s": waited}
        return Event("unanswered", time, self._connection, fields)
