"""Tests for sniproxy.resolvers.kubernetes.listeners: the cases of the Gateway API's conformance tests, and more."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.kubernetes.gatewayobjects import GROUP, Gateway, TLSRoute
from sniproxy.resolvers.kubernetes.listeners import Attachment, attach, claims_names, refers_to, selects_namespaces
from tests.support.gatewayapi import Object, gateway, listener, route, typed


def attached(gate: Object, document: Object, labels: Any = None) -> Attachment:
    """How the first parentRef of a route attaches it."""
    found = typed(document, TLSRoute)
    return attach(typed(gate, Gateway), found, (found.spec.parent_refs or [])[0], labels)


class ConformanceTests(SynchronousTestCase):
    """By the names of the Gateway API's tests."""

    def reason(self, gate: Object, *hostnames: str, **parent: Any) -> str:
        return attached(gate, route("r", *hostnames, parents=[{"name": "gw", **parent}])).accepted.reason

    def test_TLSRouteSimpleSameNamespace(self) -> None:
        """A route of the same namespace is accepted."""
        found = attached(gateway(), route())
        self.assertEqual((True, "Accepted"), (found.accepted.good, found.accepted.reason))
        self.assertEqual((("tls", "abc.example.com"),), found.names)

    def test_TLSRouteInvalidNoMatchingListener(self) -> None:
        """A listener of another protocol does not allow the route; a listener that does not exist is no parent."""
        http = gateway(listener("http", mode=None, protocol="HTTP", port=80))
        https = gateway(listener("https", mode="Terminate", protocol="HTTPS"))
        self.assertEqual("NotAllowedByListeners", self.reason(http))
        self.assertEqual("NotAllowedByListeners", self.reason(https))
        self.assertEqual("NoMatchingParent", self.reason(gateway(), sectionName="nonexistent-listener"))
        self.assertFalse(attached(http, route()).accepted.good)

    def test_TLSRouteInvalidNoMatchingListenerHostname(self) -> None:
        """Hostnames that are not the listener's."""
        exact, wild = gateway(listener(hostname="www.example.com")), gateway(listener(hostname="*.example.com"))
        reason = "NoMatchingListenerHostname"
        self.assertEqual(reason, self.reason(exact, "www.nomatch.com", "*.nomatch.com"))
        self.assertEqual(reason, self.reason(wild, "www.different.com", "*.different.com"))

    def test_TLSRouteListenerTerminateNotSupported(self) -> None:
        """Listeners that terminate TLS are not served; the default mode is Terminate."""
        for mode in ("Terminate", None):
            self.assertEqual("NotAllowedByListeners", self.reason(gateway(listener(mode=mode))))

    def test_TLSRouteListenerPassthroughSupportedKinds(self) -> None:
        """A listener for other kinds does not allow the route; one that has TLSRoute among its kinds does."""
        for kinds, reason in (
            ([{"kind": "TCPRoute"}, {"kind": "TLSRoute"}], "Accepted"),
            ([{"kind": "TLSRoute", "group": GROUP}], "Accepted"),
            ([{"kind": "TCPRoute"}], "NotAllowedByListeners"),
            ([{"kind": "TLSRoute", "group": "other"}], "NotAllowedByListeners"),
            ([], "Accepted"),
        ):
            self.assertEqual(reason, self.reason(gateway(listener(allowedRoutes={"kinds": kinds}))), str(kinds))

    def test_TLSRouteHostnameIntersection(self) -> None:
        """Only the names of both are served."""
        gate = gateway(listener(hostname="*.example.com"))
        found = attached(gate, route("r", "*.com", "abc.example.com", "a.test", "10.0.0.1"))
        self.assertEqual((("tls", "*.example.com"), ("tls", "abc.example.com")), found.names)

    def test_no_hostnames(self) -> None:
        """A route of v1alpha2 without hostnames has all names of its listeners."""
        gate = gateway(listener("own", "*.Example.com"), listener("any"), listener("bad", "10.0.0.1"))
        empty: list[str] = []
        for hostnames in (None, empty):
            document = route()
            document["spec"]["hostnames"] = hostnames
            found = attached(gate, document)
            self.assertEqual((("own", "*.example.com"), ("any", "*")), found.names)
            self.assertTrue(found.accepted.good)
        self.assertEqual(
            "NoMatchingListenerHostname", attached(gateway(listener("bad", "10.0.0.1")), document).accepted.reason
        )
        self.assertEqual("NoMatchingListenerHostname", self.reason(gateway(), "*"))


class ParentTests(SynchronousTestCase):
    """Which Gateway and which listeners a parentRef means."""

    def refers(self, own: str = "pulsar", **parent: Any) -> bool:
        found = typed(route(parents=[{"name": "gw", **parent}], namespace=own), TLSRoute)
        return refers_to((found.spec.parent_refs or [])[0], found, typed(gateway(), Gateway))

    def test_gateway(self) -> None:
        """Group, kind, namespace and name must be the Gateway's; the namespace is that of the route by default."""
        self.assertTrue(self.refers())
        self.assertTrue(self.refers("apps", namespace="pulsar", group=GROUP, kind="Gateway"))
        self.assertFalse(self.refers("apps"))
        self.assertFalse(self.refers(name="other"))
        self.assertFalse(self.refers(kind="Service"))
        self.assertFalse(self.refers(group=""))

    def test_section(self) -> None:
        """A section name or port chooses among the listeners; an empty section name means all."""
        gate = gateway(listener("one"), listener("two", port=8443))
        for parent, names in (
            ({}, ["one", "two"]),
            ({"sectionName": ""}, ["one", "two"]),
            ({"sectionName": "two"}, ["two"]),
            ({"port": 443}, ["one"]),
            ({"port": 8443, "sectionName": "two"}, ["two"]),
            ({"port": 443, "sectionName": "two"}, []),
            ({"port": 1}, []),
        ):
            found = attached(gate, route(parents=[{"name": "gw", **parent}]))
            self.assertEqual(names, [name for name, _ in found.names], str(parent))
            self.assertEqual(bool(names), found.accepted.good)
        self.assertIn("no listener named two of port 443", attached(gate, route(parents=[
            {"name": "gw", "port": 443, "sectionName": "two"}])).accepted.message)  # fmt: skip

    def test_one_of_two(self) -> None:
        """A route is accepted if one listener accepts it."""
        gate = gateway(listener("no", "a.test"), listener("yes"), listener("http", protocol="HTTP"))
        found = attached(gate, route())
        self.assertEqual((True, (("yes", "abc.example.com"),)), (found.accepted.good, found.names))

    def test_namespaces(self) -> None:
        """Routes of other namespaces need a listener that allows them."""
        other = route(namespace="apps", parents=[{"name": "gw", "namespace": "pulsar"}])
        labels = {"apps": {"team": "a"}, "pulsar": {}}
        selector = {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}
        for allowed, known, good in (
            ({"from": "All"}, None, True),
            ({"from": "Same"}, None, False),
            ({"from": "None"}, None, False),
            ({}, None, False),
            (selector, labels, True),
            (selector, {"apps": {}}, False),
            (selector, {}, False),
            (selector, None, False),
            ({"from": "Selector"}, labels, False),
        ):
            gate = gateway(listener(allowedRoutes={"namespaces": allowed}))
            self.assertEqual(good, attached(gate, other, known).accepted.good, f"{allowed}, {known}")
        same = gateway(listener(allowedRoutes=None))
        self.assertFalse(attached(same, other).accepted.good)
        self.assertTrue(attached(same, route()).accepted.good)

    def test_claims_names(self) -> None:
        """Listeners for TLS and HTTPS take connections by name, in any mode."""
        for protocol, claims in (("TLS", True), ("HTTPS", True), ("HTTP", False), ("TCP", False), ("UDP", False)):
            found = typed(gateway(listener(protocol=protocol, mode=None)), Gateway).spec.listeners or []
            self.assertEqual(claims, claims_names(found[0]), protocol)

    def test_selects(self) -> None:
        """Labels are needed only for a listener that selects by them."""
        self.assertFalse(selects_namespaces(typed(gateway(), Gateway)))
        one = listener(allowedRoutes={"namespaces": {"from": "Selector"}})
        self.assertTrue(selects_namespaces(typed(gateway(listener("a"), one), Gateway)))

    def test_bad_hostname(self) -> None:
        """A listener with an invalid hostname serves no name."""
        found = attached(gateway(listener(hostname="10.0.0.1")), route())
        self.assertEqual("NoMatchingListenerHostname", found.accepted.reason)
