"""Tests for sniproxy.net.dialplan: which routes have a plan, and how long it holds."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Resolution, Target
from sniproxy.net.dialplan import plan_of
from sniproxy.net.veto import DestinationVeto, LoopGuard
from sniproxy.resolvers.static import StaticResolver
from sniproxy.routing.router import DialPlan, LiveRoute

TARGET = Target("10.0.0.7", 6651)


def route(*targets: str | Target) -> LiveRoute:
    """A route with these targets."""
    if targets and isinstance(targets[0], Target):
        found: Any = list(targets)
        return LiveRoute("a.test", None, StaticResolver([]), fixed=lambda: Resolution(found))
    texts: Any = targets
    resolver = StaticResolver(texts)
    return LiveRoute("a.test", None, resolver, fixed=resolver.fixed)


class PlanTests(SynchronousTestCase):
    """plan_of."""

    def setUp(self) -> None:
        self.asked: list[tuple[Target, str | None]] = []
        self.guard = LoopGuard([("127.0.0.1", 4443)])

    def veto(self, target: Target, address: str | None) -> str | None:
        """Ask the guard, and keep the question."""
        self.asked.append((target, address))
        return DestinationVeto(self.guard).denies(target, address)

    def plan(self, planned: LiveRoute) -> DialPlan | None:
        """The plan of a route."""
        return plan_of(planned, self.veto, self.guard)

    def test_made_once(self) -> None:
        """One target that is an IP address: the veto is asked before its lookup and for the address, once."""
        planned = route("10.0.0.7:6651")
        for _ in range(2):
            self.assertEqual(
                DialPlan((TARGET,), "10.0.0.7:6651", "10.0.0.7:6651", "10.0.0.7", 6651), self.plan(planned)
            )
        self.assertEqual([(TARGET, None), (TARGET, "10.0.0.7")], self.asked)

    def test_ipv6(self) -> None:
        """The key and the text have brackets, the address has none."""
        plan = self.plan(route("[2001:db8::7]:6651"))
        self.assertEqual(
            DialPlan((Target("2001:db8::7", 6651),), "[2001:db8::7]:6651", "[2001:db8::7]:6651", "2001:db8::7", 6651),
            plan,
        )

    def test_label(self) -> None:
        """The record has the label of a target, and its key has none."""
        plan = self.plan(route(Target("10.0.0.7", 6651, label="broker-7")))
        assert plan is not None
        self.assertEqual(("broker-7", "10.0.0.7:6651"), (plan.text, plan.key))

    def test_none(self) -> None:
        """No plan: names, several targets, placeholders, targets that clients form, other resolvers."""
        unplanned = (
            route("broker-1.pulsar.test:6651"),
            route("10.0.0.7:6651", "10.0.0.8:6651"),
            route("{server_name}:6651"),
            route(Target("10.0.0.7", 6651, client_formed=True)),
            route(Target("10.0.0.7", 6651, addresses=("10.0.0.8",))),
            LiveRoute("a.test", None, StaticResolver([])),
        )
        for one in unplanned:
            for _ in range(2):
                self.assertIsNone(self.plan(one))
        self.assertEqual([], self.asked)

    def test_denied(self) -> None:
        """A denied target has no plan, so each connection learns the reason."""
        self.assertIsNone(self.plan(route("127.0.0.1:4443")))
        self.assertIsNotNone(self.plan(route("127.0.0.1:4444")))

    def test_listeners_change(self) -> None:
        """A plan holds until the listeners change: then the target may be one of them, or no longer."""
        planned = route("127.0.0.1:4444")
        self.assertIsNotNone(self.plan(planned))
        self.guard.change([("127.0.0.1", 4444)])
        self.assertIsNone(self.plan(planned))
        self.guard.change([])
        self.assertIsNotNone(self.plan(planned))
        self.guard.add("127.0.0.1", 4444)
        self.assertIsNone(self.plan(planned))

    def test_listener_on_all_addresses(self) -> None:
        """Where a listener has the target's port on all addresses, each connection is checked: the machine may get the
        target's address."""
        self.guard.change([("0.0.0.0", 6651)])
        self.assertIsNone(self.plan(route("10.0.0.7:6651")))
        self.assertIsNotNone(self.plan(route("10.0.0.7:6652")))
