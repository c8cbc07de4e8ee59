"""Events of an inspected Pulsar connection: their names and fields. Pure.

docs/reference/events.md lists all events with their fields. They are stable: later versions may add fields, but neither
remove one nor change its meaning. Every event has a ``name``, a ``time`` (seconds since 1970, of the frame's last byte)
and a ``connection`` (a name chosen by the program that inspects). All events of one name have the same fields; a field
that the peers left out is None. Texts from peers are bounded and in printable ASCII, with backslash escapes for the
rest.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
"""A value that JSON can represent."""

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
            *("WATCH_SCALABLE_TOPICS", "WATCH_SCALABLE_TOPICS_UPDATE"),
        }
    ),
    "topics_changed": frozenset({"WATCH_TOPIC_UPDATE", "WATCH_SCALABLE_TOPICS_UPDATE"}),
    "scalable_topic": frozenset({"SCALABLE_TOPIC_LOOKUP", "SCALABLE_TOPIC_UPDATE"}),
    "scalable_subscribe": frozenset({"SCALABLE_TOPIC_SUBSCRIBE", "SCALABLE_TOPIC_SUBSCRIBE_RESPONSE"}),
    "assignment": frozenset({"SCALABLE_TOPIC_ASSIGNMENT_UPDATE"}),
    "scalable_unsubscribe": frozenset({"SCALABLE_TOPIC_UNSUBSCRIBE"}),
    "coordinators": frozenset({"WATCH_TC_ASSIGNMENTS", "WATCH_TC_ASSIGNMENTS_UPDATE"}),
    "send_error": frozenset({"SEND_ERROR"}),
    "error": frozenset({"ERROR"}),
}
"""The commands that each event reports, by the event's name. Other events report no particular command."""


@frozen
class Event:
    """One event. docs/reference/events.md lists the fields for each name."""

    name: str
    time: float
    connection: str
    fields: Fields
