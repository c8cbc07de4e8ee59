"""Tests for sniproxy.resolvers.kubernetes.tlsroutes."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Refused, Unavailable
from sniproxy.resolvers.kubernetes.backends import Cluster
from sniproxy.resolvers.kubernetes.gatewayobjects import Gateway, TLSRoute
from sniproxy.resolvers.kubernetes.objects import EndpointSlice, Service
from sniproxy.resolvers.kubernetes.tlsroutes import RouteTable
from tests.support.gatewayapi import Object, gateway, listener, route, service, typed
from tests.support.kubernetesapi import endpoint_slice, pod


def cluster(**addresses: str) -> Cluster:
    """A cluster with a Service of one pod for each name."""
    services, slices = {}, []
    for name, address in addresses.items():
        services["pulsar", name] = typed(service(name), Service)
        found = endpoint_slice(f"{name}-x", pod(f"{name}-0", address), **{"kubernetes.io/service-name": name})
        found["metadata"]["namespace"] = "pulsar"
        slices.append(typed(found, EndpointSlice))
    return Cluster(services, slices, ())


def to(name: str, weight: int = 1) -> Object:
    """A backendRef."""
    return {"name": name, "port": 443, "weight": weight}


class TableTests(SynchronousTestCase):
    """Names of routes."""

    def setUp(self) -> None:
        self.cluster = cluster(one="10.0.0.1", two="10.0.0.2")
        self.draws: list[float] = []

    def table(self, gate: Object | None, *routes: Object, sections: Any = ()) -> RouteTable:
        found = None if gate is None else typed(gate, Gateway)
        documents = [typed(one, TLSRoute) for one in routes]
        return RouteTable("Gateway a/gw", found, documents, self.cluster, sections, None, lambda: self.draws.pop(0))

    def hosts(self, table: RouteTable, name: str | None) -> list[str]:
        return [target.host for target in table.resolution(name).targets]

    def test_names(self) -> None:
        """Each hostname leads to its backends; other names are refused, with those that exist."""
        table = self.table(
            gateway(), route("a", "a.test", backends=[to("one")]), route("b", "*.b.test", backends=[to("two")])
        )
        self.assertEqual(["10.0.0.1"], self.hosts(table, "a.test"))
        self.assertEqual(["10.0.0.2"], self.hosts(table, "x.y.b.test"))
        self.assertIsNone(table.resolution("a.test").ttl)
        self.assertTrue(table.knows("a.test"))
        for name in ("b.test", "c.test", None):
            self.assertFalse(table.knows(name))
            error = self.assertRaises(Refused, table.resolution, name)
            self.assertIn("known: *.b.test, a.test", error.reason)
        self.assertIn("known: none", str(self.assertRaises(Refused, self.table(gateway()).resolution, "a.test")))

    def test_precedence(self) -> None:
        """The most specific hostname counts."""
        table = self.table(
            gateway(),
            route("a", "*.test", backends=[to("one")]),
            route("b", "b.a.test", backends=[to("two")]),
            route("c", "*.a.test", backends=[to("gone")]),
        )
        self.assertEqual(["10.0.0.2"], self.hosts(table, "b.a.test"))
        self.assertEqual(["10.0.0.1"], self.hosts(table, "x.test"))
        self.assertRaises(Unavailable, table.resolution, "c.a.test")

    def test_same_hostname(self) -> None:
        """Of two routes with one hostname the older one counts, then the first by name, in whatever order they come."""
        old = route("z", "a.test", backends=[to("one")], creationTimestamp="2026-01-01T00:00:00Z")
        new = route("b", "a.test", backends=[to("two")], creationTimestamp="2026-02-01T00:00:00Z")
        twin = route("a", "a.test", backends=[to("two")], creationTimestamp="2026-01-01T00:00:00Z")
        for routes, host in (([old, new], "10.0.0.1"), ([new, old], "10.0.0.1"), ([old, twin, new], "10.0.0.2")):
            self.assertEqual([host], self.hosts(self.table(gateway(), *routes), "a.test"))

    def test_listener_isolation(self) -> None:
        """On one port, only the most specific listener counts; another port has its own."""
        wide = route("a", "x.test", backends=[to("one")], parents=[{"name": "gw", "sectionName": "wide"}])
        one_port = gateway(listener("wide", "*.test"), listener("narrow", "x.test"))
        self.assertRaises(Refused, self.table(one_port, wide).resolution, "x.test")
        two_ports = gateway(listener("wide", "*.test"), listener("narrow", "x.test", port=8443))
        self.assertEqual(["10.0.0.1"], self.hosts(self.table(two_ports, wide), "x.test"))
        below = gateway(listener("wide", "*.test"), listener("narrow", "*.a.test"))
        wider = route("a", "*.test", backends=[to("one")], parents=[{"name": "gw", "sectionName": "wide"}])
        self.assertRaises(Refused, self.table(below, wider).resolution, "b.a.test")
        self.assertEqual(["10.0.0.1"], self.hosts(self.table(below, wider), "b.test"))
        narrow = route("b", "*.test", backends=[to("two")], parents=[{"name": "gw", "sectionName": "narrow"}])
        self.assertEqual(["10.0.0.2"], self.hosts(self.table(one_port, wide, narrow), "x.test"))
        # The names of both ports are served; between them the older route of the same hostname counts.
        self.assertEqual(["10.0.0.1"], self.hosts(self.table(two_ports, wide, narrow), "x.test"))

    def test_sections(self) -> None:
        """Only the chosen listeners are served; the status is about all."""
        gate = gateway(listener("in", port=6651), listener("out"))
        inside = route("a", "a.test", backends=[to("one")], parents=[{"name": "gw", "sectionName": "in"}])
        table = self.table(gate, inside, sections=("out", "none"))
        self.assertRaises(Refused, table.resolution, "a.test")
        self.assertTrue(table.results["pulsar", "a"][0].accepted.good)
        self.assertIn("Gateway a/gw has no listener none", table.notes)
        self.assertEqual(["10.0.0.1"], self.hosts(self.table(gate, inside, sections=("in",)), "a.test"))

    def test_not_served(self) -> None:
        """A name of a listener that is not served is refused, also if a wildcard of the same port has it."""
        wide, own = listener("wide", "*.example.com"), "secure.example.com"
        routes = [
            route("a", "*.example.com", own, backends=[to("one")], parents=[{"name": "gw", "sectionName": "wide"}])
        ]
        for other, sections in (
            (listener("own", own, mode="Terminate"), ()),
            (listener("own", own, mode="Terminate", protocol="HTTPS"), ()),
            (listener("own", own), ("wide",)),
            (listener("own", own), ()),  # served, without a route
        ):
            table = self.table(gateway(wide, other), *routes, sections=sections)
            self.assertRaises(Refused, table.resolution, own)
            self.assertEqual(["10.0.0.1"], self.hosts(table, "a.example.com"))
            changed = gateway(wide, {**other, "hostname": "b.example.com"})
            self.assertNotEqual(table, self.table(changed, *routes, sections=sections))
        for other in (
            listener("own", own, mode="Terminate", port=8443),
            listener("own", own, mode=None, protocol="HTTP"),
            listener("own", "*.com", mode="Terminate"),
            listener("own", "*.example.com", mode="Terminate", protocol="HTTPS"),
        ):
            self.assertEqual(["10.0.0.1"], self.hosts(self.table(gateway(wide, other), *routes), own))

    def test_no_hostnames(self) -> None:
        """A route without hostnames gets the names of its listener that no other route has."""
        every = route("a", backends=[to("one")], creationTimestamp="2020-01-01T00:00:00Z")
        del every["spec"]["hostnames"]
        two = route("b", "*.b.test", backends=[to("two")])
        table = self.table(gateway(), every, two)
        self.assertEqual(["10.0.0.1"], self.hosts(table, "x.test"))
        self.assertEqual(["10.0.0.2"], self.hosts(table, "a.b.test"))
        self.assertRaises(Refused, table.resolution, None)
        self.assertEqual("TLSRoute pulsar/a: Service pulsar/one, 1 endpoint", table.described["*"])
        table = self.table(gateway(listener(hostname="*.b.test")), every)
        self.assertEqual(["10.0.0.1"], self.hosts(table, "a.b.test"))
        self.assertRaises(Refused, table.resolution, "x.test")

    def test_weights(self) -> None:
        """Backends take connections by their weights, one at a time; such answers are not cached."""
        table = self.table(gateway(), route("a", "a.test", backends=[to("one", 1), to("two", 3)]))
        self.draws = [0.0, 0.24, 0.26, 0.99]
        found = [self.hosts(table, "a.test")[0] for _ in range(4)]
        self.assertEqual(["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2"], found)
        self.draws = [0.0, 1.0]
        self.assertEqual(0, table.resolution("a.test").ttl)
        self.assertEqual(["10.0.0.2"], self.hosts(table, "a.test"))

    def test_invalid_share(self) -> None:
        """The share of an invalid backend is closed, as the Gateway API demands."""
        table = self.table(gateway(), route("a", "a.test", backends=[to("one", 1), to("gone", 4)]))
        self.draws = [0.1, 0.3]
        self.assertEqual(["10.0.0.1"], self.hosts(table, "a.test"))
        self.assertIn("pulsar/gone: not found", str(self.assertRaises(Unavailable, table.resolution, "a.test")))

    def test_no_backend(self) -> None:
        """A route whose backends all have the weight 0."""
        table = self.table(gateway(), route("a", "a.test", backends=[to("one", 0)]))
        self.assertIn("no backend", str(self.assertRaises(Unavailable, table.resolution, "a.test")))

    def test_no_gateway(self) -> None:
        """Without the Gateway nothing is refused for good."""
        table = self.table(None, route())
        self.assertIn("does not exist", str(self.assertRaises(Unavailable, table.resolution, "a.test")))
        self.assertEqual((("Gateway a/gw does not exist",), {}), (table.notes, table.results))
        self.assertEqual(table.notes, table.problems)

    def test_away(self) -> None:
        """That a route, its backend or the Gateway has no target now is an answer, not a failure."""
        for table in (
            self.table(gateway(), route("a", "a.test", backends=[to("gone")])),
            self.table(gateway(), route("a", "a.test", backends=[to("one", 0)])),
            self.table(None, route("a", "a.test")),
        ):
            self.assertTrue(self.assertRaises(Unavailable, table.resolution, "a.test").authoritative)

    def test_results(self) -> None:
        """Each parentRef of our Gateway has a result; routes of others have none."""
        parents = [{"name": "gw", "sectionName": "x"}, {"name": "other"}, {"name": "gw"}]
        other = route("b", parents=[{"name": "other"}])
        table = self.table(gateway(), route("a", "a.test", backends=[to("gone")], parents=parents), other)
        results = table.results["pulsar", "a"]
        self.assertEqual([False, True], [one.accepted.good for one in results])
        self.assertEqual([("pulsar", "a")], list(table.results))
        self.assertEqual("1 TLSRoute, 1 with unresolved backends", table.summary)
        self.assertEqual(2, len(table.notes))
        refused = self.table(gateway(listener(hostname="b.test")), route("a", "a.test", backends=[to("one")]))
        self.assertEqual("1 TLSRoute, 1 not accepted", refused.summary)
        self.assertEqual(((), 1), (refused.problems, len(refused.notes)))
        self.assertIn("TLSRoute pulsar/a: NoMatchingListenerHostname: ", refused.described["a.test"])

    def test_listener_notes(self) -> None:
        """Listeners that are not served are noted; one with an invalid hostname has no names."""
        gate = gateway(listener("http", protocol="HTTP"), listener("bad", "10.0.0.1"), listener("tls"))
        table = self.table(gate, route("a", "a.test", backends=[to("one")]))
        self.assertEqual(
            ("Gateway a/gw: listener http is not TLS with mode Passthrough, and is not served",), table.notes
        )
        self.assertEqual(["10.0.0.1"], self.hosts(table, "a.test"))

    def test_described(self) -> None:
        """What each hostname is, and what changes."""
        before = self.table(gateway(), route("a", "a.test", "b.test", backends=[to("one")]))
        self.assertEqual("TLSRoute pulsar/a: Service pulsar/one, 1 endpoint", before.described["a.test"])
        after = self.table(gateway(), route("a", "a.test", "c.test", backends=[to("one"), to("two")]))
        self.assertEqual("; c.test added; b.test removed; a.test changed", after.changes(before))
        self.assertEqual("; a.test, b.test added", before.changes(None))
        self.assertEqual([], list(before.names()))
        self.assertNotEqual(before, after)
        self.assertEqual(before, self.table(gateway(), route("a", "a.test", "b.test", backends=[to("one")])))
