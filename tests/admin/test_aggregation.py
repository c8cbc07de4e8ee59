"""Tests for sniproxy.admin.aggregation."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.aggregation import (
    merged_drains,
    merged_entries,
    merged_faults,
    merged_ledgers,
    merged_status,
)
from sniproxy.inspector.entries import Failure, LedgerSnapshot, Move, NamespaceEntry, TopicEntry
from tests.support.statusfixture import refusal, status

DRAIN: dict[str, Any] = {
    "kind": "target", "name": "10.0.0.7:6651", "since": 20.0, "rate": 5.0, "closed": 1, "refused": 2, "left": 3,
    "clients": ["192.0.2.7:1"],
}  # fmt: skip
STATUS: dict[str, Any] = {
    "version": "1",
    "listeners": [{"name": "public", "endpoint": "tcp:4443", "address": "0.0.0.0:4443"}],
    "live": 2,
    "totals": {"ended": 3, "refused": 0},
    "tunnels": [{"target": "10.0.0.7:6651"}],
    "targets": [{"target": "10.0.0.7:6651", "state": "up", "connections": 2, "why": ""}],
    "target_count": 1,
    "routes": [],
    "route_count": 0,
    "refusals_by": {"denied": 2},
    "refusals": [],
    "old_processes": [{"pid": 7, "tunnels": 2, "ends": None}],
    "faults": [],
    "drains": [DRAIN],
    "warning_count": 1,
    "warnings": ["look here"],
}


class StatusTests(SynchronousTestCase):
    """merged_status: several instances as one."""

    def test_one(self) -> None:
        """A single document is unchanged."""
        self.assertEqual(STATUS, merged_status([STATUS]))

    def test_refusals(self) -> None:
        """Recent refusals of all instances are listed, the newest first; the same ones are added up."""
        found = merged_status([status(refusals=[refusal(3)]), status(refusals=[refusal(1), refusal(5)])])
        self.assertEqual([1, 3, 5], [each["count"] for each in found["refusals"]])
        later = refusal(3, time=9e9, client="192.0.2.8:1", count=4)
        found = merged_status([status(refusals=[refusal(3)]), status(refusals=[later])])
        self.assertEqual([{**later, "count": 7}], found["refusals"])

    def test_two(self) -> None:
        """Counts are added up, equal entries are listed once, different states are shown; the input is unchanged."""
        other = copy.deepcopy(STATUS)
        other["targets"][0] |= {"state": "down", "why": "no"}
        other["targets"].append({"target": "10.0.0.8:6651", "state": "up", "connections": 1, "why": ""})
        other["warnings"] = ["look here", "and here"]
        before = copy.deepcopy((STATUS, other))
        found = merged_status([STATUS, other])
        self.assertEqual(before, (STATUS, other))
        self.assertEqual((4, {"ended": 6, "refused": 0}, 2), (found["live"], found["totals"], len(found["tunnels"])))
        self.assertEqual((STATUS["listeners"], ["look here", "and here"]), (found["listeners"], found["warnings"]))
        self.assertEqual(2, found["warning_count"])
        self.assertEqual(7, merged_status([STATUS, {**other, "warning_count": 7}])["warning_count"])
        self.assertEqual(
            [
                {
                    "target": "10.0.0.7:6651",
                    "state": "up in 1 of 2, down in 1 of 2",
                    "connections": 4,
                    "why": "no",
                },
                {"target": "10.0.0.8:6651", "state": "up", "connections": 1, "why": ""},
            ],
            found["targets"],
        )

    def test_counts(self) -> None:
        """Numbers of the same listener, target or route are added up; of times and quantiles, the largest is shown."""
        listener = {"name": "public", "endpoint": "tcp:1", "address": "0.0.0.0:1", "connections": 2, "new_per_s": 0.5}
        target = {
            "target": "t", "state": "up", "why": "", "since": None, "names": ["a", "b"], "connects": {"ok": 1},
            "connect_p50_s": 0.25, "up_per_s": None,
        }  # fmt: skip
        route = {"server_name": "a", "listener": None, "targets": ["t"], "refused": 3, "error": None}
        one = {**STATUS, "listeners": [listener], "targets": [target], "routes": [route], "route_count": 1}
        other = copy.deepcopy(one)
        other["targets"][0] |= {"since": 7.0, "names": ["b", "c"], "connect_p50_s": 0.5, "up_per_s": 4.0}
        other["routes"] = [{**route, "error": "down"}, {**route, "listener": "public"}]
        found = merged_status([one, other])
        self.assertEqual([{**listener, "connections": 4, "new_per_s": 1.0}], found["listeners"])
        expected = {
            **target, "since": 7.0, "names": ["a", "b", "c"], "connects": {"ok": 2}, "connect_p50_s": 0.5,
            "up_per_s": 4.0,
        }  # fmt: skip
        self.assertEqual([expected], found["targets"])
        self.assertEqual([{**route, "refused": 6, "error": "down"}, {**route, "listener": "public"}], found["routes"])
        self.assertEqual(({"denied": 4}, 1), (found["refusals_by"], found["target_count"]))

    def test_older(self) -> None:
        """An older instance has no routes and no counts by result."""
        names = ("target_count", "routes", "route_count", "refusals_by")
        older = {name: value for name, value in STATUS.items() if name not in names}
        found = merged_status([older, STATUS])
        self.assertEqual(([], {"denied": 2}, 1), (found["routes"], found["refusals_by"], found["target_count"]))

    def test_drains(self) -> None:
        """The same drain in several instances is one, with the sum of the rates."""
        later = DRAIN | {"since": 21.0, "clients": ["192.0.2.8:1"]}
        (found,) = merged_drains([later, DRAIN])
        self.assertEqual((10.0, 2, 4, 6), tuple(found[name] for name in ("rate", "closed", "refused", "left")))
        self.assertEqual((20.0, ["192.0.2.8:1", "192.0.2.7:1"]), (found["since"], found["clients"]))
        self.assertEqual(2, len(merged_drains([DRAIN, DRAIN | {"kind": "route"}])))

    def test_faults(self) -> None:
        """The same fault in several instances is one, with the sum of the counts."""
        fault = {"name": "f", "action": "drop", "trigger": "PONG", "matched": 2, "applied": 1}
        one, other = merged_faults([fault, fault | {"matched": 3}, fault | {"action": "cut"}])
        self.assertEqual((5, 2), (one["matched"], one["applied"]))
        self.assertEqual(("cut", 2, 1), (other["action"], other["matched"], other["applied"]))

    def test_entries(self) -> None:
        """Numbers are added, the latest time and each different element of a list count, and true is true in one."""
        first = {"bytes": 1, "since": 5.0, "down": False, "by": {"a": 1}, "seen": [{"at": 1}], "why": None}
        second = {
            "bytes": 2,
            "since": 4.0,
            "down": True,
            "by": {"a": 2, "b": 1},
            "seen": [{"at": 1}, {"at": 2}],
            "why": "x",
        }
        added = {"bytes": 3, "since": 5.0, "by": {"a": 3, "b": 1}}
        self.assertEqual(second | added, merged_entries([first, second]))


def merged(*topics: list[TopicEntry]) -> list[TopicEntry]:
    return merged_ledgers(LedgerSnapshot(each, [], []) for each in topics).topics


class TopicsTests(SynchronousTestCase):
    """merged_ledgers: several ledgers as one."""

    def test_one_cluster(self) -> None:
        """A topic of a cluster is one entry, whatever the instances call the cluster; its counts are added up."""
        ledgers = [
            [TopicEntry("t", "pulsar://a:6650", lookups=2, last_seen=5.0, cluster="vip.test")],
            [
                TopicEntry("t", "pulsar://b:6650", lookups=3, last_seen=6.0, cluster="a:6650"),
                TopicEntry("u", "pulsar://a:6650", cluster="a:6650"),
            ],
        ]
        for number, order in enumerate((ledgers, ledgers[::-1])):
            found = {entry.topic: entry for entry in merged(*order)}
            self.assertEqual({"t", "u"}, found.keys())
            self.assertEqual(("pulsar://b:6650", 5), (found["t"].broker_url, found["t"].lookups))
            self.assertEqual({("vip.test", "a:6650")[number]}, {entry.cluster for entry in found.values()})

    def test_clusters(self) -> None:
        """Clusters without a common broker are separate, also with the same name in two instances."""
        ledgers = [[TopicEntry("t", f"pulsar://{name}:6650", cluster="127.0.0.1:6650")] for name in ("east", "west")]
        found = merged(*ledgers)
        self.assertEqual(["pulsar://east:6650", "pulsar://west:6650"], [entry.broker_url for entry in found])
        self.assertEqual({"127.0.0.1:6650"}, {entry.cluster for entry in found})

    def test_moves_seen_twice(self) -> None:
        """A move that several instances report is one; a move and its reverse are two."""
        moves = {
            "first": [(1.0, "a", "b"), (5.0, "b", "a"), (8.0, "a", "c")],
            "second": [(2.0, "a", "b"), (6.0, "b", "a"), (7.0, "a", "b"), (9.0, "b", "c")],
            "third": [(3.0, "a", "b")],
        }
        entries = []
        for seen in moves.values():
            entry = TopicEntry("t", "pulsar://a", last_seen=seen[-1][0], moves_total=len(seen))
            entry.moves = deque(
                Move(time, None, f"pulsar+ssl://{source}", None, f"pulsar+ssl://{goal}", "lookup")
                for time, source, goal in seen
            )
            entries.append([entry])
        for ledgers in (entries, entries[::-1]):
            (found,) = merged(*ledgers)
            self.assertEqual([1.0, 5.0, 7.0, 8.0], [move.time for move in found.moves])
            self.assertEqual(4, found.moves_total)

    def test_others(self) -> None:
        """Counts of a namespace are added up and failures are sorted; both by cluster name."""
        ledgers = [
            LedgerSnapshot(
                [TopicEntry("a/b/t", "pulsar://a:6650", cluster=cluster)],
                [NamespaceEntry("a/b", 5, 1, 2, time, cluster), NamespaceEntry("a/c", 1, cluster=cluster)],
                [Failure(time, "c", "a/b/t", "busy", None, cluster)],
            )
            for time, cluster in ((6.0, "vip.test"), (4.0, "a:6650"))
        ]
        found = merged_ledgers(ledgers)
        self.assertEqual(
            [NamespaceEntry("a/b", 10, 2, 4, 6.0, "vip.test"), NamespaceEntry("a/c", 2, cluster="vip.test")],
            found.namespaces,
        )
        self.assertEqual([(4.0, "vip.test"), (6.0, "vip.test")], [(one.time, one.cluster) for one in found.failures])
