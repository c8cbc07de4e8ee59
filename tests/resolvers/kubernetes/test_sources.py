"""Tests for sniproxy.resolvers.kubernetes.sources."""

from __future__ import annotations

from sniproxy.resolvers.http.client import Credentials
from sniproxy.resolvers.kubernetes.api import KubernetesAPI
from sniproxy.resolvers.kubernetes.options import GatewayOptions, ServiceOptions
from sniproxy.resolvers.kubernetes.pods import parse_template
from sniproxy.resolvers.kubernetes.sources import GatewaySource, ServiceSource
from tests.resolvers.kubernetes.case import KubernetesCase
from tests.support.gatewayapi import gateway, grant, listener, route, service
from tests.support.kubernetesapi import endpoint_slice, pod
from tests.support.reactor import reactor


class ServiceSourceTests(KubernetesCase):
    """The slices of a Service."""

    async def test_table(self) -> None:
        """The table has the pods of all slices of the Service, and of no other one."""
        self.server.put("endpointslices", endpoint_slice("one", pod("broker-0", "10.0.0.1")))
        self.server.put("endpointslices", endpoint_slice("two", pod("broker-1", "10.0.0.2")))
        other = endpoint_slice("three", pod("other-0", "10.0.0.3"), **{"kubernetes.io/service-name": "other"})
        self.server.put("endpointslices", other)
        api = KubernetesAPI(reactor, self.server.url, Credentials(), 5.0)
        options = ServiceOptions("broker", (parse_template("{pod}.test"),), (), None)
        source = ServiceSource(reactor, api, options, "pulsar", ())
        self.assertEqual(([], []), (source.watchers(), list(source.table().names())))
        source.start(lambda: None)
        self.addCleanup(source.stop)
        (watcher,) = source.watchers()
        await self.until(lambda: watcher.synced)
        table = source.table()
        source.write(table)
        self.assertEqual(["broker-0.test", "broker-1.test"], sorted(table.names()))
        self.assertIsNone(source.trouble())


class GatewaySourceTests(KubernetesCase):
    """The TLSRoutes of a Gateway."""

    def setUp(self) -> None:
        super().setUp()
        self.server.put("gateways", gateway())
        self.server.put("gateways", gateway(listener(hostname="x.test"), name="other"))
        self.server.put("services", service())
        self.server.put("endpointslices", endpoint_slice("broker-x", pod("broker-0", "10.0.0.1")))
        self.server.put("tlsroutes", route("one", "one.test"))

    def source(self, all_namespaces: bool = False, controller: str | None = None) -> GatewaySource:
        api = KubernetesAPI(reactor, self.server.url, Credentials(), 5.0)
        options = GatewayOptions("gw", (), all_namespaces, controller)
        source = GatewaySource(reactor, api, options, "pulsar", ())
        source.start(lambda: None)
        self.addCleanup(source.stop)
        return source

    async def synced(self, source: GatewaySource) -> None:
        await self.until(lambda: all(one.synced for one in source.watchers()))

    async def test_one_namespace(self) -> None:
        """Only the Gateway of this name, and objects of its namespace, are read."""
        self.server.put("tlsroutes", route("two", "two.test", namespace="apps"))
        source = self.source()
        await self.synced(source)
        table = source.table()
        self.assertEqual({"one.test"}, set(table.described))
        self.assertEqual("10.0.0.1:6651", str(table.resolution("one.test").targets[0]))
        self.assertEqual("metadata.name=gw", self.server.requests("list", "gateways")[0]["fieldSelector"])
        source.write(table)
        self.assertEqual([], self.server.requests("list", "referencegrants"))

    async def test_all_namespaces(self) -> None:
        """Routes of other namespaces that the listener allows, and Services that a ReferenceGrant permits."""
        self.server.put("gateways", gateway(listener(allowedRoutes={"namespaces": {"from": "All"}})))
        parents = [{"name": "gw", "namespace": "pulsar"}]
        backends = [{"name": "broker", "namespace": "pulsar", "port": 443}]
        two = route("two", "two.test", namespace="apps", parents=parents, backends=backends)
        self.server.put("tlsroutes", two)
        self.server.versions["referencegrants"] = ("gateway.networking.k8s.io", "v1beta1")
        self.server.put("referencegrants", grant(namespace="pulsar", source="apps"))
        source = self.source(all_namespaces=True)
        await self.synced(source)
        self.assertEqual("10.0.0.1:6651", str(source.table().resolution("two.test").targets[0]))
        self.assertEqual([], self.server.requests("list", "namespaces"))

    async def test_selected_namespaces(self) -> None:
        """Namespaces are read once a listener selects them by labels."""
        namespaces = {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}
        self.server.put("gateways", gateway(listener(allowedRoutes={"namespaces": namespaces})))
        parents = [{"name": "gw", "namespace": "pulsar"}]
        self.server.put("tlsroutes", route("two", "two.test", namespace="apps", parents=parents))
        self.server.put("namespaces", {"metadata": {"name": "apps", "labels": {"team": "a"}}})
        source = self.source(all_namespaces=True)
        await self.synced(source)
        await self.synced(source)  # the namespaces, too
        table = source.table()
        self.assertTrue(table.knows("two.test"))
        self.assertFalse(table.knows("one.test"))
        self.assertIn("NotAllowedByListeners", table.described["one.test"])

    async def test_no_right_to_namespaces(self) -> None:
        """Without the permission for Namespaces only a listener that selects them allows no route."""
        self.server.refused["list", "namespaces"] = 403
        self.server.put("namespaces", {"metadata": {"name": "pulsar"}})
        namespaces = {"from": "Selector", "selector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}
        selecting = listener("selecting", allowedRoutes={"namespaces": namespaces}, port=8443)
        self.server.put("gateways", gateway(listener(), selecting))
        self.server.put("tlsroutes", route("two", "two.test", parents=[{"name": "gw", "sectionName": "selecting"}]))
        source = self.source(all_namespaces=True)
        await self.synced(source)
        await self.synced(source)  # the namespaces, too
        table = source.table()
        self.assertEqual((True, False), (table.knows("one.test"), table.knows("two.test")))
        (watcher,) = [one for one in source.watchers() if one.error is not None]
        self.assertIn("allow list and watch on namespaces", str(watcher.error))
        self.assertTrue(watcher.optional)
        self.server.put("gateways", gateway())
        await self.until(lambda: len(source.watchers()) == 5)
        asked = len(self.server.requests("list", "namespaces"))
        self.server.put("gateways", gateway(listener(), selecting))
        self.server.refused.clear()
        await self.until(lambda: len(source.watchers()) == 6)
        await self.until(lambda: source.table().knows("two.test"))
        self.assertEqual(asked + 1, len(self.server.requests("list", "namespaces")))

    async def test_no_grants(self) -> None:
        """A cluster without ReferenceGrants permits none."""
        del self.server.versions["referencegrants"]
        source = self.source(all_namespaces=True)
        await self.synced(source)
        self.assertEqual({"one.test"}, set(source.table().described))

    async def test_status(self) -> None:
        """The status is written if the configuration says so; an error of it is shown."""
        self.server.refused["patch", "tlsroutes"] = 403
        source = self.source(controller="our/own")
        await self.synced(source)
        source.write(source.table())
        await self.until(source.trouble)
        self.server.refused.clear()
        source.write(source.table())
        await self.until(lambda: self.server.patches and source.trouble() is None)
        ((_, patch),) = self.server.patches
        self.assertEqual("our/own", patch["status"]["parents"][0]["controllerName"])
