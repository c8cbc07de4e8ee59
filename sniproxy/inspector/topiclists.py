"""Lists of a namespace's topics in one connection: requests, and watches of both kinds. Pure.

Classic clients list and watch topics; clients of Pulsar 5.0 watch scalable topics. `Dialogue` hands the commands over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sniproxy.inspector.pending import PendingRequests
from sniproxy.inspector.placement import MAX_TOPIC_CHARS
from sniproxy.inspector.revealing import PrivateFields
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, number_name, text
from sniproxy.pulsar.events import Event, Fields
from sniproxy.util.bounded import BoundedMap

MAX_WATCHES = 10_000
"""Watches of a connection that are tracked, of each kind; beyond it, the oldest are dropped."""

T = pb.BaseCommand.Type


class TopicLists:
    """The lists and watches of one connection.

    ``pending``: the connection's requests. ``private``: shows or hides properties.
    """

    def __init__(self, connection: str, pending: PendingRequests, private: PrivateFields) -> None:
        self._connection = connection
        self._pending = pending
        self._private = private
        # The namespace of each watch. The two kinds number their watches independently.
        self._watchers: BoundedMap[int, str | None] = BoundedMap(MAX_WATCHES)
        self._scalable: BoundedMap[int, str | None] = BoundedMap(MAX_WATCHES)

    def __len__(self) -> int:
        """Number of watches in memory."""
        return len(self._watchers) + len(self._scalable)

    def take(self, number: int, command: Any, time: float) -> list[Event]:
        """Take a command of a type in `CLIENT_COMMANDS` or `BROKER_COMMANDS`."""
        return _HANDLERS[number](self, number, command, time)

    def _ask(
        self, number: int, command: pb.CommandGetTopicsOfNamespace | pb.CommandWatchTopicList, time: float
    ) -> list[Event]:
        about: Fields = {"namespace": (namespace := text(command, "namespace", MAX_TOPIC_CHARS))}
        if isinstance(command, pb.CommandWatchTopicList):
            self._watchers.put(command.watcher_id, namespace, time)
        else:
            about["properties"] = self._private.properties(command.properties)
        return self._pending.add(number, command.request_id, time, None, about)

    def _answer(
        self, number: int, answer: pb.CommandGetTopicsOfNamespaceResponse | pb.CommandWatchTopicListSuccess, time: float
    ) -> list[Event]:
        # The answer's type is the request's type plus 1.
        _, pending, latency = self._pending.take((number - 1,), answer.request_id, time)
        count = len(answer.topic if isinstance(answer, pb.CommandWatchTopicListSuccess) else answer.topics)
        namespace, properties = pending.about.get("namespace"), pending.about.get("properties")
        told: Fields = {"namespace": namespace, "properties": properties, "topics": count, "latency_s": latency}
        return self._topics(number - 1, time, told)

    def _changed(self, number: int, update: pb.CommandWatchTopicUpdate, time: float) -> list[Event]:
        namespace = self._watchers.get(update.watcher_id)
        return self._change(namespace, len(update.new_topics), len(update.deleted_topics), time)

    def _close(self, number: int, command: pb.CommandWatchTopicListClose, time: float) -> list[Event]:
        self._watchers.pop(command.watcher_id)
        return self._pending.add(number, command.request_id, time)

    # Scalable topics

    def _watch(self, number: int, command: pb.CommandWatchScalableTopics, time: float) -> list[Event]:
        namespace = text(command, "namespace", MAX_TOPIC_CHARS)
        self._scalable.put(command.watch_id, namespace, time)
        # A broker sends no snapshot to a client that has the same list.
        return [] if command.HasField("current_hash") else self._pending.add(number, command.watch_id, time)

    def _unwatch(self, number: int, command: pb.CommandWatchScalableTopicsClose, time: float) -> list[Event]:
        self._scalable.pop(command.watch_id)
        self._pending.take((T.WATCH_SCALABLE_TOPICS,), command.watch_id, time)
        return []

    def _update(self, number: int, update: pb.CommandWatchScalableTopicsUpdate, time: float) -> list[Event]:
        _, _, latency = self._pending.take((T.WATCH_SCALABLE_TOPICS,), update.watch_id, time)
        namespace, error = self._scalable.get(update.watch_id), error_name(update)
        events: list[Event] = []
        if error is not None or update.HasField("snapshot"):
            told: Fields = {
                "namespace": namespace,
                "properties": None,
                "topics": len(update.snapshot.topics) if error is None else None,
                "latency_s": latency,
            }
            events += self._topics(T.WATCH_SCALABLE_TOPICS, time, told, error, text(update, "message"))
        if update.HasField("diff"):
            events += self._change(namespace, len(update.diff.added), len(update.diff.removed), time)
        return events

    def _topics(
        self, request: int, time: float, told: Fields, error: str | None = None, message: str | None = None
    ) -> list[Event]:
        status = "success" if error is None else "failed"
        fields: Fields = {"request": number_name(request), "status": status, **told, "error": error, "message": message}
        return [Event("topics", time, self._connection, fields)]

    def _change(self, namespace: str | None, added: int, removed: int, time: float) -> list[Event]:
        fields: Fields = {"namespace": namespace, "added": added, "removed": removed}
        return [Event("topics_changed", time, self._connection, fields)]


_Handler: TypeAlias = Callable[[TopicLists, int, Any, float], list[Event]]

CLIENT_COMMANDS: dict[int, _Handler] = {
    T.GET_TOPICS_OF_NAMESPACE: TopicLists._ask,
    T.WATCH_TOPIC_LIST: TopicLists._ask,
    T.WATCH_TOPIC_LIST_CLOSE: TopicLists._close,
    T.WATCH_SCALABLE_TOPICS: TopicLists._watch,
    T.WATCH_SCALABLE_TOPICS_CLOSE: TopicLists._unwatch,
}
"""Handlers of client commands by type."""

BROKER_COMMANDS: dict[int, _Handler] = {
    T.GET_TOPICS_OF_NAMESPACE_RESPONSE: TopicLists._answer,
    T.WATCH_TOPIC_LIST_SUCCESS: TopicLists._answer,
    T.WATCH_TOPIC_UPDATE: TopicLists._changed,
    T.WATCH_SCALABLE_TOPICS_UPDATE: TopicLists._update,
}
"""Handlers of broker commands by type."""

_HANDLERS = {**CLIENT_COMMANDS, **BROKER_COMMANDS}
