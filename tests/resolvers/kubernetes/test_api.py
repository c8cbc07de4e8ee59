"""Tests for sniproxy.resolvers.kubernetes.api."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.resolvers.http.client import Credentials
from sniproxy.resolvers.kubernetes.api import PAGE_OBJECTS, WATCH_GRACE_S, WATCH_S, APIFailure, KubernetesAPI, Resource
from sniproxy.resolvers.kubernetes.store import Expired, read_page
from tests.resolvers.adminserver import NetClock
from tests.support.kubernetesapi import KubernetesServer
from tests.support.reactor import as_reactor

SLICES = Resource("endpointslices", "discovery.k8s.io", ("v1",), "pulsar", {"labelSelector": "a=b"})
ROUTES = Resource("tlsroutes", "gateway.networking.k8s.io", ("v1", "v1alpha3"))


class ResourceTests(SynchronousTestCase):
    """Paths and names."""

    def test_paths(self) -> None:
        """The path of a collection, with and without a group and a namespace."""
        self.assertEqual("/apis/discovery.k8s.io/v1/namespaces/pulsar/endpointslices", SLICES.path("v1"))
        self.assertEqual("/api/v1/services", Resource("services", "", ("v1",)).path("v1"))
        self.assertEqual("endpointslices.discovery.k8s.io in namespace pulsar", str(SLICES))
        self.assertEqual("services in all namespaces", str(Resource("services", "", ("v1",))))


class APITests(TestCase):
    """Requests."""

    timeout = 30.0

    def setUp(self) -> None:
        self.server = KubernetesServer(self)
        self.clock = NetClock()
        self.api = KubernetesAPI(as_reactor(self.clock), self.server.url, Credentials(), 5.0)
        self.addCleanup(self.api.close)

    def request(self, coroutine: Any) -> Deferred[Any]:
        request: Deferred[Any] = Deferred.fromCoroutine(coroutine)
        return request

    async def fails(self, coroutine: Any) -> str:
        try:
            await coroutine
        except APIFailure as error:
            self.status = error.status
            return str(error)
        raise AssertionError("the request did not fail")

    async def test_list(self) -> None:
        """A page of a list, with the parameters of the resource; the token of a page asks for the next one."""
        self.server.page = 1
        for name in ("one", "two"):
            self.server.put("endpointslices", {"metadata": {"name": name, "labels": {"a": "b"}}})
        first = read_page(await self.api.list_page(SLICES, "v1", ""))
        second = read_page(await self.api.list_page(SLICES, "v1", first.metadata.continue_ or ""))
        self.assertEqual((1, 1, None), (len(first.items or ()), len(second.items or ()), second.metadata.continue_))
        parameters = {"limit": str(PAGE_OBJECTS), "labelSelector": "a=b"}
        self.assertEqual([parameters, {**parameters, "continue": "1"}], self.server.requests("list", "endpointslices"))

    async def test_watch(self) -> None:
        """A watch reports its beginning and each event until the server ends it."""
        self.server.put("tlsroutes", {"metadata": {"name": "old"}})
        seen: list[str] = []
        watch = self.request(self.api.watch(ROUTES, "v1", "101", lambda: seen.append("begun"), self.note(seen)))
        await self.server.until(lambda: self.server.watching("tlsroutes") == 1)
        self.server.put("tlsroutes", {"metadata": {"name": "new"}})
        self.server.end("tlsroutes")
        await watch
        self.assertEqual(["begun", "ADDED"], seen)
        (parameters,) = self.server.requests("watch", "tlsroutes")
        self.assertEqual("101", parameters["resourceVersion"])
        self.assertTrue(WATCH_S * 5 / 6 <= int(parameters["timeoutSeconds"]) <= WATCH_S, parameters)

    def note(self, seen: list[str]) -> Any:
        return lambda line: seen.append(line.split(b'"')[3].decode())

    async def test_receiver_fails(self) -> None:
        """An exception for an event ends the watch."""

        def event(line: bytes) -> None:
            raise Expired("why")

        watch = self.request(self.api.watch(ROUTES, "v1", "100", lambda: None, event))
        await self.server.until(lambda: self.server.watching("tlsroutes") == 1)
        self.server.put("tlsroutes", {"metadata": {"name": "new"}})
        await self.assertFailure(watch, Expired)

    async def test_gone(self) -> None:
        """410 asks for a new list."""
        self.server.oldest = 200
        watch = self.request(self.api.watch(ROUTES, "v1", "100", lambda: None, lambda _: None))
        await self.assertFailure(watch, Expired)
        self.server.refused["list", "tlsroutes"] = 410
        await self.assertFailure(self.request(self.api.list_page(ROUTES, "v1", "x")), Expired)

    async def test_patch(self) -> None:
        """A patch of a status; a conflict is an error with the server's message."""
        self.server.put("tlsroutes", {"metadata": {"name": "a"}})
        await self.api.patch_status(ROUTES, "v1", ("pulsar", "a"), {"status": {"parents": []}})
        self.assertEqual([(("tlsroutes", "pulsar", "a"), {"status": {"parents": []}})], self.server.patches)
        patch = {"metadata": {"resourceVersion": "1"}, "status": {}}
        said = await self.fails(self.api.patch_status(ROUTES, "v1", ("pulsar", "a"), patch))
        self.assertIn("cannot patch tlsroutes/status.gateway.networking.k8s.io in namespace pulsar: 409", said)
        self.assertIn("said Conflict", said)
        self.assertEqual(409, self.status)

    async def test_refused(self) -> None:
        """The cure of each refusal."""
        for status, cure in (
            (401, "the token or certificate is not valid"),
            (403, "allow list and watch on tlsroutes.gateway.networking.k8s.io in all namespaces by a ClusterRole"),
            (404, "no such resource in version v1 or v1alpha3"),
            (500, "said Forbidden"),
        ):
            self.server.refused["list", "tlsroutes"] = status
            self.assertIn(cure, await self.fails(self.api.list_page(ROUTES, "v1", "")))
            self.assertEqual(status, self.status)
        self.server.refused["patch", "tlsroutes"] = 403
        said = await self.fails(self.api.patch_status(ROUTES, "v1", ("pulsar", "a"), {}))
        self.assertIn("allow patch on tlsroutes/status.gateway.networking.k8s.io in namespace pulsar by a Role", said)

    async def test_silent(self) -> None:
        """A request without an answer ends, and so does a watch that the server does not end."""
        self.server.silent = True
        listing = self.request(self.api.list_page(SLICES, "v1", ""))
        await self.until_sent(1)
        self.clock.advance(5.0)
        self.assertIn("no answer within 5 s", await self.fails(listing))
        self.server.silent = False
        watch = self.request(self.api.watch(ROUTES, "v1", "100", lambda: None, lambda _: None))
        await self.server.until(lambda: self.server.watching("tlsroutes") == 1)
        self.clock.advance(WATCH_S + WATCH_GRACE_S)
        self.assertRegex(await self.fails(watch), "no answer within (3[5-9]|40) s")

    def until_sent(self, count: int) -> Deferred[None]:
        return self.server.until(lambda: len(self.server.tokens) == count)

    async def test_closed(self) -> None:
        """A server that is away."""
        await self.server.close()
        self.assertIn("cannot connect", await self.fails(self.api.list_page(SLICES, "v1", "")))
        self.assertIsNone(self.status)
