"""Tests for sniproxy.server.workers.admin.documents."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.history import MAX_TARGETS
from sniproxy.admin.slices import finish
from sniproxy.admin.sources import DrainStatus, Reloads, ResolverStatus, TargetStatus
from sniproxy.admin.tunnellist import SORTS
from sniproxy.server.workers.admin import documents
from tests.admin.sample import NOW, SampleSite
from tests.support.reactor import reactor

FACTS: dict[str, Any] = {
    "instance": None,
    "configuration": {"file": "a.toml", "reloads": {"succeeded": 1, "failed": 0, "error": None}},
    "drains": [],
    "workers": [{"index": 0, "pid": 7, "error": None}, {"index": 1, "pid": None, "error": "does not run"}],
    "warnings": ["worker 1 does not run: it is left out"],
    "old_processes": [{"pid": 9, "tunnels": 3, "ends": 5.0}],
}


def sample(instance: int = 0) -> SampleSite:
    """A worker with tunnels and topics."""
    found = SampleSite(reactor, instance=instance)
    found.fill()
    return found


def ask(site: SampleSite, name: str, *arguments: Any) -> dict[str, Any]:
    """A document of a worker."""
    found: dict[str, Any] = json.loads(finish(getattr(site.site, f"{name}_steps")(*arguments)))
    return found


def history(end: float | None, tunnels: list[int], **more: Any) -> dict[str, Any]:
    """The JSON of C{/history}."""
    series = {"tunnels": tunnels, "new": tunnels, "up": tunnels, "down": tunnels, "refused": {}, "targets": {}, **more}
    return {"time": 1000.0, "instance": 0, "step_s": 10, "end": end, "series": series}


class FaultsTests(SynchronousTestCase):
    """faults."""

    def test_sums(self) -> None:
        """Counts of the same fault are added up; a fault of one worker only, as in a reload, is shown, too."""
        one = {"name": "a", "action": "cut", "trigger": "byte 0", "matched": 3, "applied": 1, "added": False}
        other = {**one, "trigger": "byte 5"}
        found = documents.faults(
            {
                1: {"time": 7.0, "faults": [one, other], "counts": {"cut": 1, "drop": 2}},
                0: {"time": 5.0, "faults": [{**one, "matched": 4}], "counts": {"cut": 1}},
            }
        )
        self.assertEqual([{**one, "matched": 7, "applied": 2}, other], found["faults"])
        self.assertEqual((7.0, {"cut": 2, "drop": 2}), (found["time"], found["counts"]))


class StatusTests(SynchronousTestCase):
    """status: the proxy as a whole."""

    def merged(self, *sites: SampleSite, facts: dict[str, Any] = FACTS, limit: int = 1000) -> dict[str, Any]:
        found = {index: ask(site, "status", None) for index, site in enumerate(sites)}
        return documents.status(found, facts, limit, min(limit, 5))

    def test_sums(self) -> None:
        """Counts are added up; what the supervisor knows replaces what workers say; the newest tunnels come first."""
        one, other = sample(), sample()
        found = self.merged(one, other)
        alone = ask(one, "status", None)
        self.assertEqual(2 * alone["live"], found["live"])
        self.assertEqual((None, "a.toml"), (found["instance"], found["configuration"]["file"]))
        ages = [tunnel["age_s"] for tunnel in found["tunnels"]]
        self.assertEqual((5, sorted(ages)), (len(ages), ages))
        self.assertEqual(FACTS["warnings"] + alone["warnings"], found["warnings"])
        self.assertEqual(len(found["warnings"]), found["warning_count"])
        first, second = found["workers"]
        self.assertEqual((7, alone["live"], alone["started"]), (first["pid"], first["connections"], first["started"]))
        self.assertEqual(
            (None, found["live"]), (self.merged(one)["workers"][1]["connections"], second["connections"] * 2)
        )
        for name in ("max_connections", "max_hellos", "connecting"):
            self.assertEqual(2 * alone["limits"][name], found["limits"][name])
        self.assertEqual(set(alone) - set(found), set())

    def test_bound(self) -> None:
        """Lists have no more entries than asked for."""
        found = self.merged(sample(), sample(), limit=1)
        for name in ("tunnels", "targets", "routes", "refusals", "warnings"):
            self.assertLessEqual(len(found[name]), 1, name)

    def test_target(self) -> None:
        """A target has its worst state of all workers, and the cause of it."""
        for states, state, why in (
            (("up", "down"), "down", "in 1 of 2 workers: refused"),
            (("down", "down"), "down", "refused"),
            (("ejected", "unchecked"), "ejected", "in 1 of 2 workers: refused"),
            (("up", "unchecked"), "up", ""),
            (("draining", "down"), "draining", ""),
            (("other", "up"), "up", ""),
        ):
            sites = [SampleSite(reactor), SampleSite(reactor)]
            for site, one in zip(sites, states, strict=True):
                cause = "refused" if one in ("down", "ejected") else ""
                site.proxy.targets.append(TargetStatus("10.0.0.1:1", one, 2, cause))
            (target,) = self.merged(*sites)["targets"]
            self.assertEqual((state, why, 4), (target["state"], target["why"], target["connections"]), states)

    def test_unknown_cause(self) -> None:
        """A worker may not say why a target is down."""
        sites = [SampleSite(reactor), SampleSite(reactor)]
        for site, state in zip(sites, ("down", "up"), strict=True):
            site.proxy.targets.append(TargetStatus("10.0.0.1:1", state, 2, ""))
        self.assertEqual("in 1 of 2 workers", self.merged(*sites)["targets"][0]["why"])

    def test_resolvers(self) -> None:
        """A resolver's counts are added up; its breaker is open if one is; the names of all are shown."""
        sites = [SampleSite(reactor), SampleSite(reactor)]
        for site, breaker, name in zip(sites, ("closed", "open"), ("a", "b"), strict=True):
            site.proxy.resolvers.append(ResolverStatus("r", "dns", {"hits": 2}, breaker, "watching", None, {name: "x"}))
        (found,) = self.merged(*sites)["resolvers"]
        self.assertEqual(
            ({"hits": 4}, "open", {"a": "x", "b": "x"}), (found["counts"], found["breaker"], found["names"])
        )
        self.assertEqual("closed", self.merged(sites[0])["resolvers"][0]["breaker"])

    def test_drains(self) -> None:
        """Drains are added up, with the rate and the start that the supervisor has kept."""
        one, other = SampleSite(reactor), SampleSite(reactor)
        for site, since in ((one, NOW), (other, NOW + 9)):
            site.proxy.drains.append(DrainStatus("route", "a", since, 4.0, 1, 1, 2, ["192.0.2.1:5"]))
            site.proxy.drains.append(DrainStatus("route", "b", since, 4.0, 1, 1, 2, []))
        kept = [{"kind": "route", "name": "a", "rate": 7.0, "since": NOW - 5}]
        a, b = self.merged(one, other, facts={**FACTS, "drains": kept})["drains"]
        self.assertEqual((7.0, NOW - 5, 4, 2), (a["rate"], a["since"], a["left"], a["closed"]))
        self.assertEqual((8.0, NOW), (b["rate"], b["since"]))

    def test_reload(self) -> None:
        """The error of a reload is the worker's own, if a worker has refused the file."""
        settings = {"file": "a", "reloads": {"succeeded": 0, "failed": 1, "error": "refused by worker 1"}}
        one, other = SampleSite(reactor), SampleSite(reactor)
        facts = {**FACTS, "configuration": settings}
        self.assertEqual("refused by worker 1", self.merged(one, facts=facts)["configuration"]["reloads"]["error"])
        other.proxy.reloads = Reloads(0, 1, "port in use", NOW)
        self.assertEqual("port in use", self.merged(one, other, facts=facts)["configuration"]["reloads"]["error"])


class ListTests(SynchronousTestCase):
    """tunnels, who, flows: lists of connections."""

    def test_tunnels(self) -> None:
        """The lists of all workers are one, in each order, of which a part is returned."""
        sites = [sample(), sample()]
        for site in sites[1:]:
            for live in site.proxy.tunnels:
                live.bytes_up += 7
        for sort in SORTS:
            found = {index: ask(site, "tunnels", "", sort, 1000, 0) for index, site in enumerate(sites)}
            whole = documents.tunnels(found, sort, 1000, 0)
            count = sum(len(one["tunnels"]) for one in found.values())
            self.assertEqual((count, count, count), (whole["live"], whole["matched"], len(whole["tunnels"])))
            for index, document in found.items():
                mine = [one for one in whole["tunnels"] if one["worker"] == index]
                self.assertEqual([{**one, "worker": index} for one in document["tunnels"]], mine)
            self.assertEqual(whole["tunnels"][3:5], documents.tunnels(found, sort, 2, 3)["tunnels"])
        ages = [one["age_s"] for one in documents.tunnels(found, "newest", 9, 0)["tunnels"]]
        self.assertEqual(9, len(ages))

    def test_who(self) -> None:
        """The connections of all workers."""
        found = documents.who({0: {"time": 1.0, "tunnels": [{"id": "a"}]}, 1: {"time": 2.0, "tunnels": [{"id": "b"}]}})
        self.assertEqual(
            {"time": 2.0, "instance": None, "tunnels": [{"id": "a", "worker": 0}, {"id": "b", "worker": 1}]}, found
        )

    def test_flows(self) -> None:
        """Counts are added up; the busiest clients, routes and targets are listed, and others are together."""
        alone = ask(sample(), "flows")
        both = documents.flows({0: alone, 1: alone})
        self.assertEqual(2 * alone["connections"], both["connections"])
        self.assertEqual(alone["client_count"], both["client_count"])
        for name in ("client_routes", "client_listeners", "listener_routes", "route_targets"):
            self.assertEqual(
                2 * sum(one["connections"] for one in alone[name]), sum(one["connections"] for one in both[name])
            )
        many = {
            index: {
                "time": 1.0,
                "connections": 20,
                "client_count": 20,
                "clients": [{"client": f"{index} {number}", "connections": 1 + index} for number in range(20)],
                "client_routes": [
                    {"client": f"{index} {number}", "route": "r", "connections": 1} for number in range(20)
                ],
                "client_listeners": [{"client": f"{index} 0", "listener": "public", "connections": 20}],
                "listener_routes": [{"listener": "public", "route": "r", "connections": 20}],
                "route_targets": [{"route": "r", "target": None, "connections": 20}],
            }
            for index in (0, 1)
        }
        found = documents.flows(many)
        self.assertEqual((40, 20), (found["client_count"], len(found["clients"])))
        self.assertEqual({"1"}, {one["client"][0] for one in found["clients"]})
        self.assertIn({"client": None, "route": "r", "connections": 20}, found["client_routes"])
        self.assertEqual([{"route": "r", "target": None, "connections": 40}], found["route_targets"])
        self.assertEqual([{"listener": "public", "route": "r", "connections": 40}], found["listener_routes"])
        self.assertIn({"client": None, "listener": "public", "connections": 20}, found["client_listeners"])


class HistoryTests(SynchronousTestCase):
    """history: the sum of the last hour."""

    def test_aligned(self) -> None:
        """Steps that ended at the same time are added up; a worker has started later, another is a step behind."""
        target = {"tunnels": [None, 1, 2], "up": [None, 1, 2]}
        found = documents.history(
            {
                0: history(100.0, [1, 2, 3], targets={"a": target}, refused={"limit": [1, 0, 1]}),
                1: history(103.0, [5], targets={"a": {"tunnels": [5], "up": [5]}, "b": {"tunnels": [1], "up": [1]}}),
                2: history(91.0, [7, 8], refused={"limit": [2, 2], "denied": [0, 9]}),
                3: history(None, []),
            }
        )
        self.assertEqual((103.0, 10, None), (found["end"], found["step_s"], found["instance"]))
        series = found["series"]
        self.assertEqual([8, 10, 8], series["tunnels"])
        self.assertEqual({"limit": [3, 2, 1], "denied": [0, 9, 0]}, series["refused"])
        self.assertEqual({"tunnels": [None, 1, 7], "up": [None, 1, 7]}, series["targets"]["a"])
        self.assertEqual([None, None, 1], series["targets"]["b"]["tunnels"])

    def test_empty(self) -> None:
        """No step has ended."""
        self.assertEqual([], documents.history({0: history(None, []), 1: history(None, [])})["series"]["tunnels"])

    def test_targets_bound(self) -> None:
        """The busiest targets have a history."""
        targets = {f"t{number}": {"tunnels": [number]} for number in range(MAX_TARGETS + 5)}
        found = documents.history({0: history(100.0, [1], targets=targets)})["series"]["targets"]
        self.assertEqual([f"t{number}" for number in range(5, MAX_TARGETS + 5)], list(found))
