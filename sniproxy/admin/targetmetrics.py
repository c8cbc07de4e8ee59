"""The metrics of targets and listeners. The label C{other} has all targets beyond the first two hundred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
from prometheus_client.metrics_core import HistogramMetricFamily, Metric

from sniproxy.admin.rendering import LazyMetric, by_label, counter_family, gauge_family
from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import TargetStatus
from sniproxy.admin.tally import Counts, Tally
from sniproxy.routing.targetstats import CONNECT_BUCKETS_S, OTHER, TargetStats, TargetStatsTable

BATCH = 40
"""Targets counted in one step."""

MAX_ROWS = 20_000
"""Targets that are read: more than are counted."""


@attrs.define
class LabelledTargets:
    """The values of the metrics, by label. @ivar up: of targets whose state is known."""

    stats: dict[str, TargetStats] = attrs.field(factory=dict)
    up: Counter[str] = attrs.field(factory=Counter)
    sent: Counter[str] = attrs.field(factory=Counter)
    received: Counter[str] = attrs.field(factory=Counter)


def label_steps(rows: Sequence[TargetStatus], table: TargetStatsTable, tally: Tally) -> Steps[LabelledTargets]:
    """Find the values in steps. @param rows: all targets."""
    found = LabelledTargets()
    labels: set[str] = set()
    rest = TargetStats(OTHER)
    rest.add(table.rest)
    for number, stats in enumerate(list(table.known.values()), 1):
        if stats.labelled:
            found.stats[stats.text] = stats
            found.sent[stats.text] = found.received[stats.text] = 0
            labels.add(stats.text)
        else:
            rest.add(stats)
        if not number % BATCH:
            yield
    if rest.total or any(not stats.labelled for stats in table.known.values()):
        found.stats[OTHER] = rest
    for number, row in enumerate(rows, 1):
        if row.up is not None:
            label = row.target if row.target in labels else OTHER
            found.up[label] = min(found.up.get(label, 1), int(row.up))
        if not number % BATCH:
            yield
    for sums, counts in ((found.sent, tally.target_up), (found.received, tally.target_down)):
        for number, (target, count) in enumerate(list(counts.items()), 1):
            sums[target if target in labels else OTHER] += count
            if not number % BATCH:
                yield
    return found


def target_metrics(found: LabelledTargets) -> Iterator[Metric]:
    """The metrics of targets."""
    target = ("target",)
    about = "1 if the target is up, 0 if down or ejected. Absent without health checks and ejection."
    yield gauge_family("sniproxy_target_up", about, target, by_label(found.up))
    connections = by_label({label: one.connections for label, one in found.stats.items()})
    about = "Connections to a target, including those being dialled."
    yield gauge_family("sniproxy_target_connections", about, target, connections)
    results: Counts = Counter()
    for label, one in found.stats.items():
        results[label, "ok"] = sum(one.buckets)
        results.update({(label, kind): count for kind, count in one.failures.items()})
    about = "Connects to a target, by result: ok, refused, timeout, unreachable, failed."
    yield counter_family("sniproxy_target_connects", about, ("target", "result"), results)
    passed: Counts = Counter({(label, "up"): count for label, count in found.sent.items()})
    passed.update({(label, "down"): count for label, count in found.received.items()})
    about = "Bytes sent to a target (up) and from it to clients (down), including open tunnels."
    yield counter_family("sniproxy_target_bytes", about, ("target", "direction"), passed)
    yield _ConnectSeconds(found)


def listener_metrics(tally: Tally, names: Iterable[str] = ()) -> Iterator[Metric]:
    """The metrics of listeners. @param names: listeners that may have had no connection."""
    accepted = Counter({name: tally.accepted[name] for name in (*names, *tally.accepted)})
    about = "Open connections of a listener."
    connections = by_label({listener: tally.open[listener] for listener in accepted})
    yield gauge_family("sniproxy_listener_connections", about, ("listener",), connections)
    about = "Connections that a listener accepted. Without those that a limit of their client refused."
    yield counter_family("sniproxy_listener_accepted", about, ("listener",), by_label(accepted))


class _ConnectSeconds(LazyMetric):
    """The histogram of connect times, one target in a batch."""

    def __init__(self, found: LabelledTargets) -> None:
        about = "Seconds to connect to a target: successful connects, name lookup included."
        self._family = HistogramMetricFamily("sniproxy_target_connect_seconds", about, labels=("target",))
        self._found = found
        LazyMetric.__init__(self, self._family)

    def batches(self) -> Iterator[list[Any]]:
        """The samples of one target at a time."""
        yield []
        for label, one in sorted(self._found.stats.items()):
            below, buckets = 0, []
            for bound, count in zip((*map(str, CONNECT_BUCKETS_S), "+Inf"), one.buckets, strict=True):
                below += count
                buckets.append((bound, below))
            self._family.add_metric([label], buckets, one.connect_s)
            samples, self._family.samples = self._family.samples, []
            yield samples
