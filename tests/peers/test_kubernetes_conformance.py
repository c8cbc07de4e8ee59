"""The Gateway API's conformance tests of TLSRoute, for passthrough: their manifests in Kubernetes' own API server.

The tests themselves need a controller of Gateways; what they expect of a route is written here. Their names are the
tests' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.peers.kubernetes import Object, documented_rules, plural_of, until
from tests.peers.kubernetescase import KubernetesCase
from tests.support import kubernetesapi

INFRASTRUCTURE = "gateway-conformance-infra"
OTHER = "gateway-conformance-app-backend"

BACKENDS = {"tls-backend": "10.0.1.1", "tls-backend-2": "10.0.1.2", "tcp-backend": "10.0.1.3"}
"""The address of the pod of each Service."""

SERVED = ("Accepted", "ResolvedRefs")


class ConformanceTests(KubernetesCase):
    """One test for each of the Gateway API's."""

    timeout = 90.0

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.server.allow_everywhere(*documented_rules()[1])
        base = self.server.manifests("manifests")
        for one in base:
            if one["kind"] == "Namespace" or (one["kind"] == "Service" and one["metadata"]["name"] in BACKENDS):
                await self.apply(one)
        for name, address in BACKENDS.items():
            ports = [{"name": "", "port": 8443}, {"name": "echo-tcp-tls", "port": 8443}]
            pods = kubernetesapi.pod(f"{name}-0", address)
            label = {"kubernetes.io/service-name": name}
            document = kubernetesapi.endpoint_slice(name, pods, ports=ports, **label)
            document["metadata"]["namespace"] = INFRASTRUCTURE
            await self.apply({"kind": "EndpointSlice", **document})

    async def tearDown(self) -> None:  # type: ignore[override]
        for namespace in (INFRASTRUCTURE, OTHER):
            await self.server.clear("tlsroutes", "gateways", "referencegrants", "endpointslices", namespace=namespace)
        await self.server.allow_everywhere()
        await super().tearDown()

    async def apply(self, document: Object) -> None:
        plural = plural_of(document)
        assert plural is not None, document["kind"]
        await self.server.put(plural, document)

    async def check(self, file: str, expected: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Apply the manifests of a test, and wait until its routes have the expected status.

        @param expected: the reasons of each route, by Gateway. @return: the resolver of each Gateway.
        """
        for document in self.server.manifests(file):
            await self.apply(document)
        resolvers = {}
        for gateway, routes in expected.items():
            options = {"gateway": gateway, "namespace": INFRASTRUCTURE, "all_namespaces": True, "write_status": True}
            resolvers[gateway] = self.started(**options)
            for route, reasons in routes.items():
                (parent,) = await self.reasons(route, reasons, INFRASTRUCTURE)
                self.assertEqual(gateway, parent["parentRef"]["name"])
        return resolvers

    async def test_TLSRouteSimpleSameNamespace(self) -> None:
        (resolver,) = (
            await self.check(
                "tlsroute-simple-same-namespace", {"gateway-tlsroute": {"gateway-conformance-infra-test": SERVED}}
            )
        ).values()
        await self.follows(resolver, "10.0.1.3", name="abc.example.com")

    async def test_TLSRouteHostnameIntersection(self) -> None:
        exact, more, less, empty = (
            await self.check(
                "tlsroute-hostname-intersection",
                {
                    "gw-tlsroute-exact-hostname-x-1": {"tlsroute-more-specific-wc-hostname-x-1": SERVED},
                    "gw-tlsroute-more-specific-wc-hostname-x-2": {
                        "tlsroute-exact-hostname-x-2": SERVED,
                        "tlsroute-less-specific-wc-hostname-x-2": SERVED,
                    },
                    "gw-tlsroute-less-specific-wc-hostname-x-3": {
                        "tlsroute-exact-hostname-x-3": SERVED,
                        "tlsroute-more-specific-wc-hostname-x-3": SERVED,
                    },
                    "gw-tlsroute-empty-hostname-x-4": {
                        "tlsroute-exact-hostname-x-4": SERVED,
                        "tlsroute-less-specific-wc-hostname-x-4": SERVED,
                    },
                },
            )
        ).values()
        for resolver in (exact, more, less, empty):
            await self.follows(resolver, "10.0.1.1", name="abc.example.com")
        for resolver in (more, less, empty):
            await self.follows(resolver, "10.0.1.2", name="other.example.com")
        self.assertEqual([], self.hosts(exact, "other.example.com"))
        for resolver in (exact, more, less):
            self.assertEqual([], self.hosts(resolver, "non.matching.com"))
        self.assertEqual([], self.hosts(empty, "non.matching.org"))

    async def test_TLSRouteInvalidBackendRefNonexistent(self) -> None:
        (resolver,) = (
            await self.check(
                "tlsroute-invalid-backendref-nonexistent",
                {
                    "gateway-tlsroute-invalid-backend-ref-nonexistent": {
                        "invalid-backend-ref-nonexistent": ("Accepted", "BackendNotFound")
                    }
                },
            )
        ).values()
        self.assertEqual([], self.hosts(resolver, "example.com"))

    async def test_TLSRouteInvalidBackendRefUnknownKind(self) -> None:
        (resolver,) = (
            await self.check(
                "tlsroute-invalid-backendref-unknown-kind",
                {
                    "gateway-tlsroute-invalid-backend-ref-unknown-kind": {
                        "invalid-backend-ref-unknown-kind": ("Accepted", "InvalidKind")
                    }
                },
            )
        ).values()
        self.assertEqual([], self.hosts(resolver, "example.com"))

    async def test_TLSRouteInvalidNoMatchingListener(self) -> None:
        refused = ("NotAllowedByListeners", "ResolvedRefs")
        await self.check(
            "tlsroute-invalid-no-matching-listener",
            {
                "gateway-tlsroute-http-only": {"tlsroute-not-allowed-protocol-http": refused},
                "gateway-tlsroute-https-only": {"tlsroute-not-allowed-protocol-https": refused},
                "gateway-tlsroute-tls-passthrough-only": {
                    "tlsroute-no-matching-section-name": ("NoMatchingParent", "ResolvedRefs")
                },
            },
        )

    async def test_TLSRouteInvalidNoMatchingListenerHostname(self) -> None:
        refused = ("NoMatchingListenerHostname", "ResolvedRefs")
        await self.check(
            "tlsroute-invalid-no-matching-listener-hostname",
            {
                "gateway-tls-exact-hostname": {"tlsroute-hostname-mismatch-1": refused},
                "gateway-tls-wildcard-hostname": {"tlsroute-hostname-mismatch-2": refused},
            },
        )

    async def test_TLSRouteInvalidReferenceGrant(self) -> None:
        (resolver,) = (
            await self.check(
                "tlsroute-invalid-reference-grant",
                {
                    "gateway-tlsroute-referencegrant": {
                        "gateway-conformance-infra-test": ("Accepted", "RefNotPermitted")
                    }
                },
            )
        ).values()
        self.assertEqual([], self.hosts(resolver, "abc.example.com"))
        # A grant that permits it, which the test does not have.
        (grant,) = (
            one
            for one in self.server.manifests("tlsroute-invalid-reference-grant")
            if one["metadata"]["name"] == "reference-grant-wrong-to-name"
        )
        grant["spec"]["to"][0]["name"] = "tls-backend"
        await self.apply(grant)
        await self.reasons("gateway-conformance-infra-test", SERVED, INFRASTRUCTURE)
        await until(lambda: "no ready endpoint" in str(resolver.state().names.get("abc.example.com")))

    async def test_TLSRouteMixedTerminationSameNamespace(self) -> None:
        """Its part for passthrough: we do not serve the listener that terminates TLS, so its route has no listener."""
        (resolver,) = (
            await self.check(
                "tlsroute-mixed-termination-same-namespace",
                {
                    "gateway-tlsroute-mixed-termination": {
                        "gateway-conformance-mixed-passthroughroute": SERVED,
                        "gateway-conformance-mixed-terminateroute": ("NoMatchingListenerHostname", "ResolvedRefs"),
                    }
                },
            )
        ).values()
        await self.follows(resolver, "10.0.1.3", name="abc.example.com")
        self.assertEqual([], self.hosts(resolver, "tls.example.com"))
