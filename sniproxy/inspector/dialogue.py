"""What a client and a broker say to each other: requests and their answers, and which topics they are about. Pure.

Commands go in, events come out (``events`` describes them). Nothing is remembered without bound: of a hostile peer's
requests, producers, consumers and sessions, the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from sniproxy.inspector.oversized import settle
from sniproxy.inspector.pending import PLAIN, TO_ERROR, TO_SUCCESS, Pending, PendingRequest
from sniproxy.inspector.placement import MAX_TOPIC_CHARS, broker_urls, coordinators, scalable_topic
from sniproxy.inspector.revealing import Revealing
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, feature_names, number_name, text
from sniproxy.pulsar.events import Event, Fields, Value
from sniproxy.util.bounded import BoundedMap

MAX_KEPT = 10_000
"""Producers, consumers, watchers and sessions that are remembered, of each."""

T = pb.BaseCommand.Type
_LOOKUP_ANSWERS = {
    pb.CommandLookupTopicResponse.Redirect: "redirect",
    pb.CommandLookupTopicResponse.Connect: "connect",
    pb.CommandLookupTopicResponse.Failed: "failed",
}
_CONNECTION = 2**64 - 1
"""The request id of an ERROR that is about the connection."""


class Dialogue:
    """What is known of one connection.

    ``reveal``: whether events name principals and properties.
    """

    def __init__(self, connection: str, *, reveal: bool = False) -> None:
        self._connection = connection
        self._revealing = Revealing(reveal)
        self._time = 0.0
        self._events: list[Event] = []
        self._pending = Pending(connection)
        self._producers: BoundedMap[int, str | None] = BoundedMap(MAX_KEPT)
        self._consumers: BoundedMap[int, str | None] = BoundedMap(MAX_KEPT)
        self._watchers: BoundedMap[int, str | None] = BoundedMap(MAX_KEPT)
        self._sessions: BoundedMap[int, str | None] = BoundedMap(MAX_KEPT)

    @property
    def remembered(self) -> int:
        """How many requests, producers, consumers, watchers and sessions are held."""
        topics = (self._producers, self._consumers, self._watchers, self._sessions)
        return len(self._pending) + sum(map(len, topics))

    def hear(self, by_client: bool, number: int, command: Any, time: float) -> list[Event]:
        """Take one command, of a type that `CLIENT` or `BROKER` names."""
        self._time = time
        (CLIENT if by_client else BROKER)[number](self, number, command)
        events, self._events = self._events, []
        return events

    def oversized(self, number: int, beginning: bytes, time: float) -> tuple[int | None, str | None, float | None]:
        """See `settle`."""
        return settle(self._pending, number, beginning, time)

    @property
    def waits(self) -> bool:
        """Whether some request was not answered yet."""
        return len(self._pending) > 0

    def tick(self, time: float) -> list[Event]:
        """Give up on requests that were not answered in time."""
        return self._pending.tick(time)

    def end(self, time: float) -> list[Event]:
        """The connection ended."""
        return self._pending.end(time)

    def _tell(self, name: str, **fields: Value) -> None:
        self._events.append(Event(name, self._time, self._connection, fields))

    # Requests and answers

    def _ask(self, number: int, request_id: int, topic: str | None = None, about: Fields | None = None) -> None:
        self._events += self._pending.ask(number, request_id, self._time, topic, about)

    def _answered(self, numbers: Iterable[int], request_id: int) -> tuple[int | None, PendingRequest, float | None]:
        return self._pending.answered(numbers, request_id, self._time)

    def _ask_plainly(self, number: int, asked: Any) -> None:
        self._ask(number, asked.request_id, text(asked, "topic", MAX_TOPIC_CHARS) if hasattr(asked, "topic") else None)

    def _ask_lookup(self, number: int, asked: pb.CommandLookupTopic) -> None:
        properties = self._revealing.properties(asked.properties)
        about: Fields = {"advertised_listener": text(asked, "advertised_listener_name"), "properties": properties}
        self._ask(number, asked.request_id, text(asked, "topic", MAX_TOPIC_CHARS), about)

    def _plain_answer(self, number: int, answer: Any) -> None:
        request, error, message = PLAIN[number]
        _, asked, latency = self._answered((request,), answer.request_id)
        if error is not None and message is not None and (name := error_name(answer, error)) is not None:
            self._tell_error(request, asked, latency, name, text(answer, message))

    def _success(self, number: int, answer: pb.CommandSuccess) -> None:
        request, asked, latency = self._answered(TO_SUCCESS, answer.request_id)
        if request == T.SUBSCRIBE:
            self._tell("subscribe", **asked.outcome("ready", latency))
        elif request == T.UNSUBSCRIBE:
            # Such a client sends no CLOSE_CONSUMER.
            self._consumers.pop(_number(asked.about["consumer_id"]))

    def _error(self, number: int, answer: pb.CommandError) -> None:
        # What is wrong with the connection, instead of CONNECTED, answers the CONNECT.
        asked_for = ((T.CONNECT,), 0) if answer.request_id == _CONNECTION else (TO_ERROR, answer.request_id)
        request, asked, latency = self._answered(*asked_for)
        failure = error_name(answer), text(answer, "message")
        if request == T.PRODUCER:
            self._producers.pop(_number(asked.about["producer_id"]))
            self._tell("producer", **asked.outcome("failed", latency, *failure))
        elif request == T.SUBSCRIBE:
            self._consumers.pop(_number(asked.about["consumer_id"]))
            self._tell("subscribe", **asked.outcome("failed", latency, *failure))
        else:
            self._tell_error(request, asked, latency, *failure)

    def _tell_error(
        self, request: int | None, asked: PendingRequest, latency: float | None, error: str | None, message: str | None
    ) -> None:
        name = None if request is None else number_name(request)
        self._tell("error", request=name, topic=asked.topic, latency_s=latency, error=error, message=message)

    # The connection

    def _connect(self, number: int, connect: pb.CommandConnect) -> None:
        self._ask(number, 0)
        self._tell("connect", **self._revealing.connect(connect))

    def _connected(self, number: int, connected: pb.CommandConnected) -> None:
        _, _, latency = self._answered((T.CONNECT,), 0)
        self._tell(
            "connected",
            server_version=text(connected, "server_version"),
            protocol_version=connected.protocol_version,
            max_message_size=connected.max_message_size if connected.HasField("max_message_size") else None,
            feature_flags=[*feature_names(connected.feature_flags)],
            latency_s=latency,
        )

    def _auth(self, number: int, command: pb.CommandAuthChallenge | pb.CommandAuthResponse) -> None:
        step = "challenge" if number == T.AUTH_CHALLENGE else "response"
        data = command.challenge if isinstance(command, pb.CommandAuthChallenge) else command.response
        self._tell("auth", step=step, method=text(data, "auth_method_name"))

    # Lookups

    def _lookup(self, number: int, answer: pb.CommandLookupTopicResponse) -> None:
        _, asked, latency = self._answered((T.LOOKUP,), answer.request_id)
        self._tell(
            "lookup",
            topic=asked.topic,
            # Clients take an answer without a response, or with one that they do not know, for a failure.
            response=_LOOKUP_ANSWERS[answer.response] if answer.HasField("response") else "failed",
            **broker_urls(answer, "brokerServiceUrl", "brokerServiceUrlTls"),
            authoritative=answer.authoritative,
            proxy_through_service_url=answer.proxy_through_service_url,
            advertised_listener=asked.about.get("advertised_listener"),
            properties=asked.about.get("properties"),
            latency_s=latency,
            error=error_name(answer),
            message=text(answer, "message"),
        )

    def _partitions(self, number: int, answer: pb.CommandPartitionedTopicMetadataResponse) -> None:
        _, asked, latency = self._answered((T.PARTITIONED_METADATA,), answer.request_id)
        good = answer.HasField("response") and answer.response == answer.Success
        self._tell(
            "partitions",
            topic=asked.topic,
            status="success" if good else "failed",
            partitions=answer.partitions if good else None,
            latency_s=latency,
            error=error_name(answer),
            message=text(answer, "message"),
        )

    def _ask_topics(self, number: int, asked: pb.CommandGetTopicsOfNamespace | pb.CommandWatchTopicList) -> None:
        about: Fields = {"namespace": (namespace := text(asked, "namespace", MAX_TOPIC_CHARS))}
        if isinstance(asked, pb.CommandWatchTopicList):
            self._watchers.put(asked.watcher_id, namespace, self._time)
        else:
            about["properties"] = self._revealing.properties(asked.properties)
        self._ask(number, asked.request_id, None, about)

    def _topics(
        self, number: int, answer: pb.CommandGetTopicsOfNamespaceResponse | pb.CommandWatchTopicListSuccess
    ) -> None:
        # The answer's type is behind that of its request.
        _, asked, latency = self._answered((number - 1,), answer.request_id)
        count = len(answer.topic if isinstance(answer, pb.CommandWatchTopicListSuccess) else answer.topics)
        about: Fields = {name: asked.about.get(name) for name in ("namespace", "properties")}
        self._tell("topics", request=number_name(number - 1), **about, topics=count, latency_s=latency)

    def _topics_changed(self, number: int, update: pb.CommandWatchTopicUpdate) -> None:
        namespace = self._watchers.get(update.watcher_id)
        self._tell(
            "topics_changed", namespace=namespace, added=len(update.new_topics), removed=len(update.deleted_topics)
        )

    def _end_watch(self, number: int, asked: pb.CommandWatchTopicListClose) -> None:
        self._watchers.pop(asked.watcher_id)
        self._ask(number, asked.request_id)

    # Producers and consumers

    def _produce(self, number: int, asked: pb.CommandProducer) -> None:
        topic = text(asked, "topic", MAX_TOPIC_CHARS)
        self._producers.put(asked.producer_id, topic, self._time)
        about: Fields = {
            "producer_id": asked.producer_id,
            "producer_name": text(asked, "producer_name"),
            "properties": self._revealing.properties(asked.metadata),
        }
        self._ask(number, asked.request_id, topic, about)

    def _produced(self, number: int, answer: pb.CommandProducerSuccess) -> None:
        request, asked, latency = self._answered((T.PRODUCER,), answer.request_id)
        about: Fields = {
            "producer_id": asked.about.get("producer_id"),
            "producer_name": text(answer, "producer_name"),
            "properties": asked.about.get("properties"),
        }
        if not answer.producer_ready and request is not None:
            # It waits for the exclusive producer before it: the second answer has the same number.
            self._ask(request, answer.request_id, asked.topic, asked.about)
        status = "ready" if answer.producer_ready else "queued"
        self._tell("producer", **PendingRequest(asked.topic, about).outcome(status, latency))

    def _subscribe(self, number: int, asked: pb.CommandSubscribe) -> None:
        topic = text(asked, "topic", MAX_TOPIC_CHARS)
        self._consumers.put(asked.consumer_id, topic, self._time)
        self._ask(number, asked.request_id, topic, self._revealing.subscribe(asked))

    def _unsubscribe(self, number: int, asked: pb.CommandUnsubscribe) -> None:
        topic = self._consumers.get(asked.consumer_id)
        self._ask(number, asked.request_id, topic, {"consumer_id": asked.consumer_id})
        self._tell("unsubscribe", topic=topic, consumer_id=asked.consumer_id)

    def _send_error(self, number: int, answer: pb.CommandSendError) -> None:
        self._tell(
            "send_error",
            topic=self._producers.get(answer.producer_id),
            producer_id=answer.producer_id,
            sequence_id=answer.sequence_id,
            error=error_name(answer),
            message=text(answer, "message"),
        )

    def _close_by_client(self, number: int, command: pb.CommandCloseProducer | pb.CommandCloseConsumer) -> None:
        self._ask(number, command.request_id, self._close("client", command))

    def _close_by_broker(self, number: int, command: pb.CommandCloseProducer | pb.CommandCloseConsumer) -> None:
        self._close("broker", command)

    def _close(self, by: str, command: pb.CommandCloseProducer | pb.CommandCloseConsumer) -> str | None:
        if isinstance(command, pb.CommandCloseProducer):
            kind, number, memory = "producer", command.producer_id, self._producers
        else:
            kind, number, memory = "consumer", command.consumer_id, self._consumers
        kept = memory.pop(number)
        topic = None if kept is None else kept.value
        urls = broker_urls(command, "assignedBrokerServiceUrl", "assignedBrokerServiceUrlTls")
        self._tell("close", by=by, kind=kind, id=number, topic=topic, **urls)
        return topic

    # Topics that go elsewhere

    def _migrated(self, number: int, command: pb.CommandTopicMigrated) -> None:
        of_consumer = command.resource_type == command.Consumer
        topic = (self._consumers if of_consumer else self._producers).get(command.resource_id)
        urls = broker_urls(command, "brokerServiceUrl", "brokerServiceUrlTls")
        kind = "consumer" if of_consumer else "producer"
        self._tell("migrated", kind=kind, id=command.resource_id, topic=topic, **urls)

    def _watch_scalable(self, number: int, asked: pb.CommandScalableTopicLookup) -> None:
        topic = text(asked, "topic", MAX_TOPIC_CHARS)
        self._sessions.put(asked.session_id, topic, self._time)
        self._ask(number, asked.session_id, topic)

    def _end_scalable(self, number: int, command: pb.CommandScalableTopicClose) -> None:
        self._sessions.pop(command.session_id)
        self._answered((T.SCALABLE_TOPIC_LOOKUP,), command.session_id)

    def _scalable(self, number: int, update: pb.CommandScalableTopicUpdate) -> None:
        _, _, latency = self._answered((T.SCALABLE_TOPIC_LOOKUP,), update.session_id)
        self._tell("scalable_topic", topic=self._sessions.get(update.session_id), **scalable_topic(update, latency))

    def _coordinators(self, number: int, update: pb.CommandWatchTcAssignmentsUpdate) -> None:
        self._tell("coordinators", **coordinators(update))


Deed: TypeAlias = Callable[[Dialogue, int, Any], None]

CLIENT: dict[int, Deed] = {
    **{request: Dialogue._ask_plainly for request, _, _ in PLAIN.values()},
    T.CONNECT: Dialogue._connect,
    T.AUTH_RESPONSE: Dialogue._auth,
    T.PARTITIONED_METADATA: Dialogue._ask_plainly,
    T.LOOKUP: Dialogue._ask_lookup,
    T.PRODUCER: Dialogue._produce,
    T.SUBSCRIBE: Dialogue._subscribe,
    T.UNSUBSCRIBE: Dialogue._unsubscribe,
    T.SEEK: Dialogue._ask_plainly,
    T.CLOSE_PRODUCER: Dialogue._close_by_client,
    T.CLOSE_CONSUMER: Dialogue._close_by_client,
    T.GET_TOPICS_OF_NAMESPACE: Dialogue._ask_topics,
    T.WATCH_TOPIC_LIST: Dialogue._ask_topics,
    T.WATCH_TOPIC_LIST_CLOSE: Dialogue._end_watch,
    T.SCALABLE_TOPIC_LOOKUP: Dialogue._watch_scalable,
    T.SCALABLE_TOPIC_CLOSE: Dialogue._end_scalable,
}
"""What is done for each command of a client, by its type. All others say nothing."""

BROKER: dict[int, Deed] = {
    **dict.fromkeys(PLAIN, Dialogue._plain_answer),
    T.CONNECTED: Dialogue._connected,
    T.AUTH_CHALLENGE: Dialogue._auth,
    T.PARTITIONED_METADATA_RESPONSE: Dialogue._partitions,
    T.LOOKUP_RESPONSE: Dialogue._lookup,
    T.PRODUCER_SUCCESS: Dialogue._produced,
    T.SUCCESS: Dialogue._success,
    T.ERROR: Dialogue._error,
    T.SEND_ERROR: Dialogue._send_error,
    T.CLOSE_PRODUCER: Dialogue._close_by_broker,
    T.CLOSE_CONSUMER: Dialogue._close_by_broker,
    T.TOPIC_MIGRATED: Dialogue._migrated,
    T.GET_TOPICS_OF_NAMESPACE_RESPONSE: Dialogue._topics,
    T.WATCH_TOPIC_LIST_SUCCESS: Dialogue._topics,
    T.WATCH_TOPIC_UPDATE: Dialogue._topics_changed,
    T.SCALABLE_TOPIC_UPDATE: Dialogue._scalable,
    T.WATCH_TC_ASSIGNMENTS_UPDATE: Dialogue._coordinators,
}
"""The same for a broker."""


def _number(value: Value) -> int:
    assert isinstance(value, int)
    return value
