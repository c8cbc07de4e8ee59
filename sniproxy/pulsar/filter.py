"""Selects events by topic and by command. Pure."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase

from sniproxy.pulsar.commands_pb2 import BaseCommand
from sniproxy.pulsar.events import COMMANDS, Event
from sniproxy.pulsar.topicname import topic_of_partition, topic_of_segment
from sniproxy.util.text import bounded

ALWAYS = frozenset({"lost", "tls"})
"""Events that every filter selects: they say that a connection cannot be read, and so may hide wanted events."""

NAMES: Collection[str] = sorted(BaseCommand.Type.keys())
"""The names of all command types."""


class EventFilter:
    """Selects events.

    ``patterns``: shell patterns (``*``, ``?``, ``[a-z]``) for the topic. A pattern without ``://`` also matches
    ``tenant/namespace/topic`` and the last part alone. A partition and a segment also match by the name of their topic.
    With patterns, events without a topic are not selected. ``commands``: command types such as ``LOOKUP``, in any case;
    a request's type also selects its answer. Empty ``patterns`` or ``commands`` select all.

    ``extra_commands``: the types in ``commands`` that give events only if an `Inspection` is created with them.

    Raises `ValueError` for an unknown command type.
    """

    def __init__(self, patterns: Collection[str] = (), commands: Collection[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._commands = frozenset(command.upper() for command in commands)
        for command in sorted(self._commands.difference(NAMES)):
            near = get_close_matches(command, NAMES, 3)
            known = f"known: {', '.join(NAMES)}"
            cure = f"did you mean {' or '.join(near)}? `sniproxyctl inspect --help` lists all" if near else known
            raise ValueError(f"unknown command {bounded(command)}; {cure}")
        self.extra_commands = self._commands.difference(*COMMANDS.values())

    def wants(self, event: Event) -> bool:
        """Whether the filter selects this event."""
        return event.name in ALWAYS or (self._by_command(event) and self._by_topic(event))

    def _by_command(self, event: Event) -> bool:
        if not self._commands:
            return True
        named = {event.fields.get("command"), event.fields.get("request"), *COMMANDS.get(event.name, ())}
        return not self._commands.isdisjoint(named)

    def _by_topic(self, event: Event) -> bool:
        if not self._patterns:
            return True
        topics = event.fields.get("topic"), event.fields.get("resolved_topic")
        return any(isinstance(topic, str) and matches(topic, pattern) for topic in topics for pattern in self._patterns)


def matches(topic: str, pattern: str) -> bool:
    """Whether a topic's name matches a pattern, as `EventFilter` describes."""
    whole = topic_of_partition(topic) or topic_of_segment(topic)
    names = [topic] if whole is None else [topic, whole]
    if "://" not in pattern:
        paths = [name.partition("://")[2] or name for name in names]
        names += [*paths, *(path.rpartition("/")[2] for path in paths)]
    return any(fnmatchcase(name, pattern) for name in names)
