"""The JSON of C{/status}: names are stable, times are seconds since 1970, bytes and counts are whole numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs
from msgspec.structs import asdict

from sniproxy import __version__
from sniproxy.admin.recentrefusals import RecentRefusal
from sniproxy.admin.sources import LiveConnection, Status

BATCH = 20
"""Entries of a list that are made in one step."""


def status_document(
    status: Status,
    live: Sequence[LiveConnection],
    totals: Mapping[str, int],
    refusals: Sequence[RecentRefusal],
    now: float,
    most: int,
    instance: int | None = None,
    in_force: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the proxy is and does.

    @param live: the oldest first. @param refusals: the newest first.
    @param instance: which of several workers this is. None: there is one process.
    @param in_force: the configuration, as L{sniproxy.config.dump} has it.
    @param most: entries of C{tunnels} and C{refusals}, of which the newest are shown, and of C{warnings}; C{live} and
        C{warning_count} say how many there are.
    """
    warnings = [*_refused_reload(status), *status.warnings]
    return {
        "version": __version__,
        "instance": instance,
        "time": now,
        "started": status.started,
        "state": "ready" if status.ready else "draining",
        "configuration": {
            "file": status.configuration,
            "since": status.since,
            "reloads": asdict(status.reloads),
            **(in_force or {}),
        },
        "listeners": [{"name": one.name, "endpoint": one.endpoint, "address": one.where} for one in status.listeners],
        "totals": {**totals, "access_log_lost": status.access_log_lost, "event_log_lost": status.event_log_lost},
        "targets": [asdict(one) for one in islice(status.targets, most)],
        "drains": [asdict(one) for one in status.drains],
        "limits": asdict(status.limits),
        "live": len(live),
        "tunnels": list(tunnels(live, now, most)),
        "refusals": [attrs.asdict(one) for one in refusals[:most]],
        "resolvers": [asdict(one) for one in status.resolvers],
        "warning_count": len(warnings),
        "warnings": warnings[:most],
    }


def _refused_reload(status: Status) -> list[str]:
    why = status.reloads.error
    return [] if why is None else [f"the configuration was read again and refused, the one before is in force: {why}"]


def tunnels(live: Sequence[LiveConnection], now: float, most: int) -> Iterator[dict[str, Any]]:
    """The newest connections first, as C{/status} has them. @param most: how many."""
    return (_tunnel(one, now) for one in islice(reversed(live), most))


def dumped(document: Mapping[str, Any]) -> Iterator[bytes]:
    """The JSON of a document, in pieces of L{BATCH} entries of a list at most; an iterator's entries are a list."""
    yield b"{"
    for number, (key, value) in enumerate(document.items()):
        yield (", " if number else "").encode() + json.dumps(key).encode() + b": "
        yield from _piece(value)
    yield b"}"


def _piece(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        yield from dumped(value)
    elif isinstance(value, Iterator | list):
        entries = iter(value)
        yield b"["
        before = b""
        while some := list(islice(entries, BATCH)):
            yield before + json.dumps(some)[1:-1].encode()
            before = b", "
        yield b"]"
    else:
        yield json.dumps(value).encode()


def _tunnel(live: LiveConnection, now: float) -> dict[str, Any]:
    record = live.record
    return {
        "id": record.id,
        "listener": record.listener,
        "name": record.server_name,
        "route": record.route,
        "target": record.target,
        "client": record.client,
        "age_s": round(max(0.0, now - record.time), 3),  # somebody may set the clock
        "bytes_up": live.bytes_up,
        "bytes_down": live.bytes_down,
        "state": live.state,
    }
