"""Tests for sniproxy.migrate.tlsroute.attachment."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import ANY, Notes, SourceFile
from sniproxy.migrate.tlsroute.attachment import Attached, attach, covers, intersection
from sniproxy.migrate.tlsroute.manifests import load
from tests.support.envoyconfig import notes
from tests.support.manifests import as_yaml, core, gateway, manifest, section, tls_route


class PatternTests(SynchronousTestCase):
    """Hostnames of listeners and routes."""

    def test_covers(self) -> None:
        """A wildcard has the names below it, at any depth, and narrower wildcards."""
        for general, special, expected in (
            (ANY, "a.test", True), (ANY, ANY, True), ("a.test", ANY, False), ("*.test", ANY, False),
            ("*.test", "a.test", True), ("*.test", "b.a.test", True), ("*.test", "test", False),
            ("*.test", "*.a.test", True),
            ("*.a.test", "*.test", False), ("*.test", "*.test", True), ("a.test", "b.a.test", False),
            ("*.a.test", "ba.test", False),
        ):  # fmt: skip
            self.assertEqual(expected, covers(general, special), (general, special))

    def test_intersection(self) -> None:
        """The narrower pattern, if the other has its names."""
        for one, other, expected in (
            ("*.test", "a.test", "a.test"), ("a.test", "*.test", "a.test"), (ANY, "*.test", "*.test"),
            ("a.test", "b.test", None),
            ("*.a.test", "*.b.test", None),
        ):  # fmt: skip
            self.assertEqual(expected, intersection(one, other))


class AttachCase(SynchronousTestCase):
    """Manifests with a route."""

    def setUp(self) -> None:
        self.report = Notes()

    def attached(self, *objects: dict[str, Any]) -> list[tuple[str, list[str]]]:
        """The listeners and patterns of a route for C{a.test} in the namespace C{default}."""
        manifests = load([SourceFile("x.yaml", as_yaml(*objects))], self.report)
        return [(name(one), list(one.patterns)) for one in attach(manifests, self.report)[1]]


class AttachTests(AttachCase):
    """Routes at listeners."""

    def test_parents(self) -> None:
        """By name, namespace, section and port."""
        route = tls_route("r", "one", "A.test", "*.b.test")
        gateways = [gateway(section("x"), section("y", port=8443)), gateway(section("z"), namespace="other")]
        for parent, expected in (
            ({"name": "gw"}, ["x", "y"]),
            ({"name": "gw", "sectionName": "y"}, ["y"]),
            ({"name": "gw", "port": 443}, ["x"]),
            ({"name": "gw", "sectionName": "y", "port": 443}, []),
            ({"name": "gw", "namespace": "elsewhere"}, ["(all)"]),
            ({"name": "gw", "kind": "Gateway", "group": "gateway.networking.k8s.io"}, ["x", "y"]),
        ):
            route["spec"]["parentRefs"] = [parent]
            found = self.attached(route, *gateways)
            self.assertEqual(expected, [listener for listener, _ in found])
            self.assertTrue(all(patterns == ["a.test", "*.b.test"] for _, patterns in found))

    def test_other_parents(self) -> None:
        """Only Gateways are read."""
        for parent in ({"name": "s", "kind": "Service", "group": ""}, {"name": "gw", "group": "x.example"}):
            self.report.notes.clear()
            self.assertEqual(
                [], self.attached(tls_route("r", "one", "a.test", parentRefs=[parent]), gateway(section("x")))
            )
            self.assertIn("only Gateways are read", notes(self.report, True))

    def test_listeners(self) -> None:
        """A listener without a port is reported; one for TCP is none of ours."""
        sections = [section("x", port=0), section("y", port=70000), section("z", protocol="TCP")]
        self.assertEqual([], self.attached(tls_route("r", "one", "a.test"), gateway(*sections)))
        self.assertEqual(2, notes(self.report, True).count("without a port"))
        self.assertIn("a listener for TCP", notes(self.report, False))

    def test_kinds(self) -> None:
        """The listener allows kinds of routes."""
        for kinds, expected in (
            ([{"kind": "TLSRoute"}], 1), ([{"kind": "TLSRoute", "group": "gateway.networking.k8s.io"}], 1), ([], 1),
            ([{"kind": "TCPRoute"}], 0), ([{"kind": "TLSRoute", "group": "x"}], 0),
        ):  # fmt: skip
            one = section("x", allowedRoutes={"kinds": kinds})
            self.assertEqual(expected, len(self.attached(tls_route("r", "one", "a.test"), gateway(one))))

    def test_namespaces(self) -> None:
        """The same namespace, all, none, or by labels."""
        parent = [{"name": "gw", "namespace": "infra"}]
        route = tls_route("r", "one", "a.test", parentRefs=parent)
        wanted = {"matchLabels": {"tier": "pulsar"}}
        for namespaces, labels, expected in (
            ({}, {}, 0), ({"from": "Same"}, {}, 0), ({"from": "All"}, {}, 1), ({"from": "None"}, {}, 0),
            ({"from": "Selector", "selector": wanted}, {"tier": "pulsar"}, 1),
            ({"from": "Selector", "selector": wanted}, {"tier": "other"}, 0), ({"from": "Selector"}, {}, 1),
        ):  # fmt: skip
            self.report.notes.clear()
            one = gateway(section("x", allowedRoutes={"namespaces": namespaces}), namespace="infra")
            found = self.attached(route, one, core("Namespace", "default", labels=labels))
            self.assertEqual(expected, len(found), namespaces)
            self.assertEqual("", notes(self.report, True))

    def test_selectors_that_are_unclear(self) -> None:
        """The route is allowed, and that is reported."""
        route = tls_route("r", "one", "a.test")
        for selector, others in (
            ({"matchLabels": {"a": "b"}}, []),
            ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, [core("Namespace", "default")]),
        ):
            self.report.notes.clear()
            one = section("x", allowedRoutes={"namespaces": {"from": "Selector", "selector": selector}})
            self.assertEqual(1, len(self.attached(route, gateway(one), *others)))
            self.assertIn("allowed", notes(self.report, True))


class ListenerSetTests(AttachCase):
    """Listeners beside their Gateway."""

    def sets(self, *others: dict[str, Any], kind: str = "ListenerSet") -> list[str]:
        """The listeners that a route gets from a ListenerSet."""
        spec = {"parentRef": {"name": "gw"}, "listeners": [section("x", port=8443)]}
        route = tls_route("r", "one", "a.test", parentRefs=[{"name": "set", "kind": kind}])
        return [one for one, _ in self.attached(route, manifest(kind, "set", spec), *others)]

    def test_allowed(self) -> None:
        """The Gateway says from which namespaces; without that, from none."""
        wanted = {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}
        for namespaces, expected in (
            ({"from": "Same"}, ["x"]), ({"from": "All"}, ["x"]), ({}, []), ({"from": "None"}, []), (wanted, ["x"]),
        ):  # fmt: skip
            self.report.notes.clear()
            own = gateway(section("y"), allowedListeners={"namespaces": namespaces})
            namespace = core("Namespace", "default", labels={"a": "b"})
            self.assertEqual(expected, self.sets(own, namespace), namespaces)
            self.assertEqual(not expected, "allowedListeners of Gateway default/gw" in notes(self.report, False))

    def test_without_its_gateway(self) -> None:
        """Its listeners are taken, and that is reported. The experimental kind is the same."""
        self.assertEqual(["x"], self.sets(kind="XListenerSet"))
        self.assertIn("its Gateway is in no file", notes(self.report, False))


def name(attached: Attached) -> str:
    """The name of the listener."""
    return "(all)" if attached.section is None else attached.section.name
