"""The ledger's topics as a table: for people, as CSV, as JSON. Pure."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

import attrs

from sniproxy.pulsar.entries import TopicEntry
from sniproxy.text import counted


def write_table(entries: Sequence[TopicEntry], out: TextIO) -> None:
    """Topics as a table for people, with their clusters where there is more than one; nothing when there are none."""
    clusters = len({entry.cluster for entry in entries}) > 1
    rows = [("CLUSTER", "TOPIC", "BROKER", "LOOKUPS", "LAST SEEN (UTC)", "MOVES")]
    for entry in entries:
        topic = f"{entry.topic} ({counted(entry.partitions, 'partition')})" if entry.partitions else entry.topic
        seen = _moment(entry.last_seen, " ") or "-"
        rows.append((entry.cluster, topic, broker_of(entry), str(entry.lookups), seen, str(entry.moves_total)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if entries else []:
        cluster, topic, broker, lookups, seen, moves = (
            cell.rjust(width) if name in ("LOOKUPS", "MOVES") else cell.ljust(width)
            for cell, width, name in zip(row, widths, rows[0], strict=True)
        )
        print("  ".join((*((cluster,) if clusters else ()), topic, broker, lookups, seen, moves)), file=out)


def write_csv(entries: Sequence[TopicEntry], out: TextIO) -> None:
    """Topics as CSV (RFC 4180) with a header; times in UTC."""
    rows = csv.writer(out, lineterminator="\n")
    counts = ("lookups", "failures", "last_seen", "moves", "partitions")
    rows.writerow(("topic", "broker_url", "broker_url_tls", *counts, "cluster"))
    for entry in entries:
        urls = (entry.broker_url, entry.broker_url_tls)
        seen = _moment(entry.last_seen, "T", "Z")
        row = (entry.topic, *urls, entry.lookups, entry.failures, seen, entry.moves_total, entry.partitions)
        rows.writerow((*row, entry.cluster))


def write_json(entries: Sequence[TopicEntry], out: TextIO) -> None:
    """Topics as a JSON array, one a line, with the fields of `TopicEntry`."""
    lines = [
        json.dumps({**attrs.asdict(entry), "moves": [attrs.asdict(move) for move in entry.moves]}) for entry in entries
    ]
    print("[" + ",\n ".join(lines) + "]", file=out)


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
