"""Merges the JSON of C{/topics} of workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sniproxy.admin.aggregation import merged_ledgers
from sniproxy.admin.ledgerdocument import ledger_of
from sniproxy.admin.topics import MAX_RECENT, Topics, nothing_inspected
from sniproxy.inspector.entries import Failure, LedgerSnapshot, NamespaceEntry, TopicEntry


class _MergedLedger:
    """A merged ledger, as L{Topics} reads it."""

    def __init__(self, snapshot: LedgerSnapshot) -> None:
        self._snapshot = snapshot

    def topics(self) -> list[TopicEntry]:
        return self._snapshot.topics

    def namespaces(self) -> list[NamespaceEntry]:
        return self._snapshot.namespaces

    @property
    def failures(self) -> list[Failure]:
        return self._snapshot.failures


def merge_topics(documents: Iterable[dict[str, Any]], now: float, fold: bool, limit: int) -> dict[str, Any]:
    """Merge the JSON of C{/topics}. @param fold, limit: as in L{Topics.document}; the workers have not folded."""
    found = [one for one in documents if one.get("inspecting")]
    if not found:
        return nothing_inspected(now)
    ledger: Any = _MergedLedger(merged_ledgers(map(ledger_of, found)))
    merged = Topics(ledger).document(now, fold, limit)
    for name in ("moved", "split", "merged", "unrouted", "lost"):
        events = sorted((event for one in found for event in one[name]), key=lambda event: -float(event["time"]))
        merged[name] = events[:MAX_RECENT]
    return {**merged, "lookups": sum(one["lookups"] for one in found), "failed": sum(one["failed"] for one in found)}
