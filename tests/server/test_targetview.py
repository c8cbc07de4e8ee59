"""Tests for sniproxy.server.targetview."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.slices import finish
from sniproxy.admin.sources import ResolverStatus, RouteStatus, TargetStatus
from sniproxy.config.parser import parse
from sniproxy.interfaces import Target
from sniproxy.routing.health import Health
from sniproxy.routing.targetstats import FORGET_S, MAX_NAMES
from sniproxy.routing.upstreams import DrainTarget, UpstreamTable
from sniproxy.server.drain import DrainManager
from sniproxy.server.targetview import BATCH, TargetView
from tests.support.proxies import LISTENER

ONE, TWO, FOUND = Target("10.0.0.1", 6651), Target("10.0.0.2", 6651), Target("10.0.0.3", 6651, label="broker-3")
TEXT = """
[[route]]
server_name = "a.test"
target = "10.0.0.1:6651"
[[route]]
server_name = "*.b.test"
target = ["10.0.0.1:6651", "10.0.0.2:6651"]
[[route]]
server_name = "c.test"
resolver = "found"
[resolver.found]
type = "file"
path = "names"
"""
NOW = 5000.0


class TargetViewTests(SynchronousTestCase):
    """TargetView."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.upstreams = UpstreamTable()
        self.now = NOW
        self.drains = DrainManager(self.clock, self.upstreams, tuple, lambda: self.now)
        self.addCleanup(self.drains.stop)
        self.resolvers: list[ResolverStatus] = []
        self.view = self.made(TEXT)

    def made(self, text: str) -> TargetView:
        configuration = parse(LISTENER + text, "test.toml")
        return TargetView(
            self.clock, self.upstreams, self.drains, configuration, lambda: self.resolvers, lambda: self.now
        )

    def check(self, health: Health) -> None:
        """Track the written targets."""
        self.upstreams.reconfigure(health, [(ONE, None), (TWO, None)])

    def target(self, text: str) -> TargetStatus:
        (found,) = [one for one in finish(self.view.targets_steps(99))[0] if one.target == text]
        return found

    def route(self, name: str) -> RouteStatus:
        (found,) = [one for one in finish(self.view.routes_steps(99))[0] if one.server_name == name]
        return found

    def test_targets(self) -> None:
        """Targets of the configuration come first, unused ones too, then those of resolvers' answers."""
        self.upstreams.record_answer([FOUND], "c.test", 1.0, route="c.test")
        self.upstreams.add_connection(FOUND)
        rows, count = finish(self.view.targets_steps(99))
        self.assertEqual(["10.0.0.1:6651", "10.0.0.2:6651", "broker-3"], [one.target for one in rows])
        self.assertEqual((3, [0, 0, 1]), (count, [one.connections for one in rows]))
        self.assertEqual((["a.test", "*.b.test"],) * 2, (rows[0].names, rows[0].routes))
        self.assertEqual((["c.test"], ["c.test"]), (rows[2].names, rows[2].routes))
        self.assertEqual(
            {("unchecked", None, None, "", None)},
            {(one.state, one.since, one.checked, one.why, one.up) for one in rows},
        )
        rows, count = finish(self.view.targets_steps(2))
        self.assertEqual((2, 3), (len(rows), count))
        self.assertTrue(all(one.labelled for one in self.upstreams.stats.known.values()))

    def test_dropped(self) -> None:
        """A target that a reload has dropped is not listed, unless it has connections; then its counts are dropped."""
        finish(self.view.targets_steps(99))
        self.upstreams.add_connection(TWO)
        self.view = self.made('[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.9:1"\n')
        rows, _ = finish(self.view.targets_steps(99))
        self.assertEqual(["10.0.0.9:1", "10.0.0.2:6651"], [one.target for one in rows])
        self.upstreams.remove_connection(TWO)
        self.assertEqual(1, finish(self.view.targets_steps(99))[1])
        self.clock.advance(FORGET_S)
        finish(self.view.forget_steps())
        self.assertEqual(["10.0.0.9:1"], list(self.upstreams.stats.known))

    def test_checked(self) -> None:
        """The state by health checks: since when, the last check, and why it failed, in seconds since 1970."""
        self.check(Health("tcp", fall=1, rise=1))
        self.assertEqual("unchecked", self.target(str(ONE)).state)
        self.upstreams.record_check(self.upstreams.known[str(ONE)], "", 90.0)
        self.upstreams.record_check(self.upstreams.known[str(ONE)], "", 95.0)
        row = self.target(str(ONE))
        self.assertEqual(("up", NOW - 10, NOW - 5, "", True), (row.state, row.since, row.checked, row.why, row.up))
        self.upstreams.record_check(self.upstreams.known[str(ONE)], "no", 99.0)
        row = self.target(str(ONE))
        self.assertEqual(("down", NOW - 1, NOW - 1, "no", False), (row.state, row.since, row.checked, row.why, row.up))

    def test_ejected(self) -> None:
        """The state by ejection, and since when it is up again: the ejection's end, or a connect."""
        self.check(Health(eject=30.0, fall=1))
        row = self.target(str(ONE))
        self.assertEqual(("up", None, None), (row.state, row.since, row.checked))
        self.upstreams.record_failure(ONE, "refused", 98.0)
        row = self.target(str(ONE))
        self.assertEqual(("ejected", NOW - 2, "refused", False), (row.state, row.since, row.why, row.up))
        self.clock.advance(40.0)
        row = self.target(str(ONE))
        self.assertEqual(("up", NOW - 12, "refused"), (row.state, row.since, row.why))
        self.upstreams.record_success(ONE, 0.1, 139.0)
        row = self.target(str(ONE))
        self.assertEqual(("up", NOW - 12, ""), (row.state, row.since, row.why))

    def test_unchecked(self) -> None:
        """Without checks, the last connect says what is wrong; after a reload without them, too."""
        self.upstreams.add_connection(ONE)
        self.upstreams.record_failure(ONE, "refused", 98.0)
        self.assertEqual(("unchecked", "refused"), (self.target(str(ONE)).state, self.target(str(ONE)).why))
        self.upstreams.record_success(ONE, 0.1, 99.0)
        self.assertEqual("", self.target(str(ONE)).why)
        self.check(Health("tcp"))
        self.upstreams.record_check(self.upstreams.known[str(ONE)], "no", 99.0)
        self.check(Health())
        self.assertEqual(("unchecked", None), (self.target(str(ONE)).state, self.target(str(ONE)).checked))

    def test_draining(self) -> None:
        """A target is draining if it is drained itself, by address or label, or if all its routes are."""
        self.check(Health(eject=30.0, fall=1))
        self.upstreams.record_answer([FOUND], "c.test", 1.0, route="c.test")
        self.upstreams.record_failure(TWO, "refused", 99.0)
        self.drains.begin(DrainTarget("target", str(TWO)), 1.0)
        self.drains.begin(DrainTarget("target", "broker-3"), 1.0)
        self.drains.begin(DrainTarget("route", "a.test"), 1.0)
        self.assertEqual("up", self.target(str(ONE)).state)
        row = self.target(str(TWO))
        self.assertEqual(("draining", NOW, "refused", False), (row.state, row.since, row.why, row.up))
        self.assertEqual("draining", self.target("broker-3").state)
        self.now += 7
        self.drains.begin(DrainTarget("route", "*.b.test"), 1.0)
        self.assertEqual(("draining", NOW + 7), (self.target(str(ONE)).state, self.target(str(ONE)).since))

    def test_routes(self) -> None:
        """Routes in the file's order with their targets: the written ones, or those of the resolver's answers."""
        self.upstreams.record_answer([FOUND], "c.test", 1.0, route="c.test")
        rows, count = finish(self.view.routes_steps(99))
        self.assertEqual(3, count)
        self.assertEqual(["a.test", "*.b.test", "c.test"], [one.server_name for one in rows])
        self.assertEqual([str(ONE), str(TWO)], rows[1].targets)
        self.assertEqual((["broker-3"], [("public", "c.test")]), (rows[2].targets, rows[2].keys))
        self.assertEqual([None] * 3, [one.error for one in rows])
        self.assertEqual((["a.test"], 3), ([one.server_name for one in finish(self.view.routes_steps(1))[0]], count))

    def test_many_answers(self) -> None:
        """A route shows the first targets of its resolver, and a step describes few."""
        for number in range(3 * MAX_NAMES):
            self.upstreams.record_answer([Target("10.1.0.1", number + 1)], "c.test", 1.0, route="c.test")
        self.assertEqual(MAX_NAMES, len(self.route("c.test").targets))
        self.assertGreaterEqual(len(list(self.view.targets_steps(99))), 3 * MAX_NAMES // BATCH)

    def test_bridges(self) -> None:
        """Bridges are routes, too, with the cluster as their target."""
        text = (
            '[[bridge]]\nendpoint = "tcp:1"\nname = "b"\nservice_url = "pulsar+ssl://p.test:6651"\ntrust = "/ca.pem"\n'
        )
        self.view = self.made(TEXT + text)
        row = self.route("bridge")
        self.assertEqual(("b", ["pulsar+ssl://p.test:6651"]), (row.listener, row.targets))
        self.assertEqual([("b", "bridge")], row.keys)
        self.assertEqual((1, 4), (len(finish(self.view.routes_steps(1))[0]), finish(self.view.routes_steps(1))[1]))

    def test_targets_fail(self) -> None:
        """A route fails if all its targets do: down, ejected, drained, or not connected at last."""
        self.upstreams.add_connection(ONE)
        self.upstreams.record_failure(ONE, "refused", 98.0)
        self.assertEqual("10.0.0.1:6651: refused", self.route("a.test").error)
        self.assertIsNone(self.route("*.b.test").error)
        self.drains.begin(DrainTarget("target", str(TWO)), 1.0)
        self.assertEqual("10.0.0.1:6651: refused; 10.0.0.2:6651: drained", self.route("*.b.test").error)
        self.drains.begin(DrainTarget("route", "*.b.test"), 1.0)
        self.assertEqual("drained", self.route("*.b.test").error)
        self.check(Health("tcp", fall=1, rise=1))
        self.upstreams.record_check(self.upstreams.known[str(ONE)], "", 99.0)
        self.assertIsNone(self.route("a.test").error)
        self.upstreams.record_check(self.upstreams.known[str(ONE)], "no", 99.0)
        self.assertEqual("10.0.0.1:6651: no", self.route("a.test").error)

    def test_resolver_fails(self) -> None:
        """A route fails if its resolvers do: an open circuit breaker, or a failed refresh."""
        self.resolvers = [ResolverStatus("found", "file", {})]
        self.assertIsNone(self.route("c.test").error)
        self.resolvers = [ResolverStatus("found", "file", {}, "open")]
        self.assertEqual("resolver found: its circuit breaker is open", self.route("c.test").error)
        self.resolvers = [ResolverStatus("found", "file", {}, error="no such file")]
        self.assertEqual("resolver found: no such file", self.route("c.test").error)
        self.assertIsNone(self.route("a.test").error)
