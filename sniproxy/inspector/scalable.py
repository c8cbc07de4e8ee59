"""Scalable topics (Pulsar 5.0) in one connection: their layouts and consumers; leaders of coordinators. Pure.

A session follows the layout of one topic. A consumer gets segments assigned by the topic's controller. A watch follows
the leaders of transaction coordinators (PIP-473). `Dialogue` hands the commands over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sniproxy.inspector.pending import PendingRequests
from sniproxy.inspector.placement import MAX_LISTED, MAX_TOPIC_CHARS, coordinators, scalable_topic
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.events import Event, Fields, Value
from sniproxy.pulsar.topicname import topic_of_segment
from sniproxy.util.bounded import BoundedMap

MAX_SESSIONS = 10_000
"""Sessions and consumers of a connection that are tracked, each; beyond it, the oldest are dropped."""

T = pb.BaseCommand.Type
_NO_CONSUMER: Fields = {
    "topic": None,
    "subscription": None,
    "consumer_id": None,
    "consumer_name": None,
    "consumer_type": None,
}


class ScalableTopics:
    """The sessions and consumers of one connection.

    ``pending``: the connection's requests.
    """

    def __init__(self, connection: str, pending: PendingRequests) -> None:
        self._connection = connection
        self._pending = pending
        self._sessions: BoundedMap[int, str | None] = BoundedMap(MAX_SESSIONS)
        self._consumers: BoundedMap[int, Fields] = BoundedMap(MAX_SESSIONS)

    def __len__(self) -> int:
        """Number of sessions and consumers in memory."""
        return len(self._sessions) + len(self._consumers)

    def take(self, number: int, command: Any, time: float) -> list[Event]:
        """Take a command of a type in `CLIENT_COMMANDS` or `BROKER_COMMANDS`."""
        return _HANDLERS[number](self, command, time)

    def _event(self, name: str, time: float, fields: Fields) -> list[Event]:
        return [Event(name, time, self._connection, fields)]

    # Sessions

    def _lookup(self, command: pb.CommandScalableTopicLookup, time: float) -> list[Event]:
        topic = text(command, "topic", MAX_TOPIC_CHARS)
        self._sessions.put(command.session_id, topic, time)
        return self._pending.add(T.SCALABLE_TOPIC_LOOKUP, command.session_id, time, topic)

    def _close(self, command: pb.CommandScalableTopicClose, time: float) -> list[Event]:
        self._sessions.pop(command.session_id)
        self._pending.take((T.SCALABLE_TOPIC_LOOKUP,), command.session_id, time)
        return []

    def _update(self, update: pb.CommandScalableTopicUpdate, time: float) -> list[Event]:
        _, _, latency = self._pending.take((T.SCALABLE_TOPIC_LOOKUP,), update.session_id, time)
        topic = self._sessions.get(update.session_id)
        return self._event("scalable_topic", time, {"topic": topic, **scalable_topic(update, topic, latency)})

    # Consumers

    def _subscribe(self, command: pb.CommandScalableTopicSubscribe, time: float) -> list[Event]:
        kind = pb.ScalableConsumerType.Name(command.consumer_type) if command.HasField("consumer_type") else None
        about: Fields = {
            "topic": text(command, "topic", MAX_TOPIC_CHARS),
            "subscription": text(command, "subscription"),
            "consumer_id": command.consumer_id,
            "consumer_name": text(command, "consumer_name"),
            "consumer_type": kind,
        }
        # A refused consumer stays: the client unsubscribes it, too.
        self._consumers.put(command.consumer_id, about, time)
        topic = text(command, "topic", MAX_TOPIC_CHARS)
        return self._pending.add(T.SCALABLE_TOPIC_SUBSCRIBE, command.request_id, time, topic, about)

    def _subscribed(self, answer: pb.CommandScalableTopicSubscribeResponse, time: float) -> list[Event]:
        _, pending, latency = self._pending.take((T.SCALABLE_TOPIC_SUBSCRIBE,), answer.request_id, time)
        error = error_name(answer)
        good = error is None and answer.HasField("assignment")
        about = {**_NO_CONSUMER, **pending.about}
        fields: Fields = {
            **_consumer(about, answer.assignment),
            "status": "ready" if good else "failed",
            "latency_s": latency,
            "error": error,
            "message": text(answer, "message"),
        }
        return self._event("scalable_subscribe", time, fields)

    def _assigned(self, update: pb.CommandScalableTopicAssignmentUpdate, time: float) -> list[Event]:
        about = self._consumers.get(update.consumer_id) or {**_NO_CONSUMER, "consumer_id": update.consumer_id}
        return self._event("assignment", time, _consumer(about, update.assignment))

    def _unsubscribe(self, command: pb.CommandScalableTopicUnsubscribe, time: float) -> list[Event]:
        kept = self._consumers.pop(command.consumer_id)
        about = {**_NO_CONSUMER, "consumer_id": command.consumer_id} if kept is None else kept.value
        topic = about["topic"] if isinstance(about["topic"], str) else None
        pushed_out = self._pending.add(T.SCALABLE_TOPIC_UNSUBSCRIBE, command.request_id, time, topic)
        return [*pushed_out, *self._event("scalable_unsubscribe", time, dict(about))]

    # Transaction coordinators

    def _coordinators_watch(self, command: pb.CommandWatchTcAssignments, time: float) -> list[Event]:
        return self._pending.add(T.WATCH_TC_ASSIGNMENTS, command.watch_id, time)

    def _coordinators_close(self, command: pb.CommandWatchTcAssignmentsClose, time: float) -> list[Event]:
        self._pending.take((T.WATCH_TC_ASSIGNMENTS,), command.watch_id, time)
        return []

    def _coordinators(self, update: pb.CommandWatchTcAssignmentsUpdate, time: float) -> list[Event]:
        _, _, latency = self._pending.take((T.WATCH_TC_ASSIGNMENTS,), update.watch_id, time)
        return self._event("coordinators", time, coordinators(update, latency))


def _consumer(about: Fields, assignment: pb.ScalableConsumerAssignment) -> Fields:
    """The fields of a consumer and of the segments that it has."""
    segments: list[Value] = [
        {
            "segment_id": segment.segment_id,
            "segment_topic": text(segment, "segment_topic", MAX_TOPIC_CHARS),
            "hash_start": segment.hash_start if segment.HasField("hash_start") else None,
            "hash_end": segment.hash_end if segment.HasField("hash_end") else None,
        }
        for segment in assignment.segments[:MAX_LISTED]
    ]
    topic = about["topic"]
    if topic is None and assignment.segments:
        # The request was missed.
        topic = topic_of_segment(text(assignment.segments[0], "segment_topic", MAX_TOPIC_CHARS) or "")
    return {
        **about,
        "topic": topic,
        "layout_epoch": assignment.layout_epoch if assignment.HasField("layout_epoch") else None,
        "segments": segments,
        "segments_total": len(assignment.segments),
    }


_Handler: TypeAlias = Callable[[ScalableTopics, Any, float], list[Event]]

CLIENT_COMMANDS: dict[int, _Handler] = {
    T.SCALABLE_TOPIC_LOOKUP: ScalableTopics._lookup,
    T.SCALABLE_TOPIC_CLOSE: ScalableTopics._close,
    T.SCALABLE_TOPIC_SUBSCRIBE: ScalableTopics._subscribe,
    T.SCALABLE_TOPIC_UNSUBSCRIBE: ScalableTopics._unsubscribe,
    T.WATCH_TC_ASSIGNMENTS: ScalableTopics._coordinators_watch,
    T.WATCH_TC_ASSIGNMENTS_CLOSE: ScalableTopics._coordinators_close,
}
"""Handlers of client commands by type."""

BROKER_COMMANDS: dict[int, _Handler] = {
    T.SCALABLE_TOPIC_UPDATE: ScalableTopics._update,
    T.SCALABLE_TOPIC_SUBSCRIBE_RESPONSE: ScalableTopics._subscribed,
    T.SCALABLE_TOPIC_ASSIGNMENT_UPDATE: ScalableTopics._assigned,
    T.WATCH_TC_ASSIGNMENTS_UPDATE: ScalableTopics._coordinators,
}
"""Handlers of broker commands by type."""

_HANDLERS = {**CLIENT_COMMANDS, **BROKER_COMMANDS}
