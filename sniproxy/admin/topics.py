"""What the inspector knows: the ledger as it is, and what happened lately."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from heapq import heappop, heappush, nsmallest
from typing import Any

import attrs

from sniproxy.admin.slices import Steps, finish
from sniproxy.inspector.entries import TopicEntry, folding
from sniproxy.inspector.ledger import Ledger
from sniproxy.pulsar.events import Event

MAX_RECENT = 100
"""Events that are remembered, of each kind that L{Topics.document} lists."""

BATCH = 50
"""Topics that are looked at in one step."""


class Topics:
    """The ledger, and the events of late.

    L{event} wants all events of the inspector, and those that follow from them; it teaches the ledger nothing.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lookups = 0
        self._failed = 0
        self._recent: dict[str, deque[Event]] = {
            name: deque(maxlen=MAX_RECENT) for name in ("moved", "unrouted", "lost")
        }

    def by_cluster(self) -> Counter[str]:
        """Topics in the ledger, of each cluster."""
        return Counter(entry.cluster for entry in self._ledger.topics())

    def event(self, event: Event) -> None:
        """Count a lookup, or its first step when that failed; remember C{moved}, C{unrouted} and C{lost}."""
        if event.name == "lookup":
            self._lookups += 1
            self._failed += event.fields["response"] == "failed"
        elif event.name == "partitions":
            failed = event.fields["status"] == "failed"
            self._lookups += failed
            self._failed += failed
        elif event.name in self._recent:
            self._recent[event.name].append(event)

    def document(self, now: float, fold_partitions: bool = False, most: int | None = None) -> dict[str, Any]:
        """The JSON of C{/topics}. In each list the newest is first, or what has the most lookups.

        @param now: seconds since 1970. @param fold_partitions: a topic's partitions are one entry.
        @param most: entries in C{topics} and C{namespaces}; None: all. C{count}, C{clusters} and
            C{brokers} are of all topics; C{left_out} says how many topics and namespaces are not listed.
        """
        found = finish(self.document_steps(now, fold_partitions, most))
        return {key: list(value) if isinstance(value, Iterator) else value for key, value in found.items()}

    def document_steps(
        self, now: float, fold_partitions: bool = False, most: int | None = None
    ) -> Steps[dict[str, Any]]:
        """Make the L{document} in steps. Its long lists are iterators, whose entries are made as they are taken."""
        heard = self._ledger.topics()
        folded: Iterator[TopicEntry | None] = folding(heard) if fold_partitions else iter(heard)
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
            if most is not None and len(first) >= most + BATCH:
                first = nsmallest(most, first)
            cluster, name = entry.cluster, broker_of(entry)
            counts = {"topics": 0, "lookups": 0}
            broker = brokers.setdefault((cluster, name), {"cluster": cluster, "broker": name, **counts})
            for one in (broker, clusters.setdefault(cluster, {"cluster": cluster, **counts, "moves": 0})):
                one["topics"] += 1
                one["lookups"] += entry.lookups
            clusters[cluster]["moves"] += entry.moves_total
        yield
        namespaces = sorted(self._ledger.namespaces(), key=lambda entry: (-entry.lookups, entry.namespace))
        shown = total if most is None else min(most, total)
        return {
            "time": now,
            "inspecting": True,
            "count": total,
            "left_out": {"topics": total - shown, "namespaces": len(namespaces) - len(namespaces[:most])},
            "lookups": self._lookups,
            "failed": self._failed,
            "clusters": [cluster for _, cluster in sorted(clusters.items())],
            "brokers": [broker for _, broker in sorted(brokers.items())],
            "topics": (_topic(heappop(first)[-1]) for _ in range(shown)),
            "namespaces": map(attrs.asdict, namespaces[:most]),
            "failures": [attrs.asdict(failure) for failure in reversed(self._ledger.failures[-MAX_RECENT:])],
            **{
                name: [{"time": event.time, "connection": event.connection, **event.fields} for event in reversed(kept)]
                for name, kept in self._recent.items()
            },
        }


def nothing_inspected(now: float) -> dict[str, Any]:
    """The JSON of C{/topics} of a proxy without inspection."""
    return {**Topics(Ledger()).document(now), "inspecting": False}


def broker_of(entry: TopicEntry) -> str:
    """The URL that tells brokers apart: the one that a TLS client would use, where there is one."""
    return entry.broker_url_tls or entry.broker_url or ""


def _topic(entry: TopicEntry) -> dict[str, Any]:
    """The ledger's own fields, and C{broker}."""
    moves = [attrs.asdict(move) for move in entry.moves]
    return {**attrs.asdict(entry, recurse=False), "moves": moves, "broker": broker_of(entry)}
