"""Tests for sniproxy.resolvers.kubernetes.resolver; tests.peers.test_kubernetes_api has a real API server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from sniproxy.interfaces import IWatchingResolver, IWritingResolver, Refused, Unavailable
from sniproxy.resolvers.cache.cache import CachedResolver
from sniproxy.resolvers.kubernetes.resolver import (
    KubernetesResolver,
)
from sniproxy.testing import ResolverContract, question
from tests.resolvers.cache.scripted import request
from tests.resolvers.kubernetes.case import KubernetesCase, logged_texts
from tests.support.gatewayapi import gateway, grant, listener, route, service
from tests.support.kubernetesapi import KubernetesServer, endpoint_slice, pod
from tests.support.reactor import reactor
from tests.support.tlsservers import ServerTLS

SLICES = "endpointslices"


class ContractTests(ResolverContract, KubernetesCase):
    """The contract of all resolvers."""

    known = question("broker-0.test")
    unknown = question("nobody.test")

    def setUp(self) -> None:
        super().setUp()
        self.server.put(SLICES, endpoint_slice("broker-x", pod("broker-0", "10.0.0.1")))

    def make(self) -> Any:
        return self.resolver()

    def silence(self) -> Any:
        self.server.silent = True
        return self.resolver()


class ServiceTests(KubernetesCase):
    """Pods of a Service."""

    def brokers(self, **addresses: str) -> None:
        pods = [pod(name.replace("_", "-"), address) for name, address in addresses.items()]
        self.server.put(SLICES, endpoint_slice("broker-x", *pods))

    async def test_names(self) -> None:
        """Each pod has its name, and the service name leads to all; other names are refused, with those that exist."""
        self.brokers(broker_0="10.0.0.1", broker_1="10.0.0.2")
        resolver = self.started()
        for interface in (IWatchingResolver, IWritingResolver):
            self.assertTrue(verifyObject(interface, resolver))
        self.assertEqual(["10.0.0.2:6651"], await self.answer(resolver, "broker-1.test"))
        self.assertEqual(["10.0.0.1:6651", "10.0.0.2:6651"], await self.answer(resolver, "vip.test"))
        self.assertIn("known: broker-0.test, broker-1.test, vip", await self.fails(Refused, resolver, "a.test"))
        state = resolver.state()
        self.assertEqual(("2 endpoints", None), (state.summary, state.error))
        self.assertEqual("pod broker-0, 10.0.0.1:6651", state.names["broker-0.test"])

    async def test_changes(self) -> None:
        """A change is followed without a new list: by one watch, of this Service only."""
        self.brokers(broker_0="10.0.0.1")
        resolver = self.started()
        await self.answer(resolver, "broker-0.test")
        await self.server.until(lambda: self.server.watching(SLICES) == 1)
        before = self.changes
        self.brokers(broker_0="10.0.0.9")
        await self.until(lambda: self.changes > before)
        self.assertEqual(["10.0.0.9:6651"], await self.answer(resolver, "broker-0.test"))
        (listed,), (watched,) = self.server.requests("list", SLICES), self.server.requests("watch", SLICES)
        self.assertEqual("kubernetes.io/service-name=broker", listed["labelSelector"])
        self.assertEqual(("true", "101"), (watched["allowWatchBookmarks"], watched["resourceVersion"]))

    async def test_waiting(self) -> None:
        """Queries wait for the first answer of the API server."""
        self.brokers(broker_0="10.0.0.1")
        resolver = self.started()
        answers = [self.answer_later(resolver) for _ in range(3)]
        self.assertEqual([["10.0.0.1:6651"]] * 3, await gatherResults(answers))

    def answer_later(self, resolver: KubernetesResolver) -> Any:
        answer: Any = resolver.resolve(request("broker-0.test"))
        return answer.addCallback(lambda found: [str(one) for one in found.targets])

    async def test_gone(self) -> None:
        """A pod that has gone is unavailable at first: a refusal would end clients that wait for its restart."""
        self.brokers(broker_0="10.0.0.1", broker_1="10.0.0.2")
        resolver = self.started()
        await self.answer(resolver, "broker-1.test")
        before = self.changes
        self.brokers(broker_0="10.0.0.1")
        await self.until(lambda: self.changes > before)
        self.assertIn("may come back", await self.fails(Unavailable, resolver, "broker-1.test"))
        await self.fails(Refused, resolver, "broker-2.test")

    async def test_permission(self) -> None:
        """Without permission names are unavailable, and the cure is shown; with it, they follow."""
        self.brokers(broker_0="10.0.0.1")
        self.server.refused["list", SLICES] = 403
        logged = logged_texts(self)
        resolver = self.started()
        cure = "allow list and watch on endpointslices.discovery.k8s.io in namespace pulsar by a Role"
        self.assertIn(cure, await self.fails(Unavailable, resolver, "broker-0.test"))
        self.assertIn(cure, str(resolver.state().error))
        self.assertEqual(1, sum(cure in text for text in logged))
        self.server.refused.clear()
        await self.until(lambda: resolver.state().error is None)
        self.assertEqual(["10.0.0.1:6651"], await self.answer(resolver, "broker-0.test"))

    async def test_permission_lost(self) -> None:
        """What was read last is served while the permission is lost; names that may be new are unavailable."""
        self.brokers(broker_0="10.0.0.1")
        resolver = self.started()
        await self.answer(resolver, "broker-0.test")
        await self.server.until(lambda: self.server.watching(SLICES) == 1)
        self.server.refused["watch", SLICES] = 403
        self.server.end(SLICES)
        await self.until(lambda: resolver.state().error is not None)
        self.assertEqual(["10.0.0.1:6651"], await self.answer(resolver, "broker-0.test"))
        self.assertIn("cannot watch endpointslices", await self.fails(Unavailable, resolver, "broker-1.test"))
        self.brokers(broker_0="10.0.0.1", broker_1="10.0.0.2")
        self.server.refused.clear()
        await self.until(lambda: resolver.state().error is None and self.changes == 2)
        self.assertEqual(["10.0.0.2:6651"], await self.answer(resolver, "broker-1.test"))

    async def test_notes(self) -> None:
        """What cannot be used is in the state, and in the reasons."""
        ports = [{"name": "http", "port": 8080}, {"name": "tls", "port": 6651}]
        self.server.put(SLICES, endpoint_slice("broker-x", pod("broker-0", "10.0.0.1"), ports=ports))
        resolver = self.started()
        cure = "name the port by the option port; TCP ports: http (8080), tls (6651)"
        self.assertIn(cure, await self.fails(Unavailable, resolver, "broker-0.test"))
        self.assertIn(cure, str(resolver.state().error))
        named = self.started(port="tls")
        self.assertEqual(["10.0.0.1:6651"], await self.answer(named, "broker-0.test"))

    async def test_server_restarts(self) -> None:
        """A server that is away for a while is asked again from the last version; answers stay."""
        self.brokers(broker_0="10.0.0.1")
        resolver = self.started()
        await self.answer(resolver, "broker-0.test")
        await self.server.until(lambda: self.server.watching(SLICES) == 1)
        await self.server.close()
        self.brokers(broker_0="10.0.0.2")
        await self.until(lambda: resolver.state().error is not None)
        self.assertEqual(["10.0.0.1:6651"], await self.answer(resolver, "broker-0.test"))
        self.server.open()
        await self.until(lambda: self.changes == 2)
        self.assertEqual(["10.0.0.2:6651"], await self.answer(resolver, "broker-0.test"))
        self.assertEqual(1, len(self.server.requests("list", SLICES)))


class GatewayContractTests(ResolverContract, KubernetesCase):
    """The contract, with routes."""

    known = question("one.test")
    unknown = question("nobody.test")

    def setUp(self) -> None:
        super().setUp()
        self.server.put("gateways", gateway())
        self.server.put("services", service())
        self.server.put("tlsroutes", route("one", "one.test"))
        self.server.put(SLICES, endpoint_slice("broker-x", pod("broker-0", "10.0.0.1")))

    def make(self) -> Any:
        return self.resolver(gateway="gw", write_status=True)

    def silence(self) -> Any:
        self.server.silent = True
        return self.make()


class GatewayTests(KubernetesCase):
    """TLSRoutes of a Gateway."""

    def setUp(self) -> None:
        super().setUp()
        self.server.put("gateways", gateway())
        self.server.put("services", service())
        self.server.put("tlsroutes", route("one", "one.test"))
        self.server.put(SLICES, endpoint_slice("broker-x", pod("broker-0", "10.0.0.1")))

    def reasons(self, name: str) -> list[str]:
        status = self.server.objects["tlsroutes", "pulsar", name].get("status", {"parents": []})
        return [one["reason"] for parent in status["parents"] for one in parent["conditions"]]

    async def test_routes(self) -> None:
        """Routes come, change and go; their status follows. A name that was removed is refused at once."""
        resolver = self.started(gateway="gw", write_status=True)
        self.assertEqual(["10.0.0.1:6651"], await self.answer(resolver, "one.test"))
        self.assertEqual("TLSRoute pulsar/one: Service pulsar/broker, 1 endpoint", resolver.state().names["one.test"])
        await self.until(lambda: self.reasons("one") == ["Accepted", "ResolvedRefs"])
        self.server.put("tlsroutes", route("two", "two.test", backends=[{"name": "gone", "port": 1}]))
        await self.until(lambda: self.reasons("two") == ["Accepted", "BackendNotFound"])
        self.assertIn("gone: not found", await self.fails(Unavailable, resolver, "two.test"))
        self.assertIsNone(resolver.state().error)
        self.assertEqual("TLSRoute pulsar/two: Service pulsar/gone: not found", resolver.state().names["two.test"])
        self.server.delete("tlsroutes", "one")
        await self.until(lambda: "one.test" not in resolver.state().names)
        await self.fails(Refused, resolver, "one.test")
        self.server.put(SLICES, endpoint_slice("broker-x"))
        self.server.put("gateways", gateway(listener(hostname="x.test")))
        await self.until(lambda: self.reasons("two") == ["NoMatchingListenerHostname", "BackendNotFound"])

    async def test_read_only(self) -> None:
        """For sniproxyctl explain, the status is not written."""
        resolver = self.resolver(gateway="gw", write_status=True)
        written: list[Any] = []
        self.patch(resolver._source, "write", written.append)
        cached = CachedResolver("gateway", resolver, reactor)
        cached.start(read_only=True)
        self.addCleanup(cached.stop)
        await cached.ask(question("one.test"))
        self.assertEqual([], written)

    async def test_optional(self) -> None:
        """Without permission for ReferenceGrants none counts; the state has the cure, and names are still refused."""
        self.server.refused["list", "referencegrants"] = 403
        resolver = self.started(gateway="gw", all_namespaces=True)
        self.assertEqual(["10.0.0.1:6651"], await self.answer(resolver, "one.test"))
        await self.until(lambda: "referencegrants" in str(resolver.state().error))
        await self.fails(Refused, resolver, "two.test")

    async def test_revoked(self) -> None:
        """A client gets no connection after its route's ReferenceGrant was revoked, although the name has an answer."""
        self.server.put("services", service("far", "apps"))
        far = endpoint_slice("far-x", pod("far-0", "10.0.0.7"), **{"kubernetes.io/service-name": "far"})
        self.server.put(SLICES, {**far, "metadata": {**far["metadata"], "namespace": "apps"}})
        self.server.put("referencegrants", grant(to_name="far"))
        backends = [{"name": "far", "namespace": "apps", "port": 443}]
        self.server.put("tlsroutes", route("far", "far.test", backends=backends))
        resolver = self.resolver(gateway="gw", all_namespaces=True)
        cached = CachedResolver("gateway", resolver, reactor)
        cached.start()
        self.addCleanup(cached.stop)
        self.assertEqual("10.0.0.7", (await cached.ask(question("far.test"))).targets[0].host)
        self.server.delete("referencegrants", "grant", "apps")
        await self.until(lambda: "unresolved" in resolver.state().summary)
        with self.assertRaises(Unavailable):
            await cached.ask(question("far.test"))

    async def test_namespaces_refused(self) -> None:
        """A new listener that needs a missing permission does not stop updates; the state has the cure meanwhile."""
        self.server.refused["list", "namespaces"] = 403
        resolver = self.started(gateway="gw", all_namespaces=True)
        await self.answer(resolver, "one.test")
        selecting = listener("selecting", allowedRoutes={"namespaces": {"from": "Selector", "selector": {}}}, port=8443)
        self.server.put("gateways", gateway(listener(), selecting))
        await self.until(lambda: "namespaces" in str(resolver.state().error))
        self.server.put("tlsroutes", route("two", "two.test"))
        await self.until(lambda: "two.test" in resolver.state().names)
        self.server.put("gateways", gateway())
        await self.until(lambda: resolver.state().error is None)

    async def test_lost(self) -> None:
        """While one kind of objects cannot be watched, the answers stay, and the kind is named."""
        resolver = self.started(gateway="gw")
        await self.answer(resolver, "one.test")
        await self.server.until(lambda: self.server.watching("services") == 1)
        self.server.refused["watch", "services"] = 403
        self.server.end("services")
        await self.until(lambda: resolver.state().error)
        self.assertIn("allow list and watch on services in namespace pulsar", str(resolver.state().error))
        self.assertEqual(["10.0.0.1:6651"], await self.answer(resolver, "one.test"))
        self.assertEqual([], self.server.patches)


class TokenTests(KubernetesCase):
    """TLS and tokens."""

    async def test_rotated(self) -> None:
        """The API server is verified; a new token is used for the next request."""
        authority = trustme.CA()
        server = KubernetesServer(self, ServerTLS(authority, "127.0.0.1"))
        server.put(SLICES, endpoint_slice("broker-x", pod("broker-0", "10.0.0.1")))
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "token").write_text("first\n")
        authority.cert_pem.write_to_path(str(folder / "ca.crt"))
        server.accepted = {"first"}
        files = {"token_file": str(folder / "token"), "trust": str(folder / "ca.crt")}
        resolver = self.started(server=server.url, **files)
        self.assertEqual(["10.0.0.1:6651"], await self.answer(resolver, "broker-0.test"))
        await server.until(lambda: server.watching(SLICES) == 1)
        (folder / "new").write_text("second")
        os.replace(folder / "new", folder / "token")
        server.accepted = {"second"}
        server.end(SLICES)
        await server.until(lambda: server.watching(SLICES) == 1)
        self.assertEqual("second", server.tokens[-1])
        self.assertIsNone(resolver.state().error)
        server.accepted = set()
        server.end(SLICES)
        await self.until(lambda: resolver.state().error is not None)
        self.assertIn("401, the token or certificate is not valid", str(resolver.state().error))
