"""Merges the status, drains and ledgers of several instances of the proxy. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from sniproxy.inspector.clusters import Clusters
from sniproxy.inspector.entries import Failure, LedgerSnapshot, NamespaceEntry, TopicEntry, merged

FLOW_PAIRS = (("client", "route"), ("client", "listener"), ("listener", "route"), ("route", "target"))
"""The kinds between which C{/flows} counts connections."""


def merged_status(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the JSON of several C{/status}: joins lists and adds up counts.

    Fields that cannot be merged, such as the start time and the configuration, are those of the first instance.
    """
    first = documents[0]
    warnings = _unique([one for document in documents for one in document["warnings"]])
    return {
        **first,
        "listeners": _summed(documents, "listeners", "name", "endpoint", "address"),
        "live": sum(document["live"] for document in documents),
        "totals": _totals([document["totals"] for document in documents], *first["totals"]),
        "tunnels": [tunnel for document in documents for tunnel in document["tunnels"]],
        "targets": _targets(documents),
        "target_count": max(document.get("target_count", 0) for document in documents),
        "routes": _summed(documents, "routes", "server_name", "listener"),
        "route_count": max(document.get("route_count", 0) for document in documents),
        "refusals_by": _sums([document.get("refusals_by", {}) for document in documents]),
        "refusals": _refusals(documents),
        "old_processes": [one for document in documents for one in document.get("old_processes", ())],
        "drains": merged_drains([one for document in documents for one in document["drains"]]),
        "faults": merged_faults([one for document in documents for one in document.get("faults", ())]),
        "warning_count": max(len(warnings), *(document["warning_count"] for document in documents)),
        "warnings": warnings,
    }


def merged_drains(drains: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge the drains of several instances by target or route; adds up counts and rates."""
    return [
        {
            **seen[0],
            **_totals(seen, "rate", "closed", "refused", "left"),
            "clients": [client for one in seen for client in one["clients"]],
            "since": min(one["since"] for one in seen),
        }
        for seen in _grouped(drains, "kind", "name")
    ]


def merged_faults(faults: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge the faults of several instances; adds up the counts of those that are the same."""
    groups = _grouped(faults, "name", "action", "trigger")
    return [{**seen[0], **_totals(seen, "matched", "applied")} for seen in groups]


def merged_ledgers(ledgers: Iterable[LedgerSnapshot]) -> LedgerSnapshot:
    """Merge the ledgers of several instances. The newest entry of a topic gives its broker; counts are added up.

    Clusters of two instances are the same if they have a broker in common. A move that several instances report is
    counted once, except for moves that a ledger no longer lists.
    """
    clusters, numbered = Clusters(), [*enumerate(ledgers)]
    for number, ledger in numbered:
        for entry in ledger.topics:
            # A cluster name such as 127.0.0.1:6650 can be another cluster on another machine.
            cluster = clusters.cluster_at(f"{number} {entry.cluster}")
            clusters.add_broker(cluster, {"broker_url": entry.broker_url, "broker_url_tls": entry.broker_url_tls})
    topics: dict[tuple[str, str], TopicEntry] = {}
    namespaces: dict[tuple[str, str], NamespaceEntry] = {}
    failures: list[Failure] = []
    for number, ledger in numbered:
        for entry in ledger.topics:
            name, cluster = _common(clusters, number, entry.cluster)
            before = topics.get((name, entry.topic))
            both = entry if before is None else merged(before, entry)
            topics[name, entry.topic] = attrs.evolve(both, cluster=cluster)
        for one in ledger.namespaces:
            name, cluster = _common(clusters, number, one.cluster)
            sums = namespaces.setdefault((name, one.namespace), NamespaceEntry(one.namespace, cluster=cluster))
            sums.lookups += one.lookups
            sums.failures += one.failures
            sums.moves += one.moves
            sums.last_seen = max(sums.last_seen, one.last_seen)
        failures += [attrs.evolve(one, cluster=_common(clusters, number, one.cluster)[1]) for one in ledger.failures]
    return LedgerSnapshot(
        [*topics.values()], [*namespaces.values()], sorted(failures, key=lambda failure: failure.time)
    )


def _common(clusters: Clusters, number: int, cluster: str) -> tuple[str, str]:
    """The unique key of a cluster among all instances, and its display name."""
    name = clusters.cluster_at(f"{number} {cluster}")
    return name, name.partition(" ")[2]


def _refusals(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups of recent refusals, the newest first. The same group of several instances is one."""
    found = [one for document in documents for one in document.get("refusals", ())]
    found.sort(key=lambda one: -one["time"])
    groups = _grouped(found, "listener", "server_name", "result")
    return [{**seen[0], **_totals(seen, "count")} for seen in groups]


def _targets(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **merged_entries(seen),
            "state": _state([one["state"] for one in seen]),
            "why": next((one["why"] for one in seen if one["why"]), ""),
        }
        for seen in _grouped((one for document in documents for one in document["targets"]), "target")
    ]


def _summed(documents: Sequence[dict[str, Any]], name: str, *keys: str) -> list[dict[str, Any]]:
    """Merge the entries of a list that have the same values of some keys. Older instances have no such list."""
    entries = (one for document in documents for one in document.get(name, ()))
    return [merged_entries(seen) for seen in _grouped(entries, *keys)]


def _grouped(entries: Iterable[dict[str, Any]], *keys: str) -> list[list[dict[str, Any]]]:
    """The entries that have the same values of some keys, in the order of their first."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in entries:
        found.setdefault(tuple(one[key] for key in keys), []).append(one)
    return [*found.values()]


def _totals(seen: Sequence[dict[str, Any]], *names: str) -> dict[str, Any]:
    return {name: sum(one[name] for one in seen) for name in names}


_LATEST = ("since", "checked", "connect_p50_s", "connect_p99_s")
"""Numbers of which the largest is shown: times, and quantiles, which cannot be added."""


def merged_entries(seen: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the same entry of several instances: adds up numbers, and joins lists.

    A number that is unknown in some is that of the others. Of texts the first that is known is taken.
    """
    found: dict[str, Any] = {}
    for key, first in seen[0].items():
        values = [one[key] for one in seen if one.get(key) is not None]
        if isinstance(first, dict):
            found[key] = _sums(values)
        elif isinstance(first, list):
            found[key] = _unique([each for value in values for each in value])
        elif values and isinstance(values[0], bool):
            found[key] = any(values)
        elif values and isinstance(values[0], int | float):
            found[key] = max(values) if key in _LATEST else sum(values)
        else:
            found[key] = values[0] if values else None
    return found


def _sums(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _state(states: Sequence[str]) -> str:
    counts = Counter(states)
    if len(counts) == 1:
        return states[0]
    return ", ".join(f"{state} in {count} of {len(states)}" for state, count in counts.most_common())


def _unique(values: Sequence[Any]) -> list[Any]:
    if all(isinstance(value, str) for value in values):
        return list(dict.fromkeys(values))
    return [value for number, value in enumerate(values) if value not in values[:number]]
