"""Tests for sniproxy.migrate.tlsroute, with the cases of Gateway API's conformance tests for TLSRoutes as tables."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Imported, MigrateError, SourceFile
from sniproxy.migrate.tlsroute import read
from tests.support.envoyconfig import notes
from tests.support.importedroutes import route_of, toml_of
from tests.support.manifests import as_yaml, gateway, section, tls_route

WORDS = ["kind", "apiVersion", "items", "metadata", "name", "namespace", "spec", "parentRefs", "hostnames", "rules",
         "backendRefs", "listeners", "port", "protocol", "tls", "mode", "weight", "from", "to"]  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers(-1, 99999) | st.sampled_from(
    ["TLSRoute", "Gateway", "a.test", "*.test", "TLS", "Passthrough", "gateway.networking.k8s.io/v1", "List"]
)  # fmt: skip
DOCUMENTS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


def imported(*objects: dict[str, Any]) -> Imported:
    """The import of manifests."""
    return read([SourceFile("routes.yaml", as_yaml(*objects))])


def leads(objects: list[dict[str, Any]], name: str | None, port: int = 443) -> str:
    """The first label of the target of a name; empty: refused."""
    toml, _ = toml_of(read, {"routes.yaml": as_yaml(*objects)})
    found = route_of(toml, name, f"gw-{port}")
    return found[0].partition(".")[0] if found else ""


class ConformanceTests(SynchronousTestCase):
    """The cases of the conformance tests."""

    def check(self, objects: list[dict[str, Any]], expected: dict[str, str]) -> None:
        for name, target in expected.items():
            self.assertEqual(target, leads(objects, name), name)

    def test_simple(self) -> None:
        """TLSRouteSimpleSameNamespace: the name of the route reaches the Service."""
        objects = [gateway(section("tls", "*.example.com")), tls_route("r", "one", "abc.example.com")]
        self.check(objects, {"abc.example.com": "one", "other.example.com": "", "abc.example.org": ""})
        self.assertEqual("", notes(imported(*objects).report, True))

    def test_intersection_with_an_exact_hostname(self) -> None:
        """TLSRouteHostnameIntersection: a wildcard of the route at an exact listener."""
        objects = [gateway(section("tls", "abc.example.com")), tls_route("r", "one", "*.example.com")]
        self.check(objects, {"abc.example.com": "one", "other.example.com": "", "non.matching.com": ""})

    def test_intersection_with_a_wildcard(self) -> None:
        """TLSRouteHostnameIntersection: exact and wider hostnames at a wildcard listener."""
        for listener, wider in (("*.example.com", "*.com"), ("*.com", "*.example.com")):
            objects = [
                gateway(section("tls", listener)),
                tls_route("r", "one", "abc.example.com"),
                tls_route("s", "two", wider),
            ]
            expected = {"abc.example.com": "one", "other.example.com": "two", "a.b.example.com": "two"}
            self.check(objects, {**expected, "non.matching.com": "", "example.com": "", "non.matching.org": ""})

    def test_intersection_without_a_hostname(self) -> None:
        """TLSRouteHostnameIntersection: a listener for all names."""
        objects = [gateway(section("tls")), tls_route("r", "one", "abc.example.com"), tls_route("s", "two", "*.com")]
        expected = {"abc.example.com": "one", "other.example.com": "two", "any.com": "two", "non.matching.org": ""}
        self.check(objects, expected)

    def test_no_matching_hostname(self) -> None:
        """TLSRouteInvalidNoMatchingListenerHostname: the route is not attached."""
        for listener in ("www.example.com", "*.example.com"):
            objects = [gateway(section("tls", listener)), tls_route("r", "one", "www.nomatch.com", "*.nomatch.com")]
            self.check(objects, {"www.nomatch.com": "", "www.example.com": ""})
            found = imported(*objects)
            self.assertIn("have no name in common", notes(found.report, False))
            self.assertIn("attached to no listener here", notes(found.report, False))

    def test_no_matching_listener(self) -> None:
        """TLSRouteInvalidNoMatchingListener: another protocol, or another section."""
        for other in (
            section("http", protocol="HTTP"),
            section("https", protocol="HTTPS", tls={"mode": "Terminate"}),
            section("other"),
        ):
            objects = [
                gateway(other, section("tls", port=8443)),
                tls_route("r", "one", "tls.example.com", parentRefs=[{"name": "gw", "sectionName": "http"}]),
            ]
            if other["name"] == "https":
                objects[1]["spec"]["parentRefs"] = [{"name": "gw", "port": 443}]
            self.assertEqual("", leads(objects, "tls.example.com", 8443))
            self.assertIn("attached to no listener here", notes(imported(*objects).report))

    def test_invalid_backends(self) -> None:
        """TLSRouteInvalidBackendRefUnknownKind and ...InvalidReferenceGrant: connections are rejected."""
        for reference in (
            {"group": "unknown.example.com", "kind": "Nothing", "name": "one", "port": 443},
            {"name": "one", "namespace": "elsewhere", "port": 443},
        ):
            route = tls_route("r", "one", "abc.example.com")
            route["spec"]["rules"] = [{"backendRefs": [reference]}]
            objects = [gateway(section("tls")), route, tls_route("s", "two", "*.example.com")]
            self.check(objects, {"abc.example.com": "", "other.example.com": "two"})
            self.assertNotEqual("", notes(imported(*objects).report, True))

    def test_mixed_termination(self) -> None:
        """TLSRouteMixedTerminationSameNamespace: names of the terminating listener are refused, and reported."""
        objects = [
            gateway(section("end", "tls.example.com", tls={}), section("pass", "*.example.com")),
            tls_route("r", "one", "tls.example.com"),
            tls_route("s", "two", "*.example.com"),
        ]
        self.check(objects, {"tls.example.com": "", "abc.example.com": "two"})
        self.assertIn("terminates TLS", notes(imported(*objects).report, True))


class RuleTests(SynchronousTestCase):
    """Listeners and rules beyond the conformance tests."""

    def test_isolation(self) -> None:
        """A name belongs to the most specific listener, even if only another one has a route for it."""
        objects = [
            gateway(section("wide"), section("inner", "*.example.com")),
            tls_route("r", "one", "*.com", "a.b.example.com", parentRefs=[{"name": "gw", "sectionName": "wide"}]),
            tls_route("s", "two", "c.example.com", parentRefs=[{"name": "gw", "sectionName": "inner"}]),
        ]
        for name, expected in (
            ("a.com", "one"), ("a.b.example.com", ""), ("c.example.com", "two"), ("d.example.com", ""),
        ):  # fmt: skip
            self.assertEqual(expected, leads(objects, name), name)
        self.assertIn("belongs to the listener for *.example.com", notes(imported(*objects).report))

    def test_conflicts(self) -> None:
        """The oldest route wins; without a time it is the youngest; then the name decides."""
        new, old = "2026-05-01T00:00:00Z", "2025-05-01T00:00:00Z"
        for first, second, winner in (
            (new, old, "two"), (old, new, "one"), (old, old, "one"), ("", "", "one"), ("", new, "two"),
            (old, "", "one"),
        ):  # fmt: skip
            objects = [
                gateway(section("tls")),
                tls_route("a", "one", "a.test", creationTimestamp=first),
                tls_route("b", "two", "a.test", "b.test", creationTimestamp=second),
            ]
            self.assertEqual((winner, "two"), (leads(objects, "a.test"), leads(objects, "b.test")))
            self.assertIn("a.test belongs to TLSRoute", notes(imported(*objects).report))

    def test_all_names(self) -> None:
        """Old versions allow a route without hostnames: it is for all names, and hellos without one."""
        route = {**tls_route("r", "one"), "apiVersion": "gateway.networking.k8s.io/v1alpha2"}
        self.assertEqual(["one", "one"], [leads([gateway(section("tls")), route], name) for name in ("a.test", None)])
        inner = [gateway(section("tls", "*.test")), route]
        self.assertEqual(["one", "", ""], [leads(inner, name) for name in ("a.test", "a.com", None)])

    def test_sections_and_ports(self) -> None:
        """A port is a listener here; a route is at those that its parents name."""
        objects = [
            gateway(section("a"), section("b", port=8443)),
            tls_route("r", "one", "a.test"),
            tls_route("s", "two", "b.test", parentRefs=[{"name": "gw", "port": 8443}]),
        ]
        self.assertEqual(["one", "one"], [leads(objects, "a.test", port) for port in (443, 8443)])
        self.assertEqual(["", "two"], [leads(objects, "b.test", port) for port in (443, 8443)])

    def test_addresses(self) -> None:
        """A Gateway's IP addresses are interfaces; Gateways that share one port are reported."""
        addresses = [{"value": "192.0.2.1"}, {"type": "IPAddress", "value": "2001:db8::1"}, {"value": "0.0.0.0"},
                     {"type": "Hostname", "value": "gw.test"}]  # fmt: skip
        found = imported(gateway(section("tls"), addresses=addresses), tls_route("r", "one", "a.test"))
        self.assertEqual(
            [("gw-443", "tcp:443:interface=192.0.2.1"), ("gw-443-2", "tcp6:443:interface=2001\\:db8\\:\\:1")],
            [(table.name, table.endpoint) for _, table in found.listeners],
        )
        self.assertEqual({"gw-443", "gw-443-2"}, {rule.listener for rule in found.rules})
        found = imported(gateway(section("tls")), gateway(section("tls"), name="gx"), tls_route("r", "one", "a.test"))
        self.assertEqual(1, len(found.listeners))
        self.assertIn("default/gw and default/gx have addresses of their own", notes(found.report, True))

    def test_routes_without_a_gateway(self) -> None:
        """They are taken for all listeners, or for one on the port 4443, and that is reported."""
        found = imported(tls_route("r", "one", "a.test"))
        self.assertEqual([("gateway", "tcp:4443")], [(table.name, table.endpoint) for _, table in found.listeners])
        self.assertIn("is in no file: taken for all listeners", notes(found.report, False))
        objects = [gateway(section("tls"), name="other"), tls_route("r", "one", "a.test", parentRefs=[])]
        found = imported(*objects)
        self.assertEqual([("a.test", None)], [(rule.pattern, rule.listener) for rule in found.rules])
        self.assertIn("it has no parentRefs", notes(found.report, False))

    def test_listeners_that_terminate(self) -> None:
        """A port without passing TLS has no listener here."""
        found = imported(
            gateway(section("end", tls={"mode": "Terminate"}), section("web", protocol="HTTPS", port=8443)),
            tls_route("r", "one", "a.test", parentRefs=[{"name": "gw", "kind": "Gateway", "port": 1}]),
        )
        self.assertEqual([("gateway", "tcp:4443")], [(table.name, table.endpoint) for _, table in found.listeners])
        self.assertEqual(1, notes(found.report, True).count("no listener for TLS in the mode Passthrough"))

    @settings(max_examples=40)
    @given(DOCUMENTS)
    def test_any_document(self, document: Any) -> None:
        """Manifests of any form are read, or are refused with a reason."""
        self.attempt(as_yaml(document))
        route = tls_route("r", "one", "a.test")
        route["spec"]["rules"] = document
        self.attempt(as_yaml(gateway(section("tls")), route))
        self.attempt(as_yaml({"kind": "TLSRoute", "spec": document}, {**gateway(section("tls")), "spec": document}))

    @settings(max_examples=40)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """So is any text."""
        self.attempt(text)

    def attempt(self, text: str) -> None:
        try:
            read([SourceFile("x", text)])
        except MigrateError as error:
            self.assertTrue(str(error).startswith("x"))
