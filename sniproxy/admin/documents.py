"""The JSON of C{/status}. Names are stable; times are seconds since 1970; bytes and counts are integers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs
from msgspec.structs import asdict

from sniproxy import __version__
from sniproxy.admin.livecounts import LiveCounts, listener_entries
from sniproxy.admin.recentrefusals import RecentRefusal
from sniproxy.admin.sources import LiveConnection, Status

BATCH = 20
"""Entries of a list serialized in one step."""


def status_document(
    status: Status,
    live: Sequence[LiveConnection],
    totals: Mapping[str, int],
    refusals: Sequence[RecentRefusal],
    now: float,
    limit: int,
    instance: int | None = None,
    current_settings: Mapping[str, Any] | None = None,
    counts: LiveCounts | None = None,
) -> dict[str, Any]:
    """The state of the proxy as JSON.

    @param live: the open connections, the oldest first. @param refusals: the newest first.
    @param instance: the number of this worker; None without workers.
    @param current_settings: the current configuration, from L{sniproxy.config.dump}.
    @param counts: of targets, routes and listeners. None: nothing is known.
    @param limit: maximum of entries of each list, such as the newest C{tunnels} and C{refusals}. C{live} and
        C{warning_count} are the total numbers.
    """
    warnings = [*_failed_reload(status), *status.warnings]
    counts = counts or LiveCounts()
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
            **(current_settings or {}),
        },
        "listeners": listener_entries(status.listeners, counts.tally, counts.rates),
        "totals": {**totals, "access_log_lost": status.access_log_lost, "event_log_lost": status.event_log_lost},
        "drains": [asdict(one) for one in status.drains],
        "limits": asdict(status.limits),
        "relay": asdict(status.relay),
        "old_processes": [attrs.asdict(one) for one in status.old_processes],
        "faults": [*status.faults],
        "live": len(live),
        "tunnels": list(tunnels(live, now, limit)),
        "refusals": [attrs.asdict(one) for one in refusals[:limit]],
        "resolvers": [asdict(one) for one in status.resolvers],
        "warning_count": len(warnings),
        "warnings": warnings[:limit],
        **counts.document(),
    }


def _failed_reload(status: Status) -> list[str]:
    why = status.reloads.error
    return [] if why is None else [f"reload failed, keeping the current configuration: {why}"]


def tunnels(live: Sequence[LiveConnection], now: float, limit: int) -> Iterator[dict[str, Any]]:
    """The newest connections first, as C{/status} has them. @param limit: the maximum."""
    return (tunnel(one, now) for one in islice(reversed(live), limit))


def serialize(document: Mapping[str, Any]) -> Iterator[bytes]:
    """The JSON of a document in pieces of at most L{BATCH} list entries. Iterators are serialized as lists."""
    yield b"{"
    for number, (key, value) in enumerate(document.items()):
        yield (", " if number else "").encode() + json.dumps(key).encode() + b": "
        yield from _piece(value)
    yield b"}"


def _piece(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        yield from serialize(value)
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


def tunnel(live: LiveConnection, now: float) -> dict[str, Any]:
    """A connection as C{/status} has it."""
    record = live.record
    return {
        "id": record.id,
        "listener": record.listener,
        "name": record.server_name,
        "route": record.route,
        "target": record.target,
        "client": record.client,
        "peer": None if record.proxied is None else record.proxied.peer,
        "authority": record.other_authority,
        "upstream_local": record.upstream_local,
        "header_sent": record.header_sent,
        "age_s": round(max(0.0, now - record.time), 3),  # the clock may have been set back
        "bytes_up": live.bytes_up,
        "bytes_down": live.bytes_down,
        "state": live.state,
    }
