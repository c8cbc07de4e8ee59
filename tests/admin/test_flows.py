"""Tests for sniproxy.admin.flows."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.flows import BATCH, MAX_NODES, flows_steps
from sniproxy.admin.slices import finish
from tests.admin.sample import NOW, SampleLive, connection


def live(client: str, route: str | None, target: str | None, listener: str = "public") -> SampleLive:
    return SampleLive(connection(client=client, route=route, target=target, listener=listener))


def flows(connections: list[SampleLive]) -> dict[str, Any]:
    return finish(flows_steps(connections, NOW))


class FlowsTests(SynchronousTestCase):
    """flows_steps."""

    def test_counts(self) -> None:
        """Connections are counted by client address without its port, by route and by target."""
        one, other = "192.0.2.1", "[2001:db8::1]"
        ways = [(f"{one}:5", "a", "t1:6651"), (f"{one}:6", "a", "t2:6651"), (f"{one}:7", "b", "t2:6651")]
        found = flows([live(*way) for way in (*ways, (f"{other}:5", "a", "t1:6651"))])
        self.assertEqual((NOW, 4, 2), (found["time"], found["connections"], found["client_count"]))
        wanted = [{"client": one, "connections": 3}, {"client": other, "connections": 1}]
        self.assertEqual(wanted, found["clients"])
        first = {(each["client"], each["route"]): each["connections"] for each in found["client_routes"]}
        self.assertEqual({(one, "a"): 2, (one, "b"): 1, (other, "a"): 1}, first)
        second = {(each["route"], each["target"]): each["connections"] for each in found["route_targets"]}
        self.assertEqual({("a", "t1:6651"): 2, ("a", "t2:6651"): 1, ("b", "t2:6651"): 1}, second)

    def test_listeners(self) -> None:
        """Connections are counted by client and listener, and by listener and route."""
        found = flows([live("192.0.2.1:5", "a", "t:1"), live("192.0.2.1:6", "a", "t:1", "certified")])
        both = [("public", 1), ("certified", 1)]
        self.assertEqual(
            [{"client": "192.0.2.1", "listener": name, "connections": number} for name, number in both],
            found["client_listeners"],
        )
        self.assertEqual(
            [{"listener": name, "route": "a", "connections": number} for name, number in both], found["listener_routes"]
        )
        self.assertEqual([{"client": "192.0.2.1", "route": "a", "connections": 2}], found["client_routes"])

    def test_opening(self) -> None:
        """Connections without a route or a target are not counted."""
        found = flows([live("192.0.2.1:5", None, None), live("192.0.2.1:6", "a", None)])
        self.assertEqual((0, 0), (found["connections"], found["client_count"]))
        lists = ("clients", "client_routes", "client_listeners", "listener_routes", "route_targets")
        self.assertEqual([[]] * 5, [found[key] for key in lists])

    def test_folded(self) -> None:
        """Beyond the busiest clients, routes and targets, the others are null, and no connection is lost."""
        connections = [live(f"192.0.2.{n}:1", f"r{n}", f"t{n}:1") for n in range(MAX_NODES + 5)] * 2
        connections += [live(f"192.0.2.{n}:2", f"r{n}", f"t{n}:1") for n in range(5, MAX_NODES + 5)]
        found = flows(connections)
        self.assertEqual(MAX_NODES, len(found["clients"]))
        self.assertEqual(MAX_NODES + 5, found["client_count"])
        for key, ends in (("client_routes", ("client", "route")), ("route_targets", ("route", "target"))):
            self.assertEqual(len(connections), sum(one["connections"] for one in found[key]))
            others = [one["connections"] for one in found[key] if all(one[end] is None for end in ends)]
            self.assertEqual([10], others)

    def test_steps(self) -> None:
        """Many connections are counted in steps."""
        connections = [live(f"192.0.2.1:{n}", f"r{n}", "t:1") for n in range(3 * BATCH)]
        self.assertEqual(3 * 3 + 1, len(list(flows_steps(connections, NOW))))
