"""Tests for sniproxy.resolvers.kubernetes.backends."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.kubernetes.backends import Backends, Cluster
from sniproxy.resolvers.kubernetes.gatewayobjects import ReferenceGrant, TLSRoute
from sniproxy.resolvers.kubernetes.objects import EndpointSlice, Service
from tests.support.gatewayapi import GROUP, Object, grant, route, service, typed
from tests.support.kubernetesapi import endpoint_slice, pod


def cluster(services: Any = (), slices: Any = (), grants: Any = ()) -> Cluster:
    """A cluster with these objects."""
    found = [typed(one, Service) for one in services]
    by_key = {(one.metadata.namespace, one.metadata.name): one for one in found}
    return Cluster(
        by_key, [typed(one, EndpointSlice) for one in slices], [typed(one, ReferenceGrant) for one in grants]
    )


def slice_of(name: str, *addresses: str, namespace: str = "pulsar") -> Object:
    """The slice of a Service with ready pods."""
    pods = [pod(f"{name}-{number}", address) for number, address in enumerate(addresses)]
    found = endpoint_slice(f"{name}-x", *pods, **{"kubernetes.io/service-name": name})
    found["metadata"]["namespace"] = namespace
    return found


class BackendTests(SynchronousTestCase):
    """References, and the condition ResolvedRefs."""

    def setUp(self) -> None:
        services = [service(), service("other"), service(namespace="apps"), service("name", type="ExternalName")]
        self.objects: dict[str, Any] = {
            "services": services,
            "slices": [slice_of("broker", "10.0.0.1", "10.0.0.2"), slice_of("broker", "10.1.0.1", namespace="apps")],
        }

    def backends(self, *references: Object) -> Backends:
        return cluster(**self.objects).backends(typed(route(backends=references), TLSRoute))

    def reason(self, **reference: Any) -> str:
        found = self.backends({"name": "broker", "port": 443, **reference})
        self.assertEqual(found.resolved.good, found.resolved.reason == "ResolvedRefs")
        if not found.resolved.good:
            self.assertEqual((), found.backends[0].targets)
        return found.resolved.reason

    def test_service(self) -> None:
        """The endpoints of a Service, by the name of its port."""
        (one,) = self.backends({"name": "broker", "port": 443, "weight": 3}).backends
        self.assertEqual(["10.0.0.1:6651", "10.0.0.2:6651"], [str(target) for target in one.targets])
        self.assertEqual(("Service pulsar/broker", 3), (one.name, one.weight))
        self.assertEqual("ResolvedRefs", self.reason(kind="Service", group=""))

    def test_TLSRouteInvalidBackendRefUnknownKind(self) -> None:
        """Only Services are backends."""
        self.assertEqual("InvalidKind", self.reason(group="unknownkind.example.com", kind="NonExistent"))
        self.assertEqual("InvalidKind", self.reason(kind="Pod"))
        self.assertEqual("InvalidKind", self.reason(group=GROUP))

    def test_TLSRouteInvalidBackendRefNonexistent(self) -> None:
        """The Service and its port must exist."""
        self.assertEqual("BackendNotFound", self.reason(name="nonexistent"))
        self.assertEqual("BackendNotFound", self.reason(port=444))
        self.assertEqual("BackendNotFound", self.reason(port=None))
        self.assertEqual("BackendNotFound", self.reason(name="name"))

    def test_TLSRouteInvalidReferenceGrant(self) -> None:
        """A Service of another namespace needs a ReferenceGrant there that fits in every part."""
        self.assertEqual("RefNotPermitted", self.reason(namespace="apps"))
        for wrong in (
            grant(namespace="pulsar"),
            grant(group="not-the-group-youre-looking-for"),
            grant(kind="Gateway"),
            grant(source="not-the-namespace-youre-looking-for"),
            grant(to_group="not-the-group-youre-looking-for"),
            grant(to_kind="Secret"),
            grant(to_name="not-the-service-youre-looking-for"),
        ):
            self.objects["grants"] = [wrong]
            self.assertEqual("RefNotPermitted", self.reason(namespace="apps"), str(wrong))
        for right in (grant(), grant(to_name=None), grant(to_name="")):
            self.objects["grants"] = [right]
            self.assertEqual("ResolvedRefs", self.reason(namespace="apps"), str(right))
        self.assertEqual("ResolvedRefs", self.reason(namespace="pulsar"))

    def test_weights(self) -> None:
        """A weight of 0 gets no connections; an invalid backend keeps its share."""
        zero, bad = {"name": "broker", "port": 443, "weight": 0}, {"name": "gone", "port": 443, "weight": 8}
        found = self.backends(zero, bad, {"name": "broker", "port": 443, "weight": 2})
        self.assertEqual([(8, 0), (2, 2)], [(one.weight, len(one.targets)) for one in found.backends])
        self.assertEqual("Service pulsar/gone: not found", found.backends[0].fault)

    def test_several_faults(self) -> None:
        """One reason stands for several; the message has all."""
        gone = {"name": "gone", "port": 443}
        found = self.backends(gone, {"name": "a", "kind": "Pod"}, {"name": "broker", "namespace": "apps", "port": 443})
        self.assertEqual("InvalidKind", found.resolved.reason)
        for text in ("pulsar/gone: not found", "only Services", "no ReferenceGrant"):
            self.assertIn(text, found.resolved.message)

    def test_no_endpoint(self) -> None:
        """A Service without endpoints is resolved, and has no targets."""
        found = self.backends({"name": "other", "port": 443})
        self.assertTrue(found.resolved.good)
        self.assertEqual("Service pulsar/other: no ready endpoint", found.backends[0].fault)

    def test_unchanged(self) -> None:
        """What was made of slices is used again while they are the same objects, and only then."""
        services = {("pulsar", name): typed(service(name), Service) for name in ("one", "two")}
        one, two = (typed(slice_of(name, "10.0.0.1"), EndpointSlice) for name in ("one", "two"))
        document = typed(route(backends=[{"name": "one", "port": 443}, {"name": "two", "port": 443}]), TLSRoute)
        before = Cluster(services, [one, two], ())
        first = before.backends(document).backends
        changed = typed(slice_of("two", "10.0.0.2"), EndpointSlice)
        second = Cluster(services, [one, changed], (), before=before).backends(document).backends
        self.assertIs(first[0].targets, second[0].targets)
        self.assertEqual(["10.0.0.2"], [target.host for target in second[1].targets])
        third = Cluster(services, [one], (), before=before).backends(document).backends
        self.assertEqual((1, 0), (len(third[0].targets), len(third[1].targets)))
        more = Cluster(services, [one, two, changed], (), before=before).backends(document).backends
        self.assertEqual(1, len(more[1].targets))

    def test_unnamed_port(self) -> None:
        """A port without a name is that of the slices without a name; UDP ports do not count."""
        ports = [{"name": "dns", "port": 443, "protocol": "UDP"}, {"port": 443}]
        self.objects["services"] = [service("plain", ports=ports)]
        pods = endpoint_slice(
            "x", pod("a-0", "10.0.0.7"), ports=[{"port": 7}], **{"kubernetes.io/service-name": "plain"}
        )
        pods["metadata"]["namespace"] = "pulsar"
        self.objects["slices"] = [pods, {"metadata": {"name": "unlabelled"}}]
        (one,) = self.backends({"name": "plain", "port": 443}).backends
        self.assertEqual("10.0.0.7:7", str(one.targets[0]))

    def test_notes(self) -> None:
        """What is ignored in slices is noted."""
        self.objects["slices"] = [slice_of("broker", "127.0.0.1")]
        self.assertIn("127.0.0.1 is not allowed", self.backends({"name": "broker", "port": 443}).notes[0])
