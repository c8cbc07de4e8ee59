"""Tests for sniproxy.routing.standing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.routing.standing import Goal, Standing, address

ONE, TWO = Target("10.0.0.1", 6651), Target("10.0.0.2", 6651, label="broker-2")


class StandingTests(SynchronousTestCase):
    """What is known of targets."""

    def test_connections(self) -> None:
        """Connections are counted by host and port, whatever the label."""
        standing = Standing()
        standing.came(TWO)
        standing.came(Target("10.0.0.2", 6651))
        self.assertEqual((0, 2), (standing.connections(ONE), standing.connections(TWO)))
        standing.left(TWO)
        standing.left(TWO)
        self.assertEqual(0, standing.connections(TWO))
        self.assertEqual({}, dict(standing._connections))

    def test_drained(self) -> None:
        """A drained target, by address or label, is not used until that is undone; its lost turns are counted."""
        for name in (address(TWO), "broker-2"):
            standing = Standing()
            goal = Goal("target", name)
            standing.drain(goal)
            standing.drain(goal)
            self.assertEqual([ONE], standing.usable("r", [ONE, TWO]))
            self.assertEqual([], standing.usable("r", [TWO]))
            self.assertEqual(1, standing.refused(goal))
            standing.undrain(goal)
            self.assertEqual([ONE, TWO], standing.usable("r", [ONE, TWO]))
            self.assertEqual(0, standing.refused(goal))

    def test_drained_route(self) -> None:
        """A drained route has no target; another route with the same ones has them all."""
        standing = Standing()
        goal = Goal("route", "a.test")
        standing.drain(goal)
        self.assertEqual([], standing.usable("a.test", [ONE, TWO]))
        self.assertEqual([ONE, TWO], standing.usable("b.test", [ONE, TWO]))
        self.assertEqual(1, standing.refused(goal))

    def test_goal(self) -> None:
        """A goal has connections by their route, or by their target; one without either is not meant."""
        self.assertTrue(Goal("route", "a.test").has("a.test", None))
        self.assertFalse(Goal("route", "a.test").has(None, ONE))
        self.assertTrue(Goal("target", "10.0.0.1:6651").has(None, ONE))
        self.assertFalse(Goal("target", "").has(None, None))
        self.assertEqual("target 10.0.0.1:6651", str(Goal("target", "10.0.0.1:6651")))
