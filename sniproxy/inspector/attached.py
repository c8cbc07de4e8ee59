"""The open producers and consumers of inspected connections. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from sniproxy.pulsar.events import Event, Value

MAX_ATTACHED = 50_000
"""Open producers and consumers remembered; further ones are not counted."""

Kind: TypeAlias = Literal["producers", "consumers"]

Change: TypeAlias = tuple[str, str, Kind, int]
"""The place of a connection, a topic, what it has more or fewer of, and 1 or -1."""


class Attachments:
    """Remembers which connection has which producers and consumers open, by their ids. Its memory is bounded."""

    def __init__(self, most: int = MAX_ATTACHED) -> None:
        self._most = most
        self._number = 0
        self._open: dict[str, dict[tuple[Kind, Value], tuple[str, str]]] = {}

    def __len__(self) -> int:
        return self._number

    def take(self, event: Event, place: str, known: Callable[[str], bool] = lambda _: True) -> list[Change]:
        """Take any event.

        @param place: the destination of its connection. @param known: whether a topic is counted.
        @return: what the event changes.
        """
        fields = event.fields
        match event.name:
            case "producer" if fields["status"] == "ready":
                return self._opened(event, ("producers", fields.get("producer_id")), place, known)
            case "subscribe" if fields["status"] == "ready":
                return self._opened(event, ("consumers", fields.get("consumer_id")), place, known)
            case "unsubscribe":
                return self._closed(event.connection, ("consumers", fields.get("consumer_id")))
            case "close" | "migrated":
                return self._closed(event.connection, (_kind(fields["kind"]), fields["id"]))
            case "ended" | "lost":
                return [change for key in [*self._open.get(event.connection, ())]
                        for change in self._closed(event.connection, key)]  # fmt: skip
        return []

    def _opened(self, event: Event, key: tuple[Kind, Value], place: str, known: Callable[[str], bool]) -> list[Change]:
        topic, changes = event.fields["topic"], self._closed(event.connection, key)
        if not isinstance(topic, str) or self._number >= self._most or not known(topic):
            return changes
        self._open.setdefault(event.connection, {})[key] = (place, topic)
        self._number += 1
        return [*changes, (place, topic, key[0], 1)]

    def _closed(self, connection: str, key: tuple[Kind, Value]) -> list[Change]:
        opened = self._open.get(connection, {})
        found = opened.pop(key, None)
        if found is None:
            return []
        if not opened:
            del self._open[connection]
        self._number -= 1
        return [(*found, key[0], -1)]


def _kind(kind: Value) -> Kind:
    return "producers" if kind == "producer" else "consumers"
