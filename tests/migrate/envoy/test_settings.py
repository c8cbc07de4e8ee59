"""Tests for sniproxy.migrate.envoy.settings."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import HealthTable, Timeouts
from sniproxy.migrate.model import Imported
from tests.support.envoyconfig import bootstrap, chain, cluster, imported, listener, notes, one_listener, tcp_proxy


def read(*clusters: dict[str, Any], **more: Any) -> Imported:
    """The import of a listener with a chain for each cluster."""
    chains = [chain(one["name"], server_names=[f"{one['name']}.test"]) for one in clusters]
    return one_listener(chains, *clusters, **more)


class TimeoutTests(SynchronousTestCase):
    """C{[timeouts]}."""

    def test_hello(self) -> None:
        """The time for listener filters; 0 is no timeout, which there is not here."""
        self.assertEqual(3.5, timeouts(read(cluster("a"), listener_filters_timeout="3.5s")).hello)
        found = read(cluster("a"), listener_filters_timeout="0s")
        self.assertEqual(Timeouts().hello, timeouts(found).hello)
        self.assertIn("without limit", notes(found.report, False))

    def test_listeners_that_differ(self) -> None:
        """The longest time is for all, and that is reported."""
        listeners = [
            listener("one", 1, [chain("a")], listener_filters_timeout="2s"),
            listener("two", 2, [chain("a")], listener_filters_timeout="9s"),
        ]
        found = imported(bootstrap(listeners, [cluster("a", "10.0.0.1:1")]))
        self.assertEqual(9, timeouts(found).hello)
        self.assertIn("2: timeouts.hello is 9", notes(found.report, False))

    def test_connect(self) -> None:
        """The longest of the clusters that are used."""
        written = [cluster("a", "10.0.0.1:1", connect_timeout="1s"), cluster("b", "10.0.0.2:1", connect_timeout="4s")]
        self.assertEqual(4, timeouts(read(*written)).connect)
        del written[0]["connect_timeout"]
        self.assertEqual(4, timeouts(read(*written)).connect)
        self.assertEqual(Timeouts().connect, timeouts(read(cluster("a", "10.0.0.1:1", connect_timeout="x"))).connect)

    def test_idle(self) -> None:
        """The longest; 0 is no limit. A chain without it has Envoy's hour, which is reported."""
        for written, expected, reported in (
            (("60s", "90s"), 90, False),
            (("60s", "0s"), 0, False),
            (("60s", None), 60, True),
            ((None, None), 300, True),
        ):
            proxies = [tcp_proxy("a", **({} if idle is None else {"idle_timeout": idle})) for idle in written]
            chains = [
                {"filter_chain_match": {"server_names": [f"{number}.test"]}, "filters": [one]}
                for number, one in enumerate(proxies)
            ]
            found = one_listener(chains)
            self.assertEqual(expected, timeouts(found).idle)
            self.assertEqual(reported, "1 h in Envoy" in notes(found.report, False))


class HealthTests(SynchronousTestCase):
    """C{[health]}."""

    CHECK: dict[str, Any] = {
        "timeout": "1s", "interval": "7s", "unhealthy_threshold": 4, "healthy_threshold": 2, "tcp_health_check": {},
    }  # fmt: skip

    def test_none(self) -> None:
        """Without checks there are none."""
        self.assertEqual(HealthTable(), read(cluster("a", "10.0.0.1:1")).health)

    def test_checks(self) -> None:
        """A TCP check, for all targets."""
        found = read(cluster("a", "10.0.0.1:1", health_checks=[self.CHECK]), cluster("b", "10.0.0.2:1"))
        self.assertEqual(HealthTable(check="tcp", interval=7, rise=2, fall=4), found.health)
        self.assertIn("the targets of b are checked, too", notes(found.report, False))

    def test_other_checks(self) -> None:
        """A check that sends something becomes a connect; missing numbers are ours."""
        checks: tuple[dict[str, Any], ...] = (
            {"http_health_check": {"path": "/"}},
            {"tcp_health_check": {"send": {"text": "00"}}},
        )
        for check in checks:
            found = read(cluster("a", "10.0.0.1:1", health_checks=[check]))
            self.assertEqual(HealthTable(check="tcp"), found.health)
            self.assertIn("checked by a connect only", notes(found.report, False))

    def test_outlier_detection(self) -> None:
        """Ejection after failures in a row; Envoy's defaults where nothing is written."""
        found = read(cluster("a", "10.0.0.1:1", outlier_detection={"consecutive_5xx": 2, "base_ejection_time": "9s"}))
        self.assertEqual(HealthTable(fall=2, eject=9), found.health)
        self.assertEqual(
            HealthTable(fall=5, eject=30), read(cluster("a", "10.0.0.1:1", outlier_detection={"x": 1})).health
        )

    def test_both(self) -> None:
        """Checks set the number of failures."""
        for count, reported in ((4, False), (2, True)):
            detection = {"consecutive_local_origin_failure": count}
            found = read(cluster("a", "10.0.0.1:1", health_checks=[self.CHECK], outlier_detection=detection))
            assert found.health is not None
            self.assertEqual((4, 30), (found.health.fall, found.health.eject))
            self.assertEqual(reported, "as of health checks" in notes(found.report, False))


class LimitTests(SynchronousTestCase):
    """Limits of connections."""

    LIMIT: dict[str, Any] = {"circuit_breakers": {"thresholds": [{"max_connections": 9}]}}

    def test_one_route(self) -> None:
        """The limit of a cluster with one route is the route's."""
        found = read(cluster("a", "10.0.0.1:1", **self.LIMIT))
        self.assertEqual([9], [rule.max_connections for rule in found.rules])

    def test_several_routes(self) -> None:
        """Several routes cannot share a limit."""
        found = one_listener([chain("a", server_names=["a.test", "b.test"])], cluster("a", "10.0.0.1:1", **self.LIMIT))
        self.assertEqual([None, None], [rule.max_connections for rule in found.rules])
        self.assertEqual(1, notes(found.report, False).count("max_connections = 9"))


def timeouts(found: Imported) -> Timeouts:
    """The timeouts of an import."""
    assert found.timeouts is not None
    return found.timeouts
