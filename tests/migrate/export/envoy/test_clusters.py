"""Tests for sniproxy.migrate.export.envoy.clusters."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import DefaultTable, File, HealthTable, ListenerTable, RouteEntry, Timeouts
from sniproxy.migrate.export.envoy.clusters import REFUSED, UNLIMITED, Clusters, duration, report_differences
from sniproxy.migrate.export.fronts import Leading
from sniproxy.migrate.model import ANY, Notes, Place
from sniproxy.routing.templates import parse_template
from tests.support.envoyconfig import notes


def leading(pattern: str, *targets: str, listener: bool = False, **keys: Any) -> Leading:
    """Names of a route."""
    table: RouteEntry | DefaultTable | ListenerTable = RouteEntry(pattern, **keys)
    if pattern == ANY:
        table = ListenerTable("tcp:1", "front", **keys) if listener else DefaultTable(**keys)
    return Leading(pattern, Place("x", 0, pattern), table, [parse_template(text) for text in targets])


class ClusterTests(SynchronousTestCase):
    """A cluster for each destination."""

    def setUp(self) -> None:
        self.report = Notes()
        self.clusters = Clusters(File(), self.report)

    def made(self, one: Leading, file: File | None = None) -> dict[str, Any]:
        clusters = Clusters(file or File(), self.report)
        return clusters.made[clusters.name_for(one, 4443)]

    def test_names(self) -> None:
        """The name of the first route; the same destination is one cluster."""
        names = [self.clusters.name_for(one, None) for one in (
            leading("a.test", "x:1"), leading("b.test", "x:1"), leading("a.test", "y:1"), leading(ANY, "z:1"),
            leading(ANY, "v:1", listener=True), leading("refused", "w:1"), leading("c.test"),
        )]  # fmt: skip
        self.assertEqual(["a.test", "a.test", "a.test+", "default", "front", "refused+", REFUSED], names)

    def test_limits(self) -> None:
        """A limit is for one route; without one there is none."""
        names = [self.clusters.name_for(leading(name, "x:1", max_connections=5), None) for name in ("a.test", "b.test")]
        self.assertEqual(["a.test", "b.test"], names)
        for name, expected in (("a.test", 5), (self.clusters.name_for(leading("c.test", "x:1"), None), UNLIMITED)):
            (threshold,) = self.clusters.made[name]["circuit_breakers"]["thresholds"]
            self.assertEqual(expected, threshold["max_connections"])

    def test_endpoints(self) -> None:
        """Weights, and spares in the next priority; spares alone are no spares."""
        found = self.made(leading("a.test", "10.0.0.1 weight=3", "10.0.0.2", "10.0.0.3 weight=0"))
        first, second = found["load_assignment"]["endpoints"]
        self.assertEqual([3, None], [one.get("load_balancing_weight") for one in first["lb_endpoints"]])
        self.assertEqual((1, 1), (second["priority"], len(second["lb_endpoints"])))
        found = self.made(leading("a.test", "10.0.0.1 weight=0"))
        self.assertEqual([None], [one.get("priority") for one in found["load_assignment"]["endpoints"]])
        self.assertEqual("STATIC", found["type"])

    def test_attempts(self) -> None:
        """One for each target."""
        name = self.clusters.name_for(leading("a.test", "x:1", "y:1", "z:1 weight=0"), None)
        self.assertEqual(3, self.clusters.attempts(name))
        self.assertEqual(1, self.clusters.attempts(self.clusters.name_for(leading("b.test"), None)))

    def test_settings(self) -> None:
        """Names, balance, header and timeout."""
        found = self.made(
            leading("a.test", "x.test", balance="least_connections", send_proxy="v1"),
            File(timeouts=Timeouts(connect=2.5)),
        )
        self.assertEqual(
            ("STRICT_DNS", "LEAST_REQUEST", "2.5s"),
            tuple(found[key] for key in ("type", "lb_policy", "connect_timeout")),
        )
        self.assertEqual("V1", found["transport_socket"]["typed_config"]["config"]["version"])

    def test_health(self) -> None:
        """Checks and ejection."""
        health = HealthTable(check="tcp", interval=7, rise=4, fall=5, eject=9)
        found = self.made(leading("a.test", "x.test"), File(health=health))
        (check,) = found["health_checks"]
        self.assertEqual(("7s", 5, 4), (check["interval"], check["unhealthy_threshold"], check["healthy_threshold"]))
        self.assertEqual("9s", found["outlier_detection"]["base_ejection_time"])
        self.assertNotIn("health_checks", self.made(leading("a.test", "x.test")))

    def test_durations(self) -> None:
        """Without zeros at the end."""
        self.assertEqual(["5s", "0.25s", "0s", "300s"], [duration(one) for one in (5.0, 0.25, 0.0, 300.0)])


class DifferenceTests(SynchronousTestCase):
    """What clusters do otherwise."""

    def differences(self, *leading: Leading, health: HealthTable | None = None) -> str:
        report = Notes()
        report_differences(leading, File(health=health or HealthTable()), report)
        return notes(report)

    def test_spares(self) -> None:
        """Envoy uses them by health only."""
        one = leading("a.test", "10.0.0.1", "10.0.0.2 weight=0")
        self.assertEqual(1, self.differences(one, one).count("spares"))
        self.assertEqual("", self.differences(one, health=HealthTable(eject=5)))
        self.assertEqual("", self.differences(leading("a.test", "10.0.0.1 weight=0")))

    def test_keys(self) -> None:
        """Names, fields of the header, sources and limits."""
        one = leading("a.test", "x.test", proxy_tlvs=["authority"], target_source="client", max_connections=5)
        found = self.differences(one)
        for word in ("looks host names up", "proxy_tlvs", "target_source", "max_connections"):
            self.assertIn(word, found)
        self.assertEqual(
            "", self.differences(leading("a.test", "10.0.0.1"), leading(ANY, "10.0.0.1", max_connections=5))
        )
