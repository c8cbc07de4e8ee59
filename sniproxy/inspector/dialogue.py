"""Turns the commands of one connection into events: matches answers to requests, and requests to topics. Pure.

Memory is bounded: if a peer opens too many requests, producers, consumers or sessions, the oldest are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from sniproxy.inspector.oversized import settle
from sniproxy.inspector.pending import ERROR_REQUESTS, PLAIN_ANSWERS, SUCCESS_REQUESTS, PendingRequest, PendingRequests
from sniproxy.inspector.placement import MAX_TOPIC_CHARS, broker_urls, coordinators, scalable_topic
from sniproxy.inspector.revealing import PrivateFields
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, feature_names, number_name, text
from sniproxy.pulsar.events import Event, Fields, Value
from sniproxy.util.bounded import BoundedMap

MAX_TRACKED = 10_000
"""Producers, consumers, watchers and sessions that are tracked, each."""

T = pb.BaseCommand.Type
_LOOKUP_ANSWERS = {
    pb.CommandLookupTopicResponse.Redirect: "redirect",
    pb.CommandLookupTopicResponse.Connect: "connect",
    pb.CommandLookupTopicResponse.Failed: "failed",
}
_CONNECTION = 2**64 - 1
"""The request id of an ERROR that concerns the connection."""


class Dialogue:
    """The state of one connection.

    ``reveal``: whether events name principals and properties.
    """

    def __init__(self, connection: str, *, reveal: bool = False) -> None:
        self._connection = connection
        self._private = PrivateFields(reveal)
        self._time = 0.0
        self._events: list[Event] = []
        self._pending = PendingRequests(connection)
        self._producers: BoundedMap[int, str | None] = BoundedMap(MAX_TRACKED)
        self._consumers: BoundedMap[int, str | None] = BoundedMap(MAX_TRACKED)
        self._watchers: BoundedMap[int, str | None] = BoundedMap(MAX_TRACKED)
        self._sessions: BoundedMap[int, str | None] = BoundedMap(MAX_TRACKED)

    @property
    def remembered(self) -> int:
        """Number of requests, producers, consumers, watchers and sessions in memory."""
        topics = (self._producers, self._consumers, self._watchers, self._sessions)
        return len(self._pending) + sum(map(len, topics))

    def take(self, by_client: bool, number: int, command: Any, time: float) -> list[Event]:
        """Take one command of a type in `CLIENT_HANDLERS` or `BROKER_HANDLERS`."""
        self._time = time
        (CLIENT_HANDLERS if by_client else BROKER_HANDLERS)[number](self, number, command)
        events, self._events = self._events, []
        return events

    def oversized(self, number: int, beginning: bytes, time: float) -> tuple[int | None, str | None, float | None]:
        """Take a broker's command that is too long to hold. See `settle`."""
        return settle(self._pending, number, beginning, time)

    @property
    def has_pending(self) -> bool:
        """Whether a request waits for its answer."""
        return len(self._pending) > 0

    def expire(self, time: float) -> list[Event]:
        """Drop requests that were not answered in time."""
        return self._pending.expire(time)

    def end(self, time: float) -> list[Event]:
        """Finish: the connection has ended."""
        return self._pending.end(time)

    def _emit(self, name: str, **fields: Value) -> None:
        self._events.append(Event(name, self._time, self._connection, fields))

    # Requests and answers

    def _add_request(self, number: int, request_id: int, topic: str | None = None, about: Fields | None = None) -> None:
        self._events += self._pending.add(number, request_id, self._time, topic, about)

    def _match(self, numbers: Iterable[int], request_id: int) -> tuple[int | None, PendingRequest, float | None]:
        return self._pending.take(numbers, request_id, self._time)

    def _plain_request(self, number: int, command: Any) -> None:
        topic = text(command, "topic", MAX_TOPIC_CHARS) if hasattr(command, "topic") else None
        self._add_request(number, command.request_id, topic)

    def _lookup_request(self, number: int, command: pb.CommandLookupTopic) -> None:
        properties = self._private.properties(command.properties)
        about: Fields = {"advertised_listener": text(command, "advertised_listener_name"), "properties": properties}
        self._add_request(number, command.request_id, text(command, "topic", MAX_TOPIC_CHARS), about)

    def _plain_answer(self, number: int, answer: Any) -> None:
        request, error, message = PLAIN_ANSWERS[number]
        _, pending, latency = self._match((request,), answer.request_id)
        if error is not None and message is not None and (name := error_name(answer, error)) is not None:
            self._emit_error(request, pending, latency, name, text(answer, message))

    def _success(self, number: int, answer: pb.CommandSuccess) -> None:
        request, pending, latency = self._match(SUCCESS_REQUESTS, answer.request_id)
        if request == T.SUBSCRIBE:
            self._emit("subscribe", **pending.outcome("ready", latency))
        elif request == T.UNSUBSCRIBE:
            # The client sends no CLOSE_CONSUMER after it.
            self._consumers.pop(_as_int(pending.about["consumer_id"]))

    def _error(self, number: int, answer: pb.CommandError) -> None:
        # An ERROR about the connection answers CONNECT instead of CONNECTED.
        wanted = ((T.CONNECT,), 0) if answer.request_id == _CONNECTION else (ERROR_REQUESTS, answer.request_id)
        request, pending, latency = self._match(*wanted)
        failure = error_name(answer), text(answer, "message")
        if request == T.PRODUCER:
            self._producers.pop(_as_int(pending.about["producer_id"]))
            self._emit("producer", **pending.outcome("failed", latency, *failure))
        elif request == T.SUBSCRIBE:
            self._consumers.pop(_as_int(pending.about["consumer_id"]))
            self._emit("subscribe", **pending.outcome("failed", latency, *failure))
        else:
            self._emit_error(request, pending, latency, *failure)

    def _emit_error(
        self, number: int | None, pending: PendingRequest, latency: float | None, error: str | None, message: str | None
    ) -> None:
        name = None if number is None else number_name(number)
        self._emit("error", request=name, topic=pending.topic, latency_s=latency, error=error, message=message)

    # The connection

    def _connect(self, number: int, connect: pb.CommandConnect) -> None:
        self._add_request(number, 0)
        self._emit("connect", **self._private.connect(connect))

    def _connected(self, number: int, connected: pb.CommandConnected) -> None:
        _, _, latency = self._match((T.CONNECT,), 0)
        self._emit(
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
        self._emit("auth", step=step, method=text(data, "auth_method_name"))

    # Lookups

    def _lookup(self, number: int, answer: pb.CommandLookupTopicResponse) -> None:
        _, pending, latency = self._match((T.LOOKUP,), answer.request_id)
        self._emit(
            "lookup",
            topic=pending.topic,
            # Clients treat an answer without a known response as a failure.
            response=_LOOKUP_ANSWERS[answer.response] if answer.HasField("response") else "failed",
            **broker_urls(answer, "brokerServiceUrl", "brokerServiceUrlTls"),
            authoritative=answer.authoritative,
            proxy_through_service_url=answer.proxy_through_service_url,
            advertised_listener=pending.about.get("advertised_listener"),
            properties=pending.about.get("properties"),
            latency_s=latency,
            error=error_name(answer),
            message=text(answer, "message"),
        )

    def _partitions(self, number: int, answer: pb.CommandPartitionedTopicMetadataResponse) -> None:
        _, pending, latency = self._match((T.PARTITIONED_METADATA,), answer.request_id)
        good = answer.HasField("response") and answer.response == answer.Success
        self._emit(
            "partitions",
            topic=pending.topic,
            status="success" if good else "failed",
            partitions=answer.partitions if good else None,
            latency_s=latency,
            error=error_name(answer),
            message=text(answer, "message"),
        )

    def _topics_request(self, number: int, command: pb.CommandGetTopicsOfNamespace | pb.CommandWatchTopicList) -> None:
        about: Fields = {"namespace": (namespace := text(command, "namespace", MAX_TOPIC_CHARS))}
        if isinstance(command, pb.CommandWatchTopicList):
            self._watchers.put(command.watcher_id, namespace, self._time)
        else:
            about["properties"] = self._private.properties(command.properties)
        self._add_request(number, command.request_id, None, about)

    def _topics(
        self, number: int, answer: pb.CommandGetTopicsOfNamespaceResponse | pb.CommandWatchTopicListSuccess
    ) -> None:
        # The answer's type is the request's type plus 1.
        _, pending, latency = self._match((number - 1,), answer.request_id)
        count = len(answer.topic if isinstance(answer, pb.CommandWatchTopicListSuccess) else answer.topics)
        about: Fields = {name: pending.about.get(name) for name in ("namespace", "properties")}
        self._emit("topics", request=number_name(number - 1), **about, topics=count, latency_s=latency)

    def _topics_changed(self, number: int, update: pb.CommandWatchTopicUpdate) -> None:
        namespace = self._watchers.get(update.watcher_id)
        self._emit(
            "topics_changed", namespace=namespace, added=len(update.new_topics), removed=len(update.deleted_topics)
        )

    def _watch_close(self, number: int, command: pb.CommandWatchTopicListClose) -> None:
        self._watchers.pop(command.watcher_id)
        self._add_request(number, command.request_id)

    # Producers and consumers

    def _producer(self, number: int, command: pb.CommandProducer) -> None:
        topic = text(command, "topic", MAX_TOPIC_CHARS)
        self._producers.put(command.producer_id, topic, self._time)
        about: Fields = {
            "producer_id": command.producer_id,
            "producer_name": text(command, "producer_name"),
            "properties": self._private.properties(command.metadata),
        }
        self._add_request(number, command.request_id, topic, about)

    def _producer_success(self, number: int, answer: pb.CommandProducerSuccess) -> None:
        request, pending, latency = self._match((T.PRODUCER,), answer.request_id)
        about: Fields = {
            "producer_id": pending.about.get("producer_id"),
            "producer_name": text(answer, "producer_name"),
            "properties": pending.about.get("properties"),
        }
        if not answer.producer_ready and request is not None:
            # The producer waits for an exclusive one. The second answer will have the same request id.
            self._add_request(request, answer.request_id, pending.topic, pending.about)
        status = "ready" if answer.producer_ready else "queued"
        self._emit("producer", **PendingRequest(pending.topic, about).outcome(status, latency))

    def _subscribe(self, number: int, command: pb.CommandSubscribe) -> None:
        topic = text(command, "topic", MAX_TOPIC_CHARS)
        self._consumers.put(command.consumer_id, topic, self._time)
        self._add_request(number, command.request_id, topic, self._private.subscribe(command))

    def _unsubscribe(self, number: int, command: pb.CommandUnsubscribe) -> None:
        topic = self._consumers.get(command.consumer_id)
        self._add_request(number, command.request_id, topic, {"consumer_id": command.consumer_id})
        self._emit("unsubscribe", topic=topic, consumer_id=command.consumer_id)

    def _send_error(self, number: int, answer: pb.CommandSendError) -> None:
        self._emit(
            "send_error",
            topic=self._producers.get(answer.producer_id),
            producer_id=answer.producer_id,
            sequence_id=answer.sequence_id,
            error=error_name(answer),
            message=text(answer, "message"),
        )

    def _close_by_client(self, number: int, command: pb.CommandCloseProducer | pb.CommandCloseConsumer) -> None:
        self._add_request(number, command.request_id, self._close("client", command))

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
        self._emit("close", by=by, kind=kind, id=number, topic=topic, **urls)
        return topic

    # Topics that move, scalable topics, coordinators

    def _migrated(self, number: int, command: pb.CommandTopicMigrated) -> None:
        of_consumer = command.resource_type == command.Consumer
        topic = (self._consumers if of_consumer else self._producers).get(command.resource_id)
        urls = broker_urls(command, "brokerServiceUrl", "brokerServiceUrlTls")
        kind = "consumer" if of_consumer else "producer"
        self._emit("migrated", kind=kind, id=command.resource_id, topic=topic, **urls)

    def _scalable_lookup(self, number: int, command: pb.CommandScalableTopicLookup) -> None:
        topic = text(command, "topic", MAX_TOPIC_CHARS)
        self._sessions.put(command.session_id, topic, self._time)
        self._add_request(number, command.session_id, topic)

    def _scalable_close(self, number: int, command: pb.CommandScalableTopicClose) -> None:
        self._sessions.pop(command.session_id)
        self._match((T.SCALABLE_TOPIC_LOOKUP,), command.session_id)

    def _scalable(self, number: int, update: pb.CommandScalableTopicUpdate) -> None:
        _, _, latency = self._match((T.SCALABLE_TOPIC_LOOKUP,), update.session_id)
        self._emit("scalable_topic", topic=self._sessions.get(update.session_id), **scalable_topic(update, latency))

    def _coordinators(self, number: int, update: pb.CommandWatchTcAssignmentsUpdate) -> None:
        self._emit("coordinators", **coordinators(update))


Handler: TypeAlias = Callable[[Dialogue, int, Any], None]

CLIENT_HANDLERS: dict[int, Handler] = {
    **{request: Dialogue._plain_request for request, _, _ in PLAIN_ANSWERS.values()},
    T.CONNECT: Dialogue._connect,
    T.AUTH_RESPONSE: Dialogue._auth,
    T.PARTITIONED_METADATA: Dialogue._plain_request,
    T.LOOKUP: Dialogue._lookup_request,
    T.PRODUCER: Dialogue._producer,
    T.SUBSCRIBE: Dialogue._subscribe,
    T.UNSUBSCRIBE: Dialogue._unsubscribe,
    T.SEEK: Dialogue._plain_request,
    T.CLOSE_PRODUCER: Dialogue._close_by_client,
    T.CLOSE_CONSUMER: Dialogue._close_by_client,
    T.GET_TOPICS_OF_NAMESPACE: Dialogue._topics_request,
    T.WATCH_TOPIC_LIST: Dialogue._topics_request,
    T.WATCH_TOPIC_LIST_CLOSE: Dialogue._watch_close,
    T.SCALABLE_TOPIC_LOOKUP: Dialogue._scalable_lookup,
    T.SCALABLE_TOPIC_CLOSE: Dialogue._scalable_close,
}
"""Handlers of client commands by type. Other types give no event."""

BROKER_HANDLERS: dict[int, Handler] = {
    **dict.fromkeys(PLAIN_ANSWERS, Dialogue._plain_answer),
    T.CONNECTED: Dialogue._connected,
    T.AUTH_CHALLENGE: Dialogue._auth,
    T.PARTITIONED_METADATA_RESPONSE: Dialogue._partitions,
    T.LOOKUP_RESPONSE: Dialogue._lookup,
    T.PRODUCER_SUCCESS: Dialogue._producer_success,
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
"""Handlers of broker commands by type."""


def _as_int(value: Value) -> int:
    assert isinstance(value, int)
    return value
