"""The JSON of C{/flows}: how many tunnels lead from which clients by which listeners and routes to which targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sniproxy.admin.aggregation import FLOW_PAIRS
from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import LiveConnection

BATCH = 100
"""Connections counted in one step."""

MAX_NODES = 20
"""Clients, listeners, routes and targets listed of each; the others are null."""

_KINDS = ("client", "listener", "route", "target")


def flows_steps(live: Sequence[LiveConnection], now: float) -> Steps[dict[str, Any]]:
    """Count the open connections that have a route and a target, in steps. The result has the keys of C{/flows}.

    @param now: seconds since 1970.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for number, one in enumerate(live, 1):
        record = one.record
        if record.route is not None and record.target is not None:
            counts[record.client.rpartition(":")[0], record.listener, record.route, record.target] += 1
        if not number % BATCH:
            yield
    nodes: dict[str, Counter[str]] = {kind: Counter() for kind in _KINDS}
    for number, (way, connections) in enumerate(counts.items(), 1):
        for kind, name in zip(_KINDS, way, strict=True):
            nodes[kind][name] += connections
        if not number % BATCH:
            yield
    shown = {kind: _busiest(nodes[kind]) for kind in _KINDS}
    yield
    links: dict[tuple[str, str], Counter[tuple[str | None, str | None]]] = {pair: Counter() for pair in FLOW_PAIRS}
    for number, (way, connections) in enumerate(counts.items(), 1):
        known = {kind: _known(name, shown[kind]) for kind, name in zip(_KINDS, way, strict=True)}
        for first, second in FLOW_PAIRS:
            links[first, second][known[first], known[second]] += connections
        if not number % BATCH:
            yield
    found = {
        "time": now,
        "connections": counts.total(),
        "client_count": len(nodes["client"]),
        "clients": [{"client": client, "connections": number} for client, number in shown["client"].items()],
    }
    for (first, second), counted in links.items():
        found[f"{first}_{second}s"] = [
            {first: a, second: b, "connections": number} for (a, b), number in counted.items()
        ]
    return found


def _busiest(counts: Counter[str]) -> dict[str, int]:
    """The L{MAX_NODES} with the most connections, these first."""
    return dict(counts.most_common(MAX_NODES))


def _known(name: str, shown: dict[str, int]) -> str | None:
    return name if name in shown else None
