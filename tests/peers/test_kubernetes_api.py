"""The kubernetes resolver with Kubernetes' own API server: changes, restarts, tokens, permissions, and TLSRoutes."""

from __future__ import annotations

import random
from typing import Any

from sniproxy.resolvers.kubernetes import api
from sniproxy.testing import ResolverContract, question
from tests.peers.kubernetes import ACCOUNT, Object, documented_rules, until
from tests.peers.kubernetescase import PodsCase
from tests.support import gatewayapi

CHANGES = 300
"""Changes of one EndpointSlice."""

SHORT_WATCH_S = 2
"""Seconds of a watch, in place of a minute: a lost permission is noticed at its end."""

SLICES, ROUTES = documented_rules()


class ContractTests(ResolverContract, PodsCase):
    """The contract of all resolvers."""

    known = question("broker-0.test")
    unknown = question("broker-9.test")

    def make(self) -> Any:
        return self.resolver()

    def silence(self) -> Any:
        return self.resolver(server="https://127.0.0.1:1")


class ServiceTests(PodsCase):
    """Pods of a Service."""

    async def test_changes(self) -> None:
        """Each of many changes is followed, by the first watch and its successors, without another list."""
        self.patch(api, "WATCH_S", SHORT_WATCH_S)
        resolver = self.started()
        await until(lambda: self.hosts(resolver))
        for number in range(CHANGES):
            chosen = random.Random(number).sample(range(20), 3)
            addresses = {f"broker_{one}": f"10.{number % 250}.0.{one + 1}" for one in chosen}
            await self.brokers(**addresses)
            await self.follows(resolver, *addresses.values())
        (watcher,) = resolver._source.watchers()
        self.assertEqual((1, None), (watcher.lists, resolver.state().error))

    async def test_restart(self) -> None:
        """The last answer is served while the API server is away; what changes afterwards is followed."""
        resolver = self.started()
        await until(lambda: self.hosts(resolver))
        self.server.kill()
        await until(lambda: resolver.state().error)
        self.assertEqual(["10.0.0.1"], self.hosts(resolver))
        self.server.start()
        await self.server.until_ready()
        await self.brokers(broker_0="10.0.0.7")
        await self.follows(resolver, "10.0.0.7")
        await until(lambda: resolver.state().error is None)

    async def test_token(self) -> None:
        """A new token is used; one of an account that was replaced is refused, and the state says so."""
        self.patch(api, "WATCH_S", SHORT_WATCH_S)
        resolver = self.started()
        await until(lambda: self.hosts(resolver))
        await self.new_token()
        await self.server.delete("serviceaccounts", ACCOUNT)
        await self.server.create("serviceaccounts", {"metadata": {"name": ACCOUNT}})
        await until(lambda: "the token or certificate is not valid" in str(resolver.state().error))
        self.assertEqual(["10.0.0.1"], self.hosts(resolver))
        await self.new_token()
        await until(lambda: resolver.state().error is None)
        await self.brokers(broker_0="10.0.0.8")
        await self.follows(resolver, "10.0.0.8")

    async def test_permissions(self) -> None:
        """Without permission the last answer is served, and the state has the cure; with it, changes are followed."""
        self.patch(api, "WATCH_S", SHORT_WATCH_S)
        resolver = self.started()
        await until(lambda: self.hosts(resolver))
        await self.server.allow()
        cure = "allow list and watch on endpointslices.discovery.k8s.io in namespace pulsar by a Role"
        await until(lambda: cure in str(resolver.state().error))
        await self.brokers(broker_0="10.0.0.9")
        self.assertEqual(["10.0.0.1"], self.hosts(resolver))
        await self.server.allow(*SLICES)
        await until(lambda: resolver.state().error is None)
        await self.follows(resolver, "10.0.0.9")


class GatewayTests(PodsCase):
    """TLSRoutes, whose status the API server checks against the resources of the Gateway API."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.server.allow(*ROUTES)
        ports = [{"name": "tls", "port": 443, "protocol": "TCP"}]
        await self.server.put("services", {"metadata": {"name": "broker"}, "spec": {"ports": ports}})
        await self.gateway(gatewayapi.listener(hostname="*.example.com"))

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.server.until_ready()
        await self.server.clear("tlsroutes", "gateways")
        await super().tearDown()

    async def gateway(self, *listeners: Object) -> None:
        document = gatewayapi.gateway(*listeners)
        document["spec"]["gatewayClassName"] = "sniproxy"
        await self.server.put("gateways", document)

    async def route(self, name: str, *hostnames: str, **options: Any) -> None:
        document = gatewayapi.route(name, *hostnames, **options)
        await self.server.put("tlsroutes", {"metadata": {"name": name}, "spec": document["spec"]})

    async def test_routes(self) -> None:
        """Routes come, change and go, and the API server accepts their status."""
        resolver = self.started(gateway="gw", write_status=True)
        await self.route("one", "one.example.com")
        (parent,) = await self.reasons("one", ("Accepted", "ResolvedRefs"))
        self.assertEqual("sniproxy/gateway", parent["controllerName"])
        self.assertEqual({"group": gatewayapi.GROUP, "kind": "Gateway", "name": "gw"}, parent["parentRef"])
        self.assertEqual(["10.0.0.1"], self.hosts(resolver, "one.example.com"))
        await self.route("one", "two.test")
        await self.reasons("one", ("NoMatchingListenerHostname", "ResolvedRefs"))
        await self.follows(resolver, name="one.example.com")
        await self.route("one", "one.example.com", backends=[{"name": "gone", "port": 1}])
        (parent,) = await self.reasons("one", ("Accepted", "BackendNotFound"))
        self.assertEqual([3, 3], [one["observedGeneration"] for one in parent["conditions"]])
        await self.route("one", parents=[{"name": "gw", "sectionName": "none"}])
        await self.reasons("one", ("NoMatchingParent", "ResolvedRefs"))
        await self.gateway(gatewayapi.listener("none", protocol="HTTP", mode=None))
        await self.reasons("one", ("NotAllowedByListeners", "ResolvedRefs"))
        await self.route("one", parents=[{"name": "other"}])
        await self.reasons("one", ())
        self.assertEqual("0 TLSRoutes", resolver.state().summary)

    async def test_many(self) -> None:
        """Many routes get their status, and two proxies that write it leave each other's alone."""
        first = self.started(gateway="gw", write_status=True)
        second = self.started(gateway="gw", write_status=True)
        names = [f"route-{number}" for number in range(40)]
        for name in names:
            await self.route(name, f"{name}.example.com")
        for name in names:
            await self.reasons(name, ("Accepted", "ResolvedRefs"))
        for resolver in (first, second):
            await self.follows(resolver, "10.0.0.1", name=f"{names[-1]}.example.com")
            self.assertEqual("40 TLSRoutes", resolver.state().summary)
            self.assertIsNone(resolver.state().error)
        before = {name: await self.server.get("tlsroutes", name) for name in names}
        await self.brokers(broker_0="10.0.0.2")
        await self.follows(second, "10.0.0.2", name="route-7.example.com")
        self.assertEqual(before, {name: await self.server.get("tlsroutes", name) for name in names})

    async def test_status_refused(self) -> None:
        """Routes are served without the permission to write their status; the state has the cure."""
        await self.server.allow(*(one for one in ROUTES if one["verbs"] != ["patch"]))
        resolver = self.started(gateway="gw", write_status=True)
        await self.route("one", "one.example.com")
        await until(lambda: "allow patch on tlsroutes/status" in str(resolver.state().error))
        self.assertEqual(["10.0.0.1"], self.hosts(resolver, "one.example.com"))
        await self.server.allow(*ROUTES)
        await self.reasons("one", ("Accepted", "ResolvedRefs"))
        await until(lambda: resolver.state().error is None)
