"""What an inspector tells of a Pulsar connection: events, their names and their fields. Pure.

docs/reference/events.md has all events with their fields. These are stable: fields may be added, none goes away
or changes its meaning. Every event has a ``name``, a ``time`` (seconds since 1970, when the last byte of the frame came
by) and a ``connection`` (who watches chose that name). A field is there in every event of its name, and None when the
peers did not say it. Texts of peers are bounded and in printable ASCII, everything else as backslash escapes.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
"""What JSON can hold."""

Fields: TypeAlias = dict[str, Value]
"""The fields of an event."""

COMMANDS: dict[str, frozenset[str]] = {
    "connect": frozenset({"CONNECT"}),
    "connected": frozenset({"CONNECTED"}),
    "auth": frozenset({"AUTH_CHALLENGE", "AUTH_RESPONSE"}),
    "lookup": frozenset({"LOOKUP", "LOOKUP_RESPONSE"}),
    "partitions": frozenset({"PARTITIONED_METADATA", "PARTITIONED_METADATA_RESPONSE"}),
    "producer": frozenset({"PRODUCER", "PRODUCER_SUCCESS"}),
    "subscribe": frozenset({"SUBSCRIBE", "SUCCESS"}),
    "unsubscribe": frozenset({"UNSUBSCRIBE"}),
    "close": frozenset({"CLOSE_PRODUCER", "CLOSE_CONSUMER"}),
    "migrated": frozenset({"TOPIC_MIGRATED"}),
    "topics": frozenset(
        {
            *("GET_TOPICS_OF_NAMESPACE", "GET_TOPICS_OF_NAMESPACE_RESPONSE"),
            *("WATCH_TOPIC_LIST", "WATCH_TOPIC_LIST_SUCCESS"),
        }
    ),
    "topics_changed": frozenset({"WATCH_TOPIC_UPDATE"}),
    "scalable_topic": frozenset({"SCALABLE_TOPIC_LOOKUP", "SCALABLE_TOPIC_UPDATE"}),
    "coordinators": frozenset({"WATCH_TC_ASSIGNMENTS", "WATCH_TC_ASSIGNMENTS_UPDATE"}),
    "send_error": frozenset({"SEND_ERROR"}),
    "error": frozenset({"ERROR"}),
}
"""The commands that an event tells of, by the event's name. The other events tell of no command in particular."""


@frozen
class Event:
    """One thing that happened; docs/reference/events.md says which fields it has."""

    name: str
    time: float
    connection: str
    fields: Fields
