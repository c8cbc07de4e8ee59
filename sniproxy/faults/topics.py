"""Knows the topics of the commands of one connection. Pure.

Memory is bounded: if a client opens too many requests, producers or consumers, the oldest are dropped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.util.bounded import BoundedMap

MAX_TRACKED = 5000
"""Requests, producers and consumers that are remembered, each: Java clients have at most so many lookups at once."""

T = pb.BaseCommand.Type
# Some clients number lookups separately, so two requests may have the same number.
_GROUPS: dict[int, int] = {
    T.LOOKUP: T.LOOKUP,
    T.LOOKUP_RESPONSE: T.LOOKUP,
    T.PARTITIONED_METADATA: T.PARTITIONED_METADATA,
    T.PARTITIONED_METADATA_RESPONSE: T.PARTITIONED_METADATA,
}
_OPEN_CONSUMER = (T.SUBSCRIBE, T.SCALABLE_TOPIC_SUBSCRIBE)


class Concerned(NamedTuple):
    """What a command concerns. None: not known, or nothing of the kind."""

    topic: str | None = None
    producer_id: int | None = None
    consumer_id: int | None = None


class TopicTracker:
    """Remembers the topics of requests, producers and consumers."""

    def __init__(self) -> None:
        self._requests: BoundedMap[tuple[int, int], Concerned] = BoundedMap(MAX_TRACKED)
        self._producers: BoundedMap[int, str] = BoundedMap(MAX_TRACKED)
        self._consumers: BoundedMap[int, str] = BoundedMap(MAX_TRACKED)

    def take(self, by_client: bool, number: int, command: Any) -> Concerned:
        """Take a command. @param number: its type. @param command: its sub-message."""
        known = command.DESCRIPTOR.fields_by_name
        producer_id = command.producer_id if "producer_id" in known else None
        consumer_id = command.consumer_id if "consumer_id" in known else None
        topic = command.topic if "topic" in known and isinstance(command.topic, str) else None
        request = (_GROUPS.get(number, 0), command.request_id) if "request_id" in known else None
        if by_client and number == T.PRODUCER and topic is not None and producer_id is not None:
            self._producers.put(producer_id, topic)
        if by_client and number in _OPEN_CONSUMER and topic is not None and consumer_id is not None:
            self._consumers.put(consumer_id, topic)
        if number == T.TOPIC_MIGRATED:
            is_producer = command.resource_type == pb.CommandTopicMigrated.Producer
            producer_id, consumer_id = (command.resource_id, None) if is_producer else (None, command.resource_id)
        if topic is None and producer_id is not None:
            topic = self._producers.get(producer_id)
        if topic is None and consumer_id is not None:
            topic = self._consumers.get(consumer_id)
        found = Concerned(topic, producer_id, consumer_id)
        if request is not None and by_client:
            self._requests.put(request, found)
        elif request is not None and found == Concerned():
            found = self._requests.get(request) or found
        return found
