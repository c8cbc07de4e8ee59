"""Which events somebody wants to see: by topic, and by command. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase

from sniproxy.pulsar.commands_pb2 import BaseCommand
from sniproxy.pulsar.events import COMMANDS, Event
from sniproxy.util.text import bounded

ALWAYS = frozenset({"lost", "tls"})
"""Events that are always wanted: they say that what is wanted may be there, but cannot be seen."""

NAMES: Collection[str] = sorted(BaseCommand.Type.keys())
"""All types of commands."""

_PARTITION = re.compile(r"-partition-\d+\Z")


class EventFilter:
    """Tells the events that are wanted from the others.

    ``patterns``: of topics, as in a shell (``*``, ``?``, ``[a-z]``); one that has no ``://`` is also held against the
    topic without it (``tenant/namespace/topic``) and against its last part; a partition is also known by the name of
    its topic. Events without a topic are not wanted then. ``commands``: types such as ``LOOKUP``, in any case;
    an answer belongs to its request. Empty: no choice by these.

    ``asked_for``: the types among them that are no event of their own but by asking an `Inspection` for it.

    Raises `ValueError` for a command that there is not.
    """

    def __init__(self, patterns: Collection[str] = (), commands: Collection[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._commands = frozenset(command.upper() for command in commands)
        for command in sorted(self._commands.difference(NAMES)):
            near = get_close_matches(command, NAMES, 3)
            others = f"perhaps {' or '.join(near)}; --help has all" if near else f"there are: {', '.join(NAMES)}"
            raise ValueError(f"there is no command {bounded(command)}; {others}")
        self.asked_for = self._commands.difference(*COMMANDS.values())

    def wants(self, event: Event) -> bool:
        """Whether this event is to be seen."""
        return event.name in ALWAYS or (self._by_command(event) and self._by_topic(event))

    def _by_command(self, event: Event) -> bool:
        if not self._commands:
            return True
        told = {event.fields.get("command"), event.fields.get("request"), *COMMANDS.get(event.name, ())}
        return not self._commands.isdisjoint(told)

    def _by_topic(self, event: Event) -> bool:
        if not self._patterns:
            return True
        topic = event.fields.get("topic")
        return isinstance(topic, str) and any(matches(topic, pattern) for pattern in self._patterns)


def matches(topic: str, pattern: str) -> bool:
    """Whether a topic's name fits a pattern; `EventFilter` says how."""
    names = [topic]
    if "://" not in pattern:
        behind = topic.partition("://")[2] or topic
        names += [behind, behind.rpartition("/")[2]]
    names += [_PARTITION.sub("", name) for name in names]
    return any(fnmatchcase(name, pattern) for name in names)
