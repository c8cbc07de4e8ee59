"""What the ledger knows as a table: for people, as CSV, as JSON. Pure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO, TypeAlias

import attrs

from sniproxy.inspector.entries import Failure, NamespaceEntry, TopicEntry
from sniproxy.util.text import counted

Entry: TypeAlias = TopicEntry | NamespaceEntry | Failure
"""What a line is about."""


@attrs.frozen
class Columns:
    """What is listed: its columns for people and in CSV, each with what stands in it.

    ``people`` begins with the cluster, which is shown where there is more than one.
    """

    people: Mapping[str, Callable[[Any], str]]
    csv: Mapping[str, Callable[[Any], object]]


def write_table(listing: Columns, entries: Sequence[Entry], out: TextIO) -> None:
    """A table for people; nothing when there are no entries."""
    names = [*listing.people][len({entry.cluster for entry in entries}) < 2 :]
    rows = [names, *([listing.people[name](entry) for name in names] for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if entries else []:
        cells = (
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for cell, width, name in zip(row, widths, names, strict=True)
        )
        print("  ".join(cells).rstrip(), file=out)


def write_csv(listing: Columns, entries: Sequence[Entry], out: TextIO) -> None:
    """CSV (RFC 4180) with a header; times in UTC."""
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(listing.csv)
    rows.writerows([cell(entry) for cell in listing.csv.values()] for entry in entries)


def write_json(listing: Columns, entries: Sequence[Entry], out: TextIO) -> None:
    """A JSON array, an entry a line, with the entry's own fields."""
    print("[" + ",\n ".join(json.dumps(_fields(entry)) for entry in entries) + "]", file=out)


def _fields(entry: Entry) -> dict[str, Any]:
    moves = {"moves": [attrs.asdict(move) for move in entry.moves]} if isinstance(entry, TopicEntry) else {}
    return {**attrs.asdict(entry), **moves}


def broker_of(entry: TopicEntry) -> str:
    """The broker's URL that a person wants to see: the TLS one where there is one; of a folded topic, all."""
    urls = entry.brokers or tuple(url for url in (entry.broker_url_tls or entry.broker_url,) if url)
    said = ", ".join(urls) or "-"
    return f"{said} (given away)" if entry.unsettled else said


def _moment(time: float, between: str, behind: str = "") -> str:
    """A time in UTC; empty when there is no such time, as a capture may have it."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime(f"%Y-%m-%d{between}%H:%M:%S{behind}")
    except (ValueError, OverflowError, OSError):
        return ""


def _seen(time: float) -> str:
    return _moment(time, " ") or "-"


def _topic(entry: TopicEntry) -> str:
    return f"{entry.topic} ({counted(entry.partitions, 'partition')})" if entry.partitions else entry.topic


def _value(name: str) -> Callable[[Any], object]:
    return lambda entry: getattr(entry, name)


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
        **{name: _value(name) for name in ("topic", "broker_url", "broker_url_tls", "lookups", "failures")},
        "last_seen": lambda entry: _moment(entry.last_seen, "T", "Z"),
        "moves": _value("moves_total"),
        **{name: _value(name) for name in ("partitions", "cluster")},
    },
)
"""Of `TopicEntry`."""

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
        **{name: _value(name) for name in ("namespace", "lookups", "failures")},
        "last_seen": lambda entry: _moment(entry.last_seen, "T", "Z"),
        **{name: _value(name) for name in ("moves", "cluster")},
    },
)
"""Of `NamespaceEntry`: the churn."""

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
        **{name: _value(name) for name in ("connection", "topic", "error", "message", "cluster", "step")},
    },
)
"""Of `Failure`: lookups that failed."""

_NUMBERS = ("LOOKUPS", "FAILED", "MOVES")
