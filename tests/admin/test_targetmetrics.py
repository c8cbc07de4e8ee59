"""Tests for sniproxy.admin.targetmetrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.rendering import render_batches
from sniproxy.admin.slices import finish
from sniproxy.admin.sources import TargetStatus
from sniproxy.admin.tally import Tally
from sniproxy.admin.targetmetrics import BATCH, label_steps, listener_metrics, target_metrics
from sniproxy.interfaces import Target
from sniproxy.routing.targetstats import CONNECT_BUCKETS_S, MAX_LABELS, OTHER, TargetStatsTable
from tests.admin.sample import target_stats


def samples(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """The values by name and label values, as the Prometheus parser reads them."""
    text = b"".join(batch for family in families for batch in render_batches(family)).decode()
    return {
        (sample.name.removeprefix("sniproxy_"), *by_subject(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def by_subject(labels: dict[str, str]) -> list[str]:
    """The values of the labels, the target first."""
    return [value for name, value in sorted(labels.items(), key=lambda one: one[0] != "target")]


class TargetTests(SynchronousTestCase):
    """The metrics of targets."""

    def test_values(self) -> None:
        """Connections, connects by result, bytes and connect times of a target."""
        table = target_stats(a=2)
        for seconds in (0.0002, 0.0002, 20.0):
            table.known["a:1"].record_connect(seconds, 0.0)
        table.known["a:1"].record_failure("refused", "x", 0.0)
        tally = Tally(target_up=Counter({"a:1": 5}), target_down=Counter({"a:1": 7}))
        found = samples(target_metrics(finish(label_steps([TargetStatus("a:1", "up", 2, "", up=True)], table, tally))))
        self.assertEqual((1, 2), (found["target_up", "a:1"], found["target_connections", "a:1"]))
        self.assertEqual(
            (3, 1, 0), tuple(found["target_connects_total", "a:1", k] for k in ("ok", "refused", "timeout"))
        )
        self.assertEqual((5, 7), tuple(found["target_bytes_total", "a:1", way] for way in ("up", "down")))
        name = "target_connect_seconds"
        buckets = [found[f"{name}_bucket", "a:1", bound] for bound in ("0.0001", "0.00025", "10.0", "+Inf")]
        self.assertEqual([0, 2, 2, 3], buckets)
        self.assertEqual((3, 20.0004), (found[f"{name}_count", "a:1"], found[f"{name}_sum", "a:1"]))
        self.assertEqual(len(CONNECT_BUCKETS_S) + 1, sum(key[0] == f"{name}_bucket" for key in found))

    def test_other(self) -> None:
        """Targets beyond the first ones, and those that clients form, are one label, which is up if all of them are."""
        table = TargetStatsTable()
        for number in range(MAX_LABELS + 2):
            table.add_connection(Target("a", number + 1))
            table.find(Target("a", number + 1)).record_connect(0.1, 0.0)
        table.add_connection(Target("formed", 1, client_formed=True))
        rows = [TargetStatus(f"a:{n + 1}", "up", 1, "", up=n != MAX_LABELS) for n in range(MAX_LABELS + 2)]
        tally = Tally(target_up=Counter({"a:1": 1, f"a:{MAX_LABELS + 1}": 2, "formed:1": 3}))
        found = samples(target_metrics(finish(label_steps(rows, table, tally))))
        self.assertEqual((1, 1), (found["target_connections", "a:1"], found["target_up", "a:1"]))
        self.assertEqual((3, 0), (found["target_connections", OTHER], found["target_up", OTHER]))
        self.assertEqual(
            (2, 2), (found["target_connects_total", OTHER, "ok"], found["target_connect_seconds_count", OTHER])
        )
        self.assertEqual((1, 5), (found["target_bytes_total", "a:1", "up"], found["target_bytes_total", OTHER, "up"]))
        self.assertEqual(MAX_LABELS + 1, sum(key[0] == "target_connections" for key in found))

    def test_unchecked(self) -> None:
        """Nothing says whether an unchecked target is up; without others there is no label for them."""
        found = samples(
            target_metrics(finish(label_steps([TargetStatus("a:1", "unchecked", 0, "")], target_stats(a=0), Tally())))
        )
        self.assertEqual([], [key for key in found if key[0] == "target_up" or OTHER in key])

    def test_steps(self) -> None:
        """A step reads few targets."""
        table = TargetStatsTable()
        for number in range(3 * BATCH):
            table.add_connection(Target("a", number + 1))
        self.assertEqual(3, len(list(label_steps([], table, Tally()))))


class ListenerTests(SynchronousTestCase):
    """The metrics of listeners."""

    def test_values(self) -> None:
        """Open and accepted connections; a listener without open ones has 0."""
        self.assertEqual(0, samples(listener_metrics(Tally(), ["idle"]))["listener_accepted_total", "idle"])
        tally = Tally(accepted=Counter({"public": 9, "inside": 2}), open=Counter({"public": 3}))
        self.assertEqual(
            {
                ("listener_connections", "public"): 3,
                ("listener_connections", "inside"): 0,
                ("listener_accepted_total", "public"): 9,
                ("listener_accepted_total", "inside"): 2,
            },
            samples(listener_metrics(tally, ["public"])),
        )
