"""The JSON of C{/topics}: the ledger of the inspector and recent events."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from heapq import heappop, heappush, nsmallest
from typing import Any

import attrs

from sniproxy.admin.slices import Steps, finish
from sniproxy.inspector.entries import TopicEntry, folding
from sniproxy.inspector.layouts import Layout, Segment
from sniproxy.inspector.ledger import Ledger
from sniproxy.pulsar.events import Event

MAX_RECENT = 100
"""Maximum of recent events of each kind that L{Topics.document} lists."""

BATCH = 50
"""Topics processed in one step."""


class Topics:
    """Keeps recent events, and builds the JSON.

    L{event} takes all events of the inspector and those derived from them. It does not update the ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lookups = 0
        self._failed = 0
        self._recent: dict[str, deque[Event]] = {
            name: deque(maxlen=MAX_RECENT) for name in ("moved", "split", "merged", "unrouted", "lost")
        }

    def by_cluster(self) -> Counter[str]:
        """The number of topics in the ledger whose broker is known, by cluster."""
        return Counter(entry.cluster for entry in self._ledger.topics() if entry.has_owner)

    def event(self, event: Event) -> None:
        """Count lookups and failed partition requests; keep C{moved}, C{split}, C{merged}, C{unrouted} and C{lost}."""
        if event.name == "lookup":
            self._lookups += 1
            self._failed += event.fields["response"] == "failed"
        elif event.name == "partitions":
            failed = event.fields["status"] == "failed"
            self._lookups += failed
            self._failed += failed
        elif event.name in self._recent:
            self._recent[event.name].append(event)

    def document(self, now: float, fold_partitions: bool = False, limit: int | None = None) -> dict[str, Any]:
        """The JSON of C{/topics}. Lists begin with the newest entry or with the entry with the most lookups.

        @param now: seconds since 1970. @param fold_partitions: whether to merge the partitions of a topic.
        @param limit: maximum of entries in C{topics}, C{namespaces} and C{scalable_topics}; None for no maximum.
            C{count}, C{clusters} and C{brokers} cover all topics; C{left_out} has the number of topics, namespaces and
            scalable topics not listed.
        """
        found = finish(self.document_steps(now, fold_partitions, limit))
        return {key: list(value) if isinstance(value, Iterator) else value for key, value in found.items()}

    def document_steps(
        self, now: float, fold_partitions: bool = False, limit: int | None = None
    ) -> Steps[dict[str, Any]]:
        """Build the L{document} in steps. Long lists are iterators that create their entries on demand."""
        entries = self._ledger.topics()
        folded: Iterator[TopicEntry | None] = folding(entries) if fold_partitions else iter(entries)
        brokers: dict[tuple[str, str], dict[str, Any]] = {}
        clusters: dict[str, dict[str, Any]] = {}
        first: list[tuple[int, str, int, TopicEntry]] = []
        total = 0
        for number, entry in enumerate(folded, 1):
            if not number % BATCH:
                yield
            if entry is None:
                continue
            total += 1
            heappush(first, (-entry.lookups, entry.topic, number, entry))
            if limit is not None and len(first) >= limit + BATCH:
                first = nsmallest(limit, first)
            cluster, name = entry.cluster, broker_of(entry)
            counts = {"topics": 0, "lookups": 0}
            sums = [clusters.setdefault(cluster, {"cluster": cluster, **counts, "moves": 0})]
            if name:
                sums.append(brokers.setdefault((cluster, name), {"cluster": cluster, "broker": name, **counts}))
            for one in sums:
                one["topics"] += 1
                one["lookups"] += entry.lookups
            clusters[cluster]["moves"] += entry.moves_total
        yield
        scalable = yield from _scalable_topics(entries)
        namespaces = sorted(self._ledger.namespaces(), key=lambda entry: (-entry.lookups, entry.namespace))
        shown = total if limit is None else min(limit, total)
        return {
            "time": now,
            "inspecting": True,
            "count": total,
            "left_out": {
                "topics": total - shown,
                "namespaces": len(namespaces) - len(namespaces[:limit]),
                "scalable_topics": len(scalable) - len(scalable[:limit]),
            },
            "lookups": self._lookups,
            "failed": self._failed,
            "clusters": [cluster for _, cluster in sorted(clusters.items())],
            "brokers": [broker for _, broker in sorted(brokers.items())],
            "topics": (_topic(heappop(first)[-1]) for _ in range(shown)),
            "namespaces": map(attrs.asdict, namespaces[:limit]),
            "scalable_topics": scalable[:limit],
            "failures": [attrs.asdict(failure) for failure in reversed(self._ledger.failures[-MAX_RECENT:])],
            **{
                name: [{"time": event.time, "connection": event.connection, **event.fields} for event in reversed(kept)]
                for name, kept in self._recent.items()
            },
        }


def nothing_inspected(now: float) -> dict[str, Any]:
    """The JSON of C{/topics} if nothing is inspected."""
    return {**Topics(Ledger()).document(now), "inspecting": False}


def _scalable_topics(entries: list[TopicEntry]) -> Steps[list[dict[str, Any]]]:
    """The layouts of scalable topics, by name: each with the segments that its last update listed, by their ids."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for number, entry in enumerate(entries, 1):
        if not number % BATCH:
            yield
        if entry.layout is not None:
            found[entry.cluster, entry.topic] = _layout(entry, entry.layout)
    for number, entry in enumerate(entries if found else (), 1):
        if not number % BATCH:
            yield
        segment = entry.segment
        layout = None if segment is None else found.get((entry.cluster, segment.scalable_topic))
        if segment is not None and layout is not None and segment.listed == layout["listed"]:
            layout["segments"].append(_segment(entry, segment))
    for layout in found.values():
        layout["segments"].sort(key=lambda one: one["segment_id"])
    return [layout for _, layout in sorted(found.items())]


def _layout(entry: TopicEntry, layout: Layout) -> dict[str, Any]:
    return {
        "cluster": entry.cluster,
        "topic": entry.topic,
        "epoch": layout.epoch,
        "listed": layout.listed,
        "controller_url": layout.controller_url,
        "controller_url_tls": layout.controller_url_tls,
        "segments": [],
        "segments_total": layout.segments,
    }


def _segment(entry: TopicEntry, segment: Segment) -> dict[str, Any]:
    return {
        "segment_id": segment.segment_id,
        "topic": entry.topic,
        "hash_start": segment.hash_start,
        "hash_end": segment.hash_end,
        "sealed": segment.sealed,
        "parents": segment.parents,
        "broker": broker_of(entry),
        "lookups": entry.lookups,
    }


def broker_of(entry: TopicEntry) -> str:
    """The URL that identifies a broker: its TLS URL, if it has one."""
    return entry.broker_url_tls or entry.broker_url or ""


def _topic(entry: TopicEntry) -> dict[str, Any]:
    """The fields of an entry, and C{broker}."""
    return {**attrs.asdict(entry, recurse=False), **_inner(entry), "broker": broker_of(entry)}


def _inner(entry: TopicEntry) -> dict[str, Any]:
    """The fields of an entry that are objects."""
    return {
        "moves": [attrs.asdict(move) for move in entry.moves],
        "layout": None if entry.layout is None else attrs.asdict(entry.layout),
        "segment": None if entry.segment is None else attrs.asdict(entry.segment),
    }
