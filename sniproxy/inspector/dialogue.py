"""Turns the commands of one connection into events: matches answers to requests, and requests to topics. Pure.

Memory is bounded: if a peer opens too many requests, producers, consumers or sessions, the oldest are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

from sniproxy.inspector import scalable, topiclists
from sniproxy.inspector.oversized import settle
from sniproxy.inspector.pending import ERROR_REQUESTS, PLAIN_ANSWERS, SUCCESS_REQUESTS, PendingRequest, PendingRequests
from sniproxy.inspector.placement import MAX_TOPIC_CHARS, broker_urls
from sniproxy.inspector.revealing import PrivateFields
from sniproxy.inspector.scalable import ScalableTopics
from sniproxy.inspector.topiclists import TopicLists
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, feature_names, number_name, text
from sniproxy.pulsar.events import Event, Fields, Value
from sniproxy.util.bounded import BoundedMap

MAX_TRACKED = 10_000
"""Producers and consumers that are tracked, each. `ScalableTopics` and `TopicLists` have bounds of their own."""

T = pb.BaseCommand.Type
_LOOKUP_ANSWERS = {
    pb.CommandLookupTopicResponse.Redirect: "redirect",
    pb.CommandLookupTopicResponse.Connect: "connect",
    pb.CommandLookupTopicResponse.Failed: "failed",
}
_CONNECTION = 2**64 - 1
"""The request id of an ERROR that concerns the connection."""


class _Opened(NamedTuple):
    """The topic of a producer or consumer, and the id of the request that opened it."""

    topic: str | None
    request_id: int


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
        self._scalable = ScalableTopics(connection, self._pending)
        self._producers: BoundedMap[int, _Opened] = BoundedMap(MAX_TRACKED)
        self._consumers: BoundedMap[int, _Opened] = BoundedMap(MAX_TRACKED)
        self._lists = TopicLists(connection, self._pending, self._private)

    @property
    def remembered(self) -> int:
        """Number of requests, producers, consumers, watchers and sessions in memory."""
        opened = len(self._producers) + len(self._consumers)
        return len(self._pending) + opened + len(self._lists) + len(self._scalable)

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

    # Producers and consumers

    def _producer(self, number: int, command: pb.CommandProducer) -> None:
        topic = text(command, "topic", MAX_TOPIC_CHARS)
        self._producers.put(command.producer_id, _Opened(topic, command.request_id), self._time)
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
        self._consumers.put(command.consumer_id, _Opened(topic, command.request_id), self._time)
        self._add_request(number, command.request_id, topic, self._private.subscribe(command))

    def _unsubscribe(self, number: int, command: pb.CommandUnsubscribe) -> None:
        topic = _topic(self._consumers.get(command.consumer_id))
        self._add_request(number, command.request_id, topic, {"consumer_id": command.consumer_id})
        self._emit("unsubscribe", topic=topic, consumer_id=command.consumer_id)

    def _send_error(self, number: int, answer: pb.CommandSendError) -> None:
        self._emit(
            "send_error",
            topic=_topic(self._producers.get(answer.producer_id)),
            producer_id=answer.producer_id,
            sequence_id=answer.sequence_id,
            error=error_name(answer),
            message=text(answer, "message"),
        )

    def _ack_response(self, number: int, answer: pb.CommandAckResponse) -> None:
        # ACKs are not tracked: there are too many, and few have an answer.
        if (error := error_name(answer)) is not None:
            acked = PendingRequest(_topic(self._consumers.get(answer.consumer_id)), {})
            self._emit_error(T.ACK, acked, None, error, text(answer, "message"))

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
        topic = None if kept is None else kept.value.topic
        urls = broker_urls(command, "assignedBrokerServiceUrl", "assignedBrokerServiceUrlTls")
        self._emit("close", by=by, kind=kind, id=number, topic=topic, **urls)
        return topic

    # Topics that migrate, scalable topics, lists of topics

    def _migrated(self, number: int, command: pb.CommandTopicMigrated) -> None:
        of_consumer = command.resource_type == command.Consumer
        opened = (self._consumers if of_consumer else self._producers).get(command.resource_id)
        latency = None
        if opened is not None:
            # A broker answers a PRODUCER or SUBSCRIBE of a migrated topic only by this.
            _, _, latency = self._match((T.SUBSCRIBE if of_consumer else T.PRODUCER,), opened.request_id)
        urls = broker_urls(command, "brokerServiceUrl", "brokerServiceUrlTls")
        kind = "consumer" if of_consumer else "producer"
        self._emit("migrated", kind=kind, id=command.resource_id, topic=_topic(opened), **urls, latency_s=latency)

    def _scalable_command(self, number: int, command: Any) -> None:
        self._events += self._scalable.take(number, command, self._time)

    def _list_command(self, number: int, command: Any) -> None:
        self._events += self._lists.take(number, command, self._time)


Handler: TypeAlias = Callable[[Dialogue, int, Any], None]

CLIENT_HANDLERS: dict[int, Handler] = {
    **{request: Dialogue._plain_request for request, _, _ in PLAIN_ANSWERS.values()},
    **dict.fromkeys(scalable.CLIENT_COMMANDS, Dialogue._scalable_command),
    **dict.fromkeys(topiclists.CLIENT_COMMANDS, Dialogue._list_command),
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
}
"""Handlers of client commands by type. Other types give no event."""

BROKER_HANDLERS: dict[int, Handler] = {
    **dict.fromkeys(PLAIN_ANSWERS, Dialogue._plain_answer),
    **dict.fromkeys(scalable.BROKER_COMMANDS, Dialogue._scalable_command),
    **dict.fromkeys(topiclists.BROKER_COMMANDS, Dialogue._list_command),
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
    T.ACK_RESPONSE: Dialogue._ack_response,
}
"""Handlers of broker commands by type."""


def _as_int(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _topic(opened: _Opened | None) -> str | None:
    return None if opened is None else opened.topic
