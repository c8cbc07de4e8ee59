"""Tests for sniproxy.migrate.tlsroute.backends."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Notes, SourceFile
from sniproxy.migrate.tlsroute.backends import targets
from sniproxy.migrate.tlsroute.manifests import load
from tests.support.envoyconfig import notes
from tests.support.manifests import GROUP, as_yaml, core, manifest, tls_route

SERVICE = "one.default.svc.cluster.local:6651"


class BackendCase(SynchronousTestCase):
    """A route with one rule."""

    def setUp(self) -> None:
        self.report = Notes()

    def targets(self, references: Any, *objects: dict[str, Any], domain: str = "cluster.local") -> list[str]:
        route = tls_route("r", "x", "a.test")
        route["spec"]["rules"] = [{"backendRefs": references}]
        manifests = load([SourceFile("x.yaml", as_yaml(route, *objects))], self.report)
        return list(targets(manifests.all("TLSRoute")[0], manifests, domain, self.report))


class BackendTests(BackendCase):
    """C{backendRefs}."""

    def test_service(self) -> None:
        """Its name in the cluster's DNS, with the port of the reference."""
        self.assertEqual([SERVICE], self.targets([{"name": "one", "port": 6651}]))
        found = self.targets([{"name": "one", "port": 1, "group": "", "kind": "Service"}], domain="k8s.test")
        self.assertEqual(["one.default.svc.k8s.test:1"], found)
        imported = {"name": "one", "port": 1, "kind": "ServiceImport", "group": "multicluster.x-k8s.io"}
        self.assertEqual(["one.default.svc.clusterset.local:1"], self.targets([imported]))

    def test_weights(self) -> None:
        """A backend of weight 0 gets no connections: it is no spare."""
        references = [{"name": name, "port": 1, "weight": weight} for name, weight in (("a", 90), ("b", 10), ("c", 0))]
        found = self.targets(references)
        self.assertEqual(["a.default.svc.cluster.local:1 weight=9", "b.default.svc.cluster.local:1"], found)
        self.assertIn("c: weight 0", notes(self.report, False))
        self.assertEqual([], self.targets(references[2:]))

    def test_references_that_are_left_out(self) -> None:
        """Other kinds, no port, names that are none: each is reported. The others get its share."""
        for reference in (
            {"name": "b", "kind": "Backend", "group": "gateway.envoyproxy.io"},
            {"name": "b"}, {"name": "b", "port": 0}, {"name": "b b", "port": 1},
            {"name": "b", "kind": "Pod", "port": 1},
        ):  # fmt: skip
            self.report.notes.clear()
            self.assertEqual([SERVICE], self.targets([{"name": "one", "port": 6651}, reference]))
            self.assertEqual(1, len(notes(self.report, True).splitlines()))
            self.assertIn("go to the others, not refused", notes(self.report, False))

    def test_rules(self) -> None:
        """Only the first rule counts; without rules there are no targets."""
        route = tls_route("r", "one", "a.test")
        route["spec"]["rules"] *= 2
        manifests = load([SourceFile("x.yaml", as_yaml(route))], self.report)
        self.assertEqual([SERVICE], targets(manifests.all("TLSRoute")[0], manifests, "cluster.local", self.report))
        self.assertIn("a TLSRoute has one rule", notes(self.report, True))
        route["spec"]["rules"] = []
        manifests = load([SourceFile("x.yaml", as_yaml(route))], self.report)
        self.assertEqual([], targets(manifests.all("TLSRoute")[0], manifests, "cluster.local", self.report))


class GrantTests(BackendCase):
    """ReferenceGrants (TLSRouteInvalidReferenceGrant of the conformance tests)."""

    def granted(self, namespace: str = "apps", **changes: Any) -> bool:
        """Whether a grant allows a reference to C{one} of C{apps}."""
        source = {"group": GROUP, "kind": "TLSRoute", "namespace": "default"}
        to = {"group": "", "kind": "Service", "name": "one"}
        for key, value in changes.items():
            side, _, field = key.partition("_")
            (source if side == "from" else to)[field] = value
        grant = manifest("ReferenceGrant", "g", {"from": [source], "to": [to]}, namespace=namespace)
        return bool(self.targets([{"name": "one", "namespace": "apps", "port": 1}], grant))

    def test_grants(self) -> None:
        """All of it must fit; a grant without a name is for all Services."""
        self.assertTrue(self.granted())
        self.assertTrue(self.granted(to_name=""))
        self.assertEqual("", notes(self.report))
        for changes in (
            {"namespace": "default"}, {"from_group": "x"}, {"from_kind": "Gateway"}, {"from_namespace": "x"},
            {"to_group": "x"}, {"to_kind": "Secret"}, {"to_name": "other"},
        ):  # fmt: skip
            self.report.notes.clear()
            self.assertFalse(self.granted(**changes), changes)
            self.assertIn("no ReferenceGrant in namespace apps", notes(self.report, True))


class ServiceTests(BackendCase):
    """Services whose manifests are there."""

    def of(self, spec: dict[str, Any], *others: dict[str, Any]) -> list[str]:
        return self.targets([{"name": "one", "port": 6651}], core("Service", "one", spec), *others)

    def test_plain(self) -> None:
        """The Service's address forwards the port."""
        ports = [{"port": 6651, "targetPort": 7777}]
        self.assertEqual([SERVICE], self.of({"selector": {"a": "b"}, "ports": ports}))
        self.assertEqual([SERVICE], self.of({"selector": {"a": "b"}}))

    def test_no_such_port(self) -> None:
        """Connections are refused, as the API does."""
        self.assertEqual([], self.of({"selector": {"a": "b"}, "ports": [{"port": 1}]}))
        self.assertIn("it has no port 6651", notes(self.report, True))

    def test_external_name(self) -> None:
        """The name that it stands for."""
        self.assertEqual(["b.example.com:6651"], self.of({"type": "ExternalName", "externalName": "b.example.com"}))

    def test_headless(self) -> None:
        """Its name has the addresses of pods, which listen on the target port."""
        for target, expected, decides in ((7777, 7777, False), (None, 6651, False), ("tls", 6651, True)):
            self.report.notes.clear()
            ports = [{"port": 6651, "targetPort": target}]
            found = self.of({"selector": {"a": "b"}, "clusterIP": "None", "ports": ports})
            self.assertEqual([f"one.default.svc.cluster.local:{expected}"], found)
            self.assertEqual(decides, "the target port is named tls" in notes(self.report, True))

    def slice(self, **changes: Any) -> dict[str, Any]:
        written = {
            **core("EndpointSlice", "one-1", labels={"kubernetes.io/service-name": "one"}),
            "ports": [{"name": "tls", "port": 7777}, {"name": "web", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1", "fd00::1"]},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
            ],
        }
        return {**written, **changes}

    def test_endpoints_without_a_selector(self) -> None:
        """A Service whose endpoints are written has their addresses."""
        spec = {"clusterIP": "None", "ports": [{"name": "tls", "port": 6651}]}
        self.assertEqual(["10.0.0.1:7777", "[fd00::1]:7777"], self.of(spec, self.slice()))
        others = [self.slice(metadata={"name": "x"}), self.slice(metadata={"name": "y", "namespace": "other"})]
        self.assertEqual([SERVICE], self.of(spec, *others))
        self.assertEqual([SERVICE], self.of({**spec, "selector": {"a": "b"}}, self.slice()))
