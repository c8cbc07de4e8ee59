"""Tests for sniproxy.routing.upstreams."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.routing.health import Health
from sniproxy.routing.targetstats import address
from sniproxy.routing.upstreams import FORGET_S, MAX_UPSTREAMS, DrainTarget, TargetState, UpstreamTable

ONE, TWO = Target("10.0.0.1", 6651), Target("10.0.0.2", 6651, label="broker-2")


class StandingTests(SynchronousTestCase):
    """State of targets."""

    def test_connections(self) -> None:
        """Connections are counted by host and port, whatever the label."""
        upstreams = UpstreamTable()
        upstreams.add_connection(TWO)
        upstreams.add_connection(Target("10.0.0.2", 6651))
        self.assertEqual((0, 2), (upstreams.connections(ONE), upstreams.connections(TWO)))
        upstreams.remove_connection(TWO)
        upstreams.remove_connection(TWO)
        self.assertEqual(0, upstreams.connections(TWO))
        upstreams.remove_connection(TWO)
        self.assertEqual(0, upstreams.connections(TWO))

    def test_answered(self) -> None:
        """Targets in answers of resolvers are remembered without health checks, too, up to a limit."""
        upstreams = UpstreamTable()
        upstreams.record_answer([ONE, TWO], None, 0.0)
        upstreams.record_answer([ONE], None, 1.0)
        self.assertEqual([address(TWO), address(ONE)], list(upstreams.answered))
        for number in range(MAX_UPSTREAMS - 1):
            upstreams.record_answer([Target("10.1.0.1", number + 1)], None, 2.0)
        self.assertEqual((MAX_UPSTREAMS, False), (len(upstreams.answered), address(TWO) in upstreams.answered))
        self.assertEqual({}, upstreams.known)

    def test_checks(self) -> None:
        """What an answer says about the checks of its targets is kept as long as the targets are."""
        upstreams = UpstreamTable()
        upstreams.reconfigure(Health("tls"), [(ONE, None)], [], {ONE: b"own"})
        upstreams.record_answer([TWO], None, 0.0, plaintext=True, header=b"PROXY")
        self.assertEqual({address(ONE): b"own", address(TWO): b"PROXY"}, upstreams.headers)
        self.assertEqual({address(TWO)}, upstreams.plaintext)
        upstreams.forget(FORGET_S + 1)
        self.assertEqual(({address(ONE): b"own"}, set()), (upstreams.headers, upstreams.plaintext))

    def test_planned(self) -> None:
        """The connection of a plan counts as another one does, and its target is remembered as answered."""
        upstreams = UpstreamTable()
        upstreams.add_planned(address(ONE))
        upstreams.add_connection(ONE)
        self.assertEqual((2, [address(ONE)]), (upstreams.connections(ONE), list(upstreams.answered)))
        upstreams.record_answer([TWO], None, 0.0)
        upstreams.add_planned(address(ONE))
        self.assertEqual([address(TWO), address(ONE)], list(upstreams.answered))
        for number in range(MAX_UPSTREAMS):
            upstreams.add_planned(f"10.1.0.1:{number}")
        self.assertEqual((MAX_UPSTREAMS, False), (len(upstreams.answered), address(TWO) in upstreams.answered))

    def test_all_alike(self) -> None:
        """With a drain, health checks, ejection or a target that is tracked, targets are not all alike."""
        self.assertTrue(UpstreamTable().all_alike)
        drained, checked, ejecting, tracked = [UpstreamTable() for _ in range(4)]
        drained.drain(DrainTarget("route", "a.test"))
        checked.health = Health(check="tcp")
        ejecting.health = Health(eject=30.0)
        tracked.reconfigure(Health(), [(ONE, None)])
        for upstreams in (drained, checked, ejecting, tracked):
            self.assertFalse(upstreams.all_alike)

    def test_drained(self) -> None:
        """A drained target, given by address or label, is not used until an undo; skipped turns are counted."""
        for name in (address(TWO), "broker-2"):
            upstreams = UpstreamTable()
            goal = DrainTarget("target", name)
            upstreams.drain(goal)
            upstreams.drain(goal)
            self.assertEqual([ONE], upstreams.usable("r", [ONE, TWO]))
            self.assertEqual([], upstreams.usable("r", [TWO]))
            self.assertEqual(1, upstreams.refused_count(goal))
            upstreams.undrain(goal)
            self.assertEqual([ONE, TWO], upstreams.usable("r", [ONE, TWO]))
            self.assertEqual(0, upstreams.refused_count(goal))

    def test_drained_route(self) -> None:
        """A drained route has no target; other routes still use its targets."""
        upstreams = UpstreamTable()
        goal = DrainTarget("route", "a.test")
        upstreams.drain(goal)
        self.assertEqual([], upstreams.usable("a.test", [ONE, TWO]))
        self.assertEqual([ONE, TWO], upstreams.usable("b.test", [ONE, TWO]))
        self.assertEqual(1, upstreams.refused_count(goal))

    def test_goal(self) -> None:
        """A drain selects connections by route or by target; a connection with neither is not selected."""
        self.assertTrue(DrainTarget("route", "a.test").has("a.test", None))
        self.assertFalse(DrainTarget("route", "a.test").has(None, ONE))
        self.assertTrue(DrainTarget("target", "10.0.0.1:6651").has(None, ONE))
        self.assertFalse(DrainTarget("target", "").has(None, None))
        self.assertEqual("target 10.0.0.1:6651", str(DrainTarget("target", "10.0.0.1:6651")))


class DescribeTests(SynchronousTestCase):
    """The state of a target, for people."""

    def setUp(self) -> None:
        self.upstreams = UpstreamTable()
        self.key = address(ONE)

    def track(self, health: Health) -> None:
        self.upstreams.reconfigure(health, [(ONE, None)])

    def test_unchecked(self) -> None:
        """Without checks and ejection, and until the first check, nothing is known but the last connect."""
        unknown = TargetState("unchecked", None, None, "")
        self.assertEqual(unknown, self.upstreams.describe(self.key, 5.0))
        self.upstreams.add_connection(ONE)
        self.upstreams.record_failure(ONE, "refused", 5.0, "refused")
        self.assertEqual(unknown._replace(why="refused"), self.upstreams.describe(self.key, 5.0))
        self.assertEqual(1, self.upstreams.stats.find(ONE).failures["refused"])
        self.track(Health("tcp"))
        self.assertEqual(unknown._replace(why="refused"), self.upstreams.describe(self.key, 5.0))
        self.upstreams.record_success(ONE, 0.5, 6.0)
        self.assertEqual(unknown, self.upstreams.describe(self.key, 6.0))
        self.assertEqual((0.5, 6.0), (self.upstreams.stats.find(ONE).connect_s, self.upstreams.stats.find(ONE).seen))

    def test_checked(self) -> None:
        """The first check begins a state, and each change; a reload without checks ends it."""
        self.track(Health("tcp", fall=1, rise=1))
        known = self.upstreams.known[self.key]
        for now, why in ((1.0, ""), (2.0, ""), (3.0, "no"), (4.0, "no"), (5.0, "")):
            self.upstreams.record_check(known, why, now)
            since = {2.0: 1.0, 4.0: 3.0}.get(now, now)
            expected = TargetState("down" if why else "up", since, now, why)
            self.assertEqual(expected, self.upstreams.describe(self.key, now))
        self.upstreams.record_success(ONE, 0.0, 6.0)
        self.track(Health(eject=9.0))
        self.assertEqual(TargetState("up", None, None, ""), self.upstreams.describe(self.key, 6.0))

    def test_ejected(self) -> None:
        """An ejection begins at the last failure, and ends with its time or with a connect."""
        self.track(Health(eject=30.0, fall=1))
        self.upstreams.record_failure(ONE, "refused", 5.0)
        self.assertEqual(TargetState("ejected", 5.0, None, "refused"), self.upstreams.describe(self.key, 6.0))
        self.assertEqual(TargetState("up", 35.0, None, "refused"), self.upstreams.describe(self.key, 40.0))
        self.upstreams.record_success(ONE, 0.0, 20.0)
        self.assertEqual(TargetState("up", 20.0, None, ""), self.upstreams.describe(self.key, 40.0))

    def test_names(self) -> None:
        """The names and routes of a resolver's answer are remembered."""
        self.upstreams.record_answer([ONE], "a.test", 1.0, route="*.test")
        stats = self.upstreams.stats.known[self.key]
        self.assertEqual((["a.test"], ["*.test"]), (list(stats.names), list(stats.routes)))


class HealthTests(SynchronousTestCase):
    """The order of targets."""

    def upstreams(self, health: Health) -> UpstreamTable:
        upstreams = UpstreamTable()
        upstreams.reconfigure(health, [(ONE, "one.test"), (TWO, None)])
        return upstreams

    def test_new_addresses(self) -> None:
        """A resolver's target is checked at its latest addresses."""
        upstreams = UpstreamTable()
        upstreams.reconfigure(Health(check="connect"), [])
        for found in ("10.0.0.1", "10.0.0.2"):
            upstreams.record_answer([Target("a.test", 6651, addresses=(found,))], "a.test", 0.0)
            self.assertEqual((found,), upstreams.known["a.test:6651"].target.addresses)

    def test_least(self) -> None:
        """The target with the fewest connections per weight is first; backups are last; ties take turns."""
        upstreams = UpstreamTable()
        heavy, spare = Target("10.0.0.3", 1, weight=3), Target("10.0.0.4", 1, weight=0)
        self.assertEqual([TWO, ONE], upstreams.order([TWO, ONE], True, 0.0))
        for _ in range(2):
            upstreams.add_connection(heavy)
        upstreams.add_connection(ONE)
        self.assertEqual([TWO, heavy, ONE, spare], upstreams.order([spare, ONE, heavy, TWO], True, 0.0))
        self.assertEqual([spare, ONE, heavy, TWO], upstreams.order([spare, ONE, heavy, TWO], False, 0.0))

    def test_ejected(self) -> None:
        """After `fall` failures in a row a target is last for `eject` seconds; then one failure ejects it again."""
        upstreams = self.upstreams(Health(fall=2, eject=30.0))
        self.assertFalse(upstreams.record_failure(ONE, "refused", 0.0))
        upstreams.record_success(ONE, 0.001, 1.0)
        self.assertFalse(upstreams.record_failure(ONE, "refused", 0.0))
        self.assertTrue(upstreams.record_failure(ONE, "refused", 0.0))
        self.assertEqual([TWO, ONE], upstreams.order([ONE, TWO], False, 29.0))
        self.assertFalse(upstreams.record_failure(ONE, "refused", 29.0))
        self.assertEqual("ejected", upstreams.state(ONE, 29.0))
        self.assertEqual([ONE, TWO], upstreams.order([ONE, TWO], False, 30.0))
        self.assertTrue(upstreams.record_failure(ONE, "refused", 31.0))
        upstreams.record_success(ONE, 0.001, 1.0)
        self.assertEqual("up", upstreams.state(ONE, 32.0))

    def test_off(self) -> None:
        """By default nothing is remembered."""
        upstreams = UpstreamTable()
        upstreams.record_answer([ONE], "a.test", 0.0)
        for _ in range(9):
            self.assertFalse(upstreams.record_failure(ONE, "refused", 0.0))
        self.assertEqual(({}, "up"), (upstreams.known, upstreams.state(ONE, 0.0)))

    def test_known(self) -> None:
        """Targets of resolvers are tracked until long after their last answer; client-formed ones are not."""
        upstreams = self.upstreams(Health(check="tcp"))
        three, formed = Target("10.0.0.3", 1), Target("10.0.0.4", 1, client_formed=True)
        upstreams.record_answer([ONE, three, formed], "c.test", 5.0)
        self.assertEqual([address(ONE), address(TWO), address(three)], list(upstreams.known))
        self.assertEqual("c.test", upstreams.known[address(three)].server_name)
        upstreams.forget(5.0 + FORGET_S)
        self.assertIn(address(three), upstreams.known)
        upstreams.forget(6.0 + FORGET_S)
        self.assertEqual([address(ONE), address(TWO)], list(upstreams.known))

    def test_first_check(self) -> None:
        """The first check of a target decides alone; later ones are counted."""
        upstreams = self.upstreams(Health(check="tcp", rise=2, fall=2))
        one, two = upstreams.known[address(ONE)], upstreams.known[address(TWO)]
        self.assertEqual(
            (True, False), (upstreams.record_check(one, "refused", 7.0), upstreams.record_check(two, "", 7.0))
        )
        self.assertEqual([TWO, ONE], upstreams.order([ONE, TWO], False, 0.0))
        self.assertEqual([False, True], [upstreams.record_check(two, "refused", 7.0) for _ in range(2)])
        self.assertEqual([False, True], [upstreams.record_check(one, "", 7.0) for _ in range(2)])
        self.assertEqual(["up", "down"], [upstreams.state(target, 0.0) for target in (ONE, TWO)])
        upstreams.reconfigure(Health(eject=1.0), [(ONE, None)])
        upstreams.reconfigure(Health(check="tcp", fall=2), [(ONE, None)])
        self.assertTrue(upstreams.record_check(one, "refused", 7.0), "it was not checked meanwhile")

    def test_change(self) -> None:
        """A new configuration keeps the state of targets that it still names; without checks all are up."""
        upstreams = self.upstreams(Health(check="tcp", fall=1))
        self.assertTrue(upstreams.record_check(upstreams.known[address(ONE)], "refused", 7.0))
        upstreams.reconfigure(Health(check="tcp"), [(ONE, "other.test")])
        known = upstreams.known[address(ONE)]
        self.assertEqual((False, "other.test"), (known.up, known.server_name))
        self.assertNotIn(address(TWO), upstreams.known)
        upstreams.reconfigure(Health(eject=1.0), [(ONE, None)])
        self.assertTrue(upstreams.known[address(ONE)].up)
