"""Merges the JSON documents of workers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from sniproxy.admin.aggregation import FLOW_PAIRS, merged_drains, merged_entries, merged_faults, merged_status
from sniproxy.admin.history import MAX_TARGETS

Document = dict[str, Any]

STATES = ("draining", "down", "ejected", "up", "unchecked")
"""States of a target. Of those that it has in several workers, the first is shown."""

MAX_NODES = 20
"""Clients, routes and targets listed of each in C{/flows}."""


def status(documents: Mapping[int, Document], facts: Document, limit: int, tunnel_limit: int) -> Document:
    """Merge the JSON of C{/status}.

    @param documents: of the workers, by index; at least one. @param facts: what the supervisor knows better: replaces
        these keys; C{warnings} are put in front, and C{old_processes} behind.
    @param limit: maximum of entries of a list. @param tunnel_limit: maximum of tunnels.
    """
    found = [documents[index] for index in sorted(documents)]
    merged = merged_status(found)
    listed = [one for index, document in documents.items() for one in _mark(document, index)]
    warnings = [*facts["warnings"], *merged["warnings"]]
    targets: dict[str, list[Document]] = {}
    for one in (one for document in found for one in document["targets"]):
        targets.setdefault(one["target"], []).append(one)
    settings = facts["configuration"]
    if settings["reloads"]["error"] is not None:
        errors = [one["configuration"]["reloads"]["error"] for one in found]
        error = next((one for one in errors if one is not None), settings["reloads"]["error"])
        settings = {**settings, "reloads": {**settings["reloads"], "error": error}}
    return {
        **merged,
        **facts,
        "configuration": settings,
        "drains": _drains(found, facts["drains"]),
        "old_processes": [*merged["old_processes"], *facts["old_processes"]],
        "workers": [_worker(one, documents.get(one["index"])) for one in facts["workers"]],
        "limits": merged_entries([one["limits"] for one in found]),
        "relay": merged_entries([one["relay"] for one in found]),
        "resolvers": _resolvers(found),
        "targets": [_worst(one, targets[one["target"]]) for one in merged["targets"][:limit]],
        "routes": merged["routes"][:limit],
        "refusals": merged["refusals"][:limit],
        "tunnels": sorted(listed, key=_TUNNEL_KEYS["newest"])[:tunnel_limit],
        "warning_count": merged["warning_count"] + len(facts["warnings"]),
        "warnings": warnings[:limit],
    }


def tunnels(documents: Mapping[int, Document], sort: str, limit: int, offset: int) -> Document:
    """Merge the JSON of C{/tunnels}, each with the first connections in the same order.

    @param sort: as in C{sniproxy.admin.tunnellist.SORTS}. @param limit, offset: the connections to list.
    """
    found = list(documents.values())
    key = _TUNNEL_KEYS[sort]
    listed = islice(
        merge(*(_mark(document, index) for index, document in documents.items()), key=key), offset, offset + limit
    )
    return {
        "time": max(one["time"] for one in found),
        "instance": None,
        "live": sum(one["live"] for one in found),
        "matched": sum(one["matched"] for one in found),
        "tunnels": list(listed),
    }


def who(documents: Mapping[int, Document]) -> Document:
    """Merge the JSON of C{/who}."""
    found = list(documents.values())
    tunnels = [one for index, document in documents.items() for one in _mark(document, index)]
    return {"time": max(one["time"] for one in found), "instance": None, "tunnels": tunnels}


def faults(documents: Mapping[int, Document]) -> Document:
    """Merge the JSON of C{/faults}."""
    found = [documents[index] for index in sorted(documents)]
    counts: Counter[str] = Counter()
    for one in found:
        counts.update(one["counts"])
    return {
        "time": max(one["time"] for one in found),
        "faults": merged_faults([fault for one in found for fault in one["faults"]]),
        "counts": dict(counts),
    }


def history(documents: Mapping[int, Document]) -> Document:
    """Merge the JSON of C{/history}: adds up the steps that ended at the same time, to half a step.

    A worker that has started later has fewer steps; those that it has not are 0.
    """
    found = list(documents.values())
    step, time = found[0]["step_s"], max(one["time"] for one in found)
    known = [one for one in found if one["end"] is not None]
    if not known:
        return {**found[0], "time": time, "instance": None}
    end = max(one["end"] for one in known)
    shifts = [round((end - one["end"]) / step) for one in known]
    length = max(len(one["series"]["tunnels"]) + shift for one, shift in zip(known, shifts, strict=True))
    series: Document = {}
    for name in ("tunnels", "new", "up", "down"):
        aligned = [_align(one["series"][name], shift, length) for one, shift in zip(known, shifts, strict=True)]
        series[name] = [value or 0 for value in _sum_steps(aligned)]
    series["refused"] = {
        cause: [value or 0 for value in values] for cause, values in _sum_series("refused", known, shifts, length)
    }
    targets: dict[str, Document] = {}
    for name in {name: None for one in known for name in one["series"]["targets"]}:
        mine = [(one, shift) for one, shift in zip(known, shifts, strict=True) if name in one["series"]["targets"]]
        keys = mine[0][0]["series"]["targets"][name]
        targets[name] = {
            key: _sum_steps([_align(one["series"]["targets"][name][key], shift, length) for one, shift in mine])
            for key in keys
        }
    busiest = sorted(targets, key=lambda name: -sum(value or 0 for value in targets[name]["tunnels"]))[:MAX_TARGETS]
    series["targets"] = {name: targets[name] for name in targets if name in busiest}
    return {"time": time, "instance": None, "step_s": step, "end": end, "series": series}


def flows(documents: Mapping[int, Document]) -> Document:
    """Merge the JSON of C{/flows}. C{client_count} is at least the number of clients of the worker with the most."""
    found = list(documents.values())
    clients = _counted(found, "clients", ("client",))
    links = {f"{first}_{second}s": (first, second) for first, second in FLOW_PAIRS}
    counted = {name: _counted(found, name, kinds) for name, kinds in links.items()}
    nodes: dict[str, Counter[Any]] = {kind: Counter() for kind in ("listener", "route", "target")}
    for name, position in (("listener_routes", 0), ("route_targets", 0), ("route_targets", 1)):
        for ends, count in counted[name].items():
            nodes[links[name][position]][ends[position]] += count
    shown_clients = dict(Counter({one: count for (one,), count in clients.items()}).most_common(MAX_NODES))
    shown: dict[str, Any] = {
        kind: {one for one, _ in counts.most_common(MAX_NODES + 1) if one is not None} for kind, counts in nodes.items()
    }
    shown["client"] = shown_clients
    return {
        "time": max(one["time"] for one in found),
        "connections": sum(one["connections"] for one in found),
        "client_count": max(len(clients), *(one["client_count"] for one in found)),
        "clients": [{"client": one, "connections": count} for one, count in shown_clients.items()],
        **{name: _listed(counted[name], kinds, tuple(shown[kind] for kind in kinds)) for name, kinds in links.items()},
    }


_TUNNEL_KEYS: Mapping[str, Any] = {
    "newest": lambda one: one["age_s"],
    "age": lambda one: -one["age_s"],
    "bytes": lambda one: -one["bytes_up"] - one["bytes_down"],
    "name": lambda one: (one["name"] is None, one["name"] or ""),
    "client": lambda one: one["client"],
    "target": lambda one: (one["target"] is None, one["target"] or ""),
}


def _drains(documents: Iterable[Document], kept: Iterable[Document]) -> list[Document]:
    """The drains of all workers, with the rates and starts that the supervisor has kept."""
    known = {(one["kind"], one["name"]): one for one in kept}
    found = merged_drains(one for document in documents for one in document["drains"])
    return [{**one, **known.get((one["kind"], one["name"]), {})} for one in found]


def _worker(facts: Document, document: Document | None) -> Document:
    """An entry of C{workers}. @param document: of this worker; None: it has not answered."""
    known = {"started": None, "connections": None}
    if document is not None:
        known = {"started": document["started"], "connections": document["live"]}
    return {**facts, **known}


def _mark(document: Document, worker: int) -> list[Document]:
    """The connections of a document, with C{worker}: the index of theirs."""
    return [{**one, "worker": worker} for one in document["tunnels"]]


def _worst(target: Document, seen: Sequence[Document]) -> Document:
    """A merged target with one of L{STATES}, and its cause. @param seen: the target in each worker."""
    state = min((one["state"] for one in seen), key=lambda one: STATES.index(one) if one in STATES else len(STATES))
    worst = [one for one in seen if one["state"] == state]
    why = next((one["why"] for one in worst if one["why"]), "")
    if len(worst) < len(seen) and state in ("down", "ejected"):
        why = f"in {len(worst)} of {len(seen)} workers{f': {why}' if why else ''}"
    return {**target, "state": state, "why": why}


def _resolvers(documents: Iterable[Document]) -> list[Document]:
    found: dict[str, list[Document]] = {}
    for document in documents:
        for one in document["resolvers"]:
            found.setdefault(one["name"], []).append(one)
    return [
        {
            **merged_entries([{**one, "names": []} for one in seen]),
            "breaker": "open" if any(one["breaker"] == "open" for one in seen) else seen[0]["breaker"],
            "names": {name: text for one in seen for name, text in one["names"].items()},
        }
        for seen in found.values()
    ]


def _align(values: Sequence[int | None], shift: int, length: int) -> list[int | None]:
    """Values of which the last ended some steps ago, with None for the steps that are missing."""
    whole = [*values, *([None] * shift)][-length:]
    return [*([None] * (length - len(whole))), *whole]


def _sum_steps(series: Iterable[Sequence[int | None]]) -> list[int | None]:
    """The sums of steps, without the unknown ones. None: it is unknown in all."""
    found: list[int | None] = []
    for values in zip(*series, strict=True):
        known = [value for value in values if value is not None]
        found.append(sum(known) if known else None)
    return found


def _sum_series(
    key: str, documents: Sequence[Document], shifts: Sequence[int], length: int
) -> Iterable[tuple[str, list[int | None]]]:
    for name in {name: None for one in documents for name in one["series"][key]}:
        yield (
            name,
            _sum_steps(
                _align(one["series"][key].get(name, ()), shift, length)
                for one, shift in zip(documents, shifts, strict=True)
            ),
        )


def _counted(documents: Iterable[Document], key: str, names: Sequence[str]) -> Counter[tuple[Any, ...]]:
    counts: Counter[tuple[Any, ...]] = Counter()
    for document in documents:
        for one in document[key]:
            counts[tuple(one[name] for name in names)] += one["connections"]
    return counts


def _listed(counts: Counter[tuple[Any, ...]], names: Sequence[str], shown: Sequence[Collection[str]]) -> list[Document]:
    """The counts of pairs, with None for what is not shown."""
    sums: Counter[tuple[Any, ...]] = Counter()
    for (one, other), count in counts.items():
        sums[one if one in shown[0] else None, other if other in shown[1] else None] += count
    return [{names[0]: a, names[1]: b, "connections": count} for (a, b), count in sums.items()]
