"""Writes entries of the inspector's ledger as a text table, CSV or JSON. Pure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, TextIO, TypeAlias

import attrs

from sniproxy.inspector.entries import Failure, NamespaceEntry, TopicEntry
from sniproxy.util.text import counted

Entry: TypeAlias = TopicEntry | NamespaceEntry | Failure
"""One row."""


@attrs.frozen
class Columns:
    """The columns of a kind of entry: each name with the function that gives the cell.

    @ivar text: for text tables. The first column is the cluster, which is shown only if there is more than one.
    @ivar csv: for CSV.
    """

    text: Mapping[str, Callable[[Any], str]]
    csv: Mapping[str, Callable[[Any], object]]


def write_table(columns: Columns, entries: Sequence[Entry], out: TextIO) -> None:
    """Write a text table; nothing if there are no entries."""
    names = [*columns.text][len({entry.cluster for entry in entries}) < 2 :]
    rows = [names, *([columns.text[name](entry) for name in names] for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if entries else []:
        cells = (
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for cell, width, name in zip(row, widths, names, strict=True)
        )
        print("  ".join(cells).rstrip(), file=out)


def write_csv(columns: Columns, entries: Sequence[Entry], out: TextIO) -> None:
    """Write CSV (RFC 4180) with a header; times are UTC."""
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(columns.csv)
    rows.writerows([cell(entry) for cell in columns.csv.values()] for entry in entries)


def write_json(columns: Columns, entries: Sequence[Entry], out: TextIO) -> None:
    """Write a JSON array, one entry per line."""
    print("[" + ",\n ".join(json.dumps(_fields(entry)) for entry in entries) + "]", file=out)


def _fields(entry: Entry) -> dict[str, Any]:
    moves = {"moves": [attrs.asdict(move) for move in entry.moves]} if isinstance(entry, TopicEntry) else {}
    return {**attrs.asdict(entry), **moves}


def broker_of(entry: TopicEntry) -> str:
    """The URL of the broker, TLS if it has one; for a folded topic, the URLs of all brokers; and notes on it."""
    urls = entry.brokers or tuple(url for url in (entry.broker_url_tls or entry.broker_url,) if url)
    sealed = entry.segment is not None and entry.segment.sealed
    notes = ["sealed"] if sealed else ["migrated"] if entry.migrated else ["unloaded"] if entry.unsettled else []
    if entry.layout is not None:
        controller = entry.layout.controller_url_tls or entry.layout.controller_url
        notes.append(f"controller {controller}" if controller else "no controller yet")
    if leader := entry.leader_url_tls or entry.leader_url:
        notes.append(f"leader {leader}")
    return (", ".join(urls) or "-") + (f" ({', '.join(notes)})" if notes else "")


def _moment(time: float, between: str, behind: str = "") -> str:
    """A time in UTC; empty if it is out of range, which captures can contain."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime(f"%Y-%m-%d{between}%H:%M:%S{behind}")
    except (ValueError, OverflowError, OSError):
        return ""


def _seen(time: float) -> str:
    return _moment(time, " ") or "-"


def _topic(entry: TopicEntry) -> str:
    parts = (entry.partitions, "partition"), (entry.segments, "segment")
    listed = ", ".join(counted(number, what) for number, what in parts if number)
    return f"{entry.topic} ({listed})" if listed else entry.topic


def _count(name: str) -> Callable[[Any], str]:
    return lambda entry: str(getattr(entry, name))


def _text(name: str) -> Callable[[Any], str]:
    return lambda entry: getattr(entry, name) or "-"


TOPICS = Columns(
    {
        "CLUSTER": _text("cluster"),
        "TOPIC": _topic,
        "BROKER": broker_of,
        "LOOKUPS": _count("lookups"),
        "LAST SEEN (UTC)": lambda entry: _seen(entry.last_seen),
        "MOVES": _count("moves_total"),
    },
    {
        **{name: attrgetter(name) for name in ("topic", "broker_url", "broker_url_tls", "lookups", "failures")},
        "last_seen": lambda entry: _moment(entry.last_seen, "T", "Z"),
        "moves": attrgetter("moves_total"),
        **{name: attrgetter(name) for name in ("partitions", "cluster", "segments")},
        "controller_url": lambda entry: entry.layout and entry.layout.controller_url,
        "controller_url_tls": lambda entry: entry.layout and entry.layout.controller_url_tls,
        **{name: attrgetter(name) for name in ("leader_url", "leader_url_tls")},
    },
)
"""Columns of `TopicEntry`."""

NAMESPACES = Columns(
    {
        "CLUSTER": _text("cluster"),
        "NAMESPACE": _text("namespace"),
        "LOOKUPS": _count("lookups"),
        "FAILED": _count("failures"),
        "LAST SEEN (UTC)": lambda entry: _seen(entry.last_seen),
        "MOVES": _count("moves"),
    },
    {
        **{name: attrgetter(name) for name in ("namespace", "lookups", "failures")},
        "last_seen": lambda entry: _moment(entry.last_seen, "T", "Z"),
        **{name: attrgetter(name) for name in ("moves", "cluster")},
    },
)
"""Columns of `NamespaceEntry`."""

FAILURES = Columns(
    {
        "CLUSTER": _text("cluster"),
        "TIME (UTC)": lambda entry: _seen(entry.time),
        "STEP": _text("step"),
        "TOPIC": _text("topic"),
        "ERROR": _text("error"),
        "MESSAGE": _text("message"),
    },
    {
        "time": lambda entry: _moment(entry.time, "T", "Z"),
        **{name: attrgetter(name) for name in ("connection", "topic", "error", "message", "cluster", "step")},
    },
)
"""Columns of `Failure`, a failed lookup."""

_NUMBERS = ("LOOKUPS", "FAILED", "MOVES")
