"""What several instances of the proxy say of themselves, put together for people. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from sniproxy.inspector.clusters import Clusters
from sniproxy.inspector.entries import Failure, LedgerSnapshot, NamespaceEntry, TopicEntry, merged


def merged_status(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The JSON of several C{/status} as that of one: tunnels of all, counts added up.

    What only one instance can say, as its start and its configuration, is the first one's.
    """
    first = documents[0]
    warnings = _unique([one for document in documents for one in document["warnings"]])
    return {
        **first,
        "listeners": _unique([one for document in documents for one in document["listeners"]]),
        "live": sum(document["live"] for document in documents),
        "totals": {name: sum(document["totals"][name] for document in documents) for name in first["totals"]},
        "tunnels": [tunnel for document in documents for tunnel in document["tunnels"]],
        "targets": _targets(documents),
        "drains": merged_drains([one for document in documents for one in document["drains"]]),
        "warning_count": max(len(warnings), *(document["warning_count"] for document in documents)),
        "warnings": warnings,
    }


def merged_drains(drains: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drains of several instances: one for each target or route, its counts and rates added up."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for drain in drains:
        key = drain["kind"], drain["name"]
        before = found.get(key)
        if before is None:
            found[key] = dict(drain)
            continue
        for name in ("rate", "closed", "refused", "left"):
            before[name] += drain[name]
        before["clients"] = [*before["clients"], *drain["clients"]]
        before["since"] = min(before["since"], drain["since"])
    return list(found.values())


def merged_ledgers(ledgers: Iterable[LedgerSnapshot]) -> LedgerSnapshot:
    """Ledgers of several instances as one: whoever heard of a topic last knows its broker; counts are added up.

    A cluster of one instance is that of another when they name the same broker. A move that several saw is one, but
    those that a ledger has forgotten are counted by each.
    """
    clusters, numbered = Clusters(), [*enumerate(ledgers)]
    for number, ledger in numbered:
        for entry in ledger.topics:
            # A name such as 127.0.0.1:6650 may mean another cluster elsewhere.
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
    """What a cluster of an instance is known by among all instances, and to people."""
    name = clusters.cluster_at(f"{number} {cluster}")
    return name, name.partition(" ")[2]


def _targets(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        for one in document["targets"]:
            found.setdefault(one["target"], []).append(one)
    return [
        {
            "target": target,
            "state": _state([one["state"] for one in seen]),
            "connections": sum(one["connections"] for one in seen),
            "why": next((one["why"] for one in seen if one["why"]), ""),
        }
        for target, seen in found.items()
    ]


def _state(states: Sequence[str]) -> str:
    counts = Counter(states)
    if len(counts) == 1:
        return states[0]
    return ", ".join(f"{state} in {count} of {len(states)}" for state, count in counts.most_common())


def _unique(values: Sequence[Any]) -> list[Any]:
    return [value for number, value in enumerate(values) if value not in values[:number]]
