"""Tests for sniproxy.routing.upstreams."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.routing.health import Health
from sniproxy.routing.upstreams import FORGET_S, MAX_UPSTREAMS, DrainTarget, UpstreamTable, address

ONE, TWO = Target("10.0.0.1", 6651), Target("10.0.0.2", 6651, label="broker-2")


class StandingTests(SynchronousTestCase):
    """What is known of targets."""

    def test_connections(self) -> None:
        """Connections are counted by host and port, whatever the label."""
        standing = UpstreamTable()
        standing.add_connection(TWO)
        standing.add_connection(Target("10.0.0.2", 6651))
        self.assertEqual((0, 2), (standing.connections(ONE), standing.connections(TWO)))
        standing.remove_connection(TWO)
        standing.remove_connection(TWO)
        self.assertEqual(0, standing.connections(TWO))
        self.assertEqual({}, dict(standing._connections))

    def test_answered(self) -> None:
        """What resolvers answered with is remembered without health checks too, up to a bound."""
        standing = UpstreamTable()
        standing.record_answer([ONE, TWO], None, 0.0)
        standing.record_answer([ONE], None, 1.0)
        self.assertEqual([address(TWO), address(ONE)], list(standing.answered))
        for number in range(MAX_UPSTREAMS - 1):
            standing.record_answer([Target("10.1.0.1", number + 1)], None, 2.0)
        self.assertEqual((MAX_UPSTREAMS, False), (len(standing.answered), address(TWO) in standing.answered))
        self.assertEqual({}, standing.known)

    def test_drained(self) -> None:
        """A drained target, by address or label, is not used until that is undone; its lost turns are counted."""
        for name in (address(TWO), "broker-2"):
            standing = UpstreamTable()
            goal = DrainTarget("target", name)
            standing.drain(goal)
            standing.drain(goal)
            self.assertEqual([ONE], standing.usable("r", [ONE, TWO]))
            self.assertEqual([], standing.usable("r", [TWO]))
            self.assertEqual(1, standing.refused_count(goal))
            standing.undrain(goal)
            self.assertEqual([ONE, TWO], standing.usable("r", [ONE, TWO]))
            self.assertEqual(0, standing.refused_count(goal))

    def test_drained_route(self) -> None:
        """A drained route has no target; another route with the same ones has them all."""
        standing = UpstreamTable()
        goal = DrainTarget("route", "a.test")
        standing.drain(goal)
        self.assertEqual([], standing.usable("a.test", [ONE, TWO]))
        self.assertEqual([ONE, TWO], standing.usable("b.test", [ONE, TWO]))
        self.assertEqual(1, standing.refused_count(goal))

    def test_goal(self) -> None:
        """A goal has connections by their route, or by their target; one without either is not meant."""
        self.assertTrue(DrainTarget("route", "a.test").has("a.test", None))
        self.assertFalse(DrainTarget("route", "a.test").has(None, ONE))
        self.assertTrue(DrainTarget("target", "10.0.0.1:6651").has(None, ONE))
        self.assertFalse(DrainTarget("target", "").has(None, None))
        self.assertEqual("target 10.0.0.1:6651", str(DrainTarget("target", "10.0.0.1:6651")))


class HealthTests(SynchronousTestCase):
    """Which target comes first."""

    def standing(self, health: Health) -> UpstreamTable:
        standing = UpstreamTable()
        standing.reconfigure(health, [(ONE, "one.test"), (TWO, None)])
        return standing

    def test_new_addresses(self) -> None:
        """A resolver's target is checked at the addresses that it was last seen with."""
        standing = UpstreamTable()
        standing.reconfigure(Health(check="connect"), [])
        for found in ("10.0.0.1", "10.0.0.2"):
            standing.record_answer([Target("a.test", 6651, addresses=(found,))], "a.test", 0.0)
            self.assertEqual((found,), standing.known["a.test:6651"].target.addresses)

    def test_least(self) -> None:
        """The target with the fewest connections for its weight comes first; spare ones come last; ties take turns."""
        standing = UpstreamTable()
        heavy, spare = Target("10.0.0.3", 1, weight=3), Target("10.0.0.4", 1, weight=0)
        self.assertEqual([TWO, ONE], standing.order([TWO, ONE], True, 0.0))
        for _ in range(2):
            standing.add_connection(heavy)
        standing.add_connection(ONE)
        self.assertEqual([TWO, heavy, ONE, spare], standing.order([spare, ONE, heavy, TWO], True, 0.0))
        self.assertEqual([spare, ONE, heavy, TWO], standing.order([spare, ONE, heavy, TWO], False, 0.0))

    def test_ejected(self) -> None:
        """After `fall` failures in a row a target comes last for `eject` seconds; one more failure avoids it again."""
        standing = self.standing(Health(fall=2, eject=30.0))
        self.assertFalse(standing.record_failure(ONE, "refused", 0.0))
        standing.record_success(ONE)
        self.assertFalse(standing.record_failure(ONE, "refused", 0.0))
        self.assertTrue(standing.record_failure(ONE, "refused", 0.0))
        self.assertEqual([TWO, ONE], standing.order([ONE, TWO], False, 29.0))
        self.assertFalse(standing.record_failure(ONE, "refused", 29.0))
        self.assertEqual("ejected", standing.state(ONE, 29.0))
        self.assertEqual([ONE, TWO], standing.order([ONE, TWO], False, 30.0))
        self.assertTrue(standing.record_failure(ONE, "refused", 31.0))
        standing.record_success(ONE)
        self.assertEqual("up", standing.state(ONE, 32.0))

    def test_off(self) -> None:
        """Unless it is asked for, nothing is remembered."""
        standing = UpstreamTable()
        standing.record_answer([ONE], "a.test", 0.0)
        for _ in range(9):
            self.assertFalse(standing.record_failure(ONE, "refused", 0.0))
        self.assertEqual(({}, "up"), (standing.known, standing.state(ONE, 0.0)))

    def test_known(self) -> None:
        """Targets of resolvers are looked after from their first answer until long after the last; clients' never."""
        standing = self.standing(Health(check="tcp"))
        three, formed = Target("10.0.0.3", 1), Target("10.0.0.4", 1, client_formed=True)
        standing.record_answer([ONE, three, formed], "c.test", 5.0)
        self.assertEqual([address(ONE), address(TWO), address(three)], list(standing.known))
        self.assertEqual("c.test", standing.known[address(three)].server_name)
        standing.forget(5.0 + FORGET_S)
        self.assertIn(address(three), standing.known)
        standing.forget(6.0 + FORGET_S)
        self.assertEqual([address(ONE), address(TWO)], list(standing.known))

    def test_first_check(self) -> None:
        """The first check of a target decides alone: nothing has said before that it is up; later ones are counted."""
        standing = self.standing(Health(check="tcp", rise=2, fall=2))
        one, two = standing.known[address(ONE)], standing.known[address(TWO)]
        self.assertEqual((True, False), (standing.record_check(one, "refused"), standing.record_check(two, "")))
        self.assertEqual([TWO, ONE], standing.order([ONE, TWO], False, 0.0))
        self.assertEqual([False, True], [standing.record_check(two, "refused") for _ in range(2)])
        self.assertEqual([False, True], [standing.record_check(one, "") for _ in range(2)])
        self.assertEqual(["up", "down"], [standing.state(target, 0.0) for target in (ONE, TWO)])
        standing.reconfigure(Health(eject=1.0), [(ONE, None)])
        standing.reconfigure(Health(check="tcp", fall=2), [(ONE, None)])
        self.assertTrue(standing.record_check(one, "refused"), "it was not checked meanwhile")

    def test_change(self) -> None:
        """Another configuration keeps what is known of targets that it names, too; without checks all are up."""
        standing = self.standing(Health(check="tcp", fall=1))
        self.assertTrue(standing.record_check(standing.known[address(ONE)], "refused"))
        standing.reconfigure(Health(check="tcp"), [(ONE, "other.test")])
        known = standing.known[address(ONE)]
        self.assertEqual((False, "other.test"), (known.up, known.server_name))
        self.assertNotIn(address(TWO), standing.known)
        standing.reconfigure(Health(eject=1.0), [(ONE, None)])
        self.assertTrue(standing.known[address(ONE)].up)
