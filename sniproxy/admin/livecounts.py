"""The JSON of targets, routes and listeners in C{/status}: their state, counts and rates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from sniproxy.admin.recentrates import RecentRates
from sniproxy.admin.sources import ListenerStatus, RouteStatus, TargetStatus
from sniproxy.admin.tally import Tally
from sniproxy.routing.targetstats import FAILURES, quantile


@attrs.frozen
class LiveCounts:
    """What C{/status} shows of targets, routes and listeners.

    @ivar tally: the latest count of connections. @ivar rates: compare it with earlier ones.
    @ivar targets: the first targets. @ivar target_count: the number of all. C{routes} and C{route_count} likewise.
    @ivar refusals_by: refused connections since the start, by result.
    """

    tally: Tally = attrs.field(factory=Tally)
    rates: RecentRates = attrs.field(factory=RecentRates)
    targets: Sequence[TargetStatus] = ()
    target_count: int = 0
    routes: Sequence[RouteStatus] = ()
    route_count: int = 0
    refusals_by: Mapping[str, int] = attrs.field(factory=dict)

    def document(self) -> dict[str, Any]:
        """The part of C{/status} with the targets and routes. Its lists are iterators."""
        return {
            "target_count": self.target_count,
            "targets": target_entries(self.targets, self.tally, self.rates),
            "route_count": self.route_count,
            "routes": route_entries(self.routes, self.tally, self.rates),
            "refusals_by": self.refusals_by,
        }


def target_entries(rows: Iterable[TargetStatus], tally: Tally, rates: RecentRates) -> Iterator[dict[str, Any]]:
    """Targets as C{/status} has them."""
    return (_target(row, tally, rates) for row in rows)


def _target(row: TargetStatus, tally: Tally, rates: RecentRates) -> dict[str, Any]:
    stats, target = row.stats, row.target
    buckets: Sequence[int] = () if stats is None else stats.buckets
    failures = dict.fromkeys(FAILURES, 0) if stats is None else stats.failures
    rate = rates.of_target(target, 0 if stats is None else stats.total, tally)
    return {
        "target": target,
        "state": row.state,
        "since": row.since,
        "checked": row.checked,
        "why": row.why,
        "names": list(row.names),
        "routes": list(row.routes),
        "connections": row.connections,
        "most": 0 if stats is None else stats.most,
        "new_per_s": rate.new,
        "connects": {"ok": sum(buckets), **failures},
        "connect_p50_s": quantile(buckets, 0.5) if buckets else None,
        "connect_p99_s": quantile(buckets, 0.99) if buckets else None,
        "bytes_up": tally.target_up[target],
        "bytes_down": tally.target_down[target],
        "up_per_s": rate.up,
        "down_per_s": rate.down,
    }


def route_entries(rows: Iterable[RouteStatus], tally: Tally, rates: RecentRates) -> Iterator[dict[str, Any]]:
    """Routes as C{/status} has them."""
    return (_route(row, tally, rates) for row in rows)


def _route(row: RouteStatus, tally: Tally, rates: RecentRates) -> dict[str, Any]:
    rate = rates.of_route(row.keys, tally)
    return {
        "server_name": row.server_name,
        "listener": row.listener,
        "targets": list(row.targets),
        "connections": sum(tally.routed[key] for key in row.keys),
        "new_per_s": rate.new,
        "refused": sum(tally.refused[key] for key in row.keys),
        "up_per_s": rate.up,
        "down_per_s": rate.down,
        "error": row.error,
    }


def listener_entries(listeners: Iterable[ListenerStatus], tally: Tally, rates: RecentRates) -> list[dict[str, Any]]:
    """Listeners as C{/status} has them."""
    return [
        {
            "name": one.name,
            "endpoint": one.endpoint,
            "address": one.where,
            "closed": one.closed,
            "connections": tally.open[one.name],
            "new_per_s": rates.of_listener(one.name, tally),
            "refused": tally.refused_by[one.name],
        }
        for one in listeners
    ]
