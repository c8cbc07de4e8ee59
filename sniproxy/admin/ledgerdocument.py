"""Reads the ledger in the JSON of C{/topics}. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

import attrs

from sniproxy.inspector.entries import Failure, LedgerSnapshot, Move, NamespaceEntry, TopicEntry
from sniproxy.inspector.layouts import Layout, Segment

T = TypeVar("T", TopicEntry, NamespaceEntry, Failure)


def ledger_of(document: dict[str, Any]) -> LedgerSnapshot:
    """The ledger of a proxy that inspects. @raise KeyError, TypeError: the JSON has another form."""
    return LedgerSnapshot(
        [_entry(entry) for entry in document["topics"]],
        [_from_json(NamespaceEntry, one) for one in document["namespaces"]],
        [_from_json(Failure, one) for one in reversed(document["failures"])],
    )


def _entry(document: dict[str, Any]) -> TopicEntry:
    entry = _from_json(TopicEntry, document)
    entry.moves = deque(Move(**move) for move in document["moves"])
    entry.brokers = tuple(document["brokers"])
    # Older releases of the proxy have neither.
    layout, segment = document.get("layout"), document.get("segment")
    entry.layout = None if layout is None else Layout(**layout)
    entry.segment = None if segment is None else Segment(**{**segment, "parents": tuple(segment["parents"])})
    return entry


def _from_json(kind: type[T], document: dict[str, Any]) -> T:
    """An object of this class from its JSON; ignores fields that the class does not have."""
    fields = {field.name for field in attrs.fields(kind)}
    return kind(**{name: value for name, value in document.items() if name in fields})
