"""Tests for sniproxy.resolvers.kubernetes.statuswriter."""

from __future__ import annotations

from typing import Any

from sniproxy.resolvers.http.client import Credentials
from sniproxy.resolvers.kubernetes import statuswriter as module
from sniproxy.resolvers.kubernetes.api import KubernetesAPI, Resource
from sniproxy.resolvers.kubernetes.conditions import status_patch
from sniproxy.resolvers.kubernetes.gatewayobjects import GROUP, ParentRef, TLSRoute
from sniproxy.resolvers.kubernetes.listeners import Condition
from sniproxy.resolvers.kubernetes.statuswriter import StatusWriter
from sniproxy.resolvers.kubernetes.tlsroutes import ParentResult
from sniproxy.resolvers.kubernetes.watch import Watcher
from tests.resolvers.kubernetes.case import KubernetesCase, logged_texts
from tests.support.gatewayapi import route
from tests.support.reactor import reactor

GOOD = Condition(True, "Accepted", "served")
BAD = Condition(False, "NotAllowedByListeners", "why")
ROUTES = "tlsroutes"


def results(*names: str, accepted: Condition = GOOD) -> dict[tuple[str, str], list[ParentResult]]:
    """The same result for each route."""
    one = ParentResult(ParentRef("gw"), accepted, Condition(True, "ResolvedRefs", "found"))
    return {("pulsar", name): [one] for name in names}


class WriterTests(KubernetesCase):
    """Statuses that are written to the API server."""

    async def begin(self, *names: str) -> StatusWriter:
        """A writer, after the routes have been read."""
        for name in names:
            self.server.put(ROUTES, route(name))
        api = KubernetesAPI(reactor, self.server.url, Credentials(), 5.0)
        self.addCleanup(api.close)
        self.watcher = Watcher(reactor, api, Resource(ROUTES, GROUP, ("v1",), "pulsar"), TLSRoute, lambda: None)
        self.watcher.start()
        self.addCleanup(self.watcher.stop)
        await self.until(lambda: self.watcher.synced)
        writer = StatusWriter(reactor, api, self.watcher, "our/own")
        self.addCleanup(writer.stop)
        return writer

    def status(self, name: str) -> list[Any]:
        """The conditions of a route in the API server, as type, status and reason."""
        parents = self.server.objects[ROUTES, "pulsar", name].get("status", {}).get("parents", [])
        return [[one["status"], one["reason"]] for parent in parents for one in parent["conditions"]]

    async def test_writes(self) -> None:
        """Each status that is not right is written, once."""
        writer = await self.begin("a", "b", "c")
        writer.write(results("a", "b"))
        await self.until(lambda: writer._writing is None)
        self.assertEqual([["True", "Accepted"], ["True", "ResolvedRefs"]], self.status("a"))
        self.assertEqual([], self.status("c"))
        self.assertEqual(2, len(self.server.patches))
        await self.until(lambda: self.watcher.store.objects["pulsar", "b"].status)
        writer.write(results("a", "b"))
        await self.until(lambda: writer._writing is None)
        self.assertEqual((2, None), (len(self.server.patches), writer.error))

    async def test_unchanged(self) -> None:
        """A status that was right is looked at again only if the route or its results have changed."""
        looked: list[str] = []

        def recorded(route: TLSRoute, *more: Any) -> Any:
            looked.append(route.metadata.name)
            return status_patch(route, *more)

        self.patch(module, "status_patch", recorded)
        writer = await self.begin("a", "b")
        for known in (results(), results(), results("a")):
            writer.write(known)
            await self.until(lambda: writer._writing is None)
        await self.until(lambda: self.watcher.store.objects["pulsar", "a"].status)
        writer.write(results("a"))
        self.assertEqual(["a", "b", "a", "a"], looked)
        self.server.delete(ROUTES, "b")
        await self.until(lambda: len(self.watcher.store.objects) == 1)
        writer.write(results("a"))
        self.assertEqual([("pulsar", "a")], list(writer._right))

    async def test_while_writing(self) -> None:
        """Results that come while others are written are written afterwards."""
        writer = await self.begin("a")
        writer.write(results("a"))
        writer.write(results("a", accepted=BAD))
        await self.until(lambda: writer._writing is None)
        await self.until(lambda: self.watcher.store.objects["pulsar", "a"].status)
        writer.write(results("a", accepted=BAD))
        await self.until(lambda: self.status("a")[0] == ["False", "NotAllowedByListeners"])

    async def test_conflict(self) -> None:
        """A route that has changed or gone since it was read is left to the next update."""
        writer = await self.begin("a", "b")
        await self.server.until(lambda: self.server.watching(ROUTES) == 1)
        self.server.end(ROUTES)
        self.server.refused["watch", ROUTES] = 500
        self.server.put(ROUTES, route("a", "changed.test"))
        self.server.delete(ROUTES, "b")
        writer.write(results("a", "b"))
        await self.until(lambda: writer._writing is None)
        self.assertEqual(([], None), (self.server.patches, writer.error))

    async def test_refused(self) -> None:
        """A refusal is logged once with its cure, and tried again later."""
        self.patch(module, "RETRY_S", 0.01)
        logged = logged_texts(self)
        writer = await self.begin("a", "b")
        self.server.refused["patch", ROUTES] = 403
        writer.write(results("a", "b"))
        await self.until(lambda: len(self.server.requests("patch", ROUTES)) > 2)
        self.assertIn("allow patch on tlsroutes/status.gateway.networking.k8s.io", str(writer.error))
        self.assertEqual(1, sum("cannot write the status" in text for text in logged))
        self.server.refused.clear()
        await self.until(lambda: writer.error is None)
        self.assertEqual(2, len(self.server.patches))

    async def test_cleaned_up(self) -> None:
        """Entries that cannot be removed after the Gateway has gone are tried again later."""
        self.patch(module, "RETRY_S", 0.01)
        writer = await self.begin("a")
        writer.write(results("a"))
        await self.until(lambda: self.watcher.store.objects["pulsar", "a"].status)
        self.server.refused["patch", ROUTES] = 500
        writer.write({})
        await self.until(lambda: writer.error)
        self.server.refused.clear()
        await self.until(lambda: writer.error is None)
        self.assertEqual([], self.status("a"))

    async def test_stopped(self) -> None:
        """A stop ends a request in flight, and nothing is tried again."""
        writer = await self.begin("a")
        self.server.refused["patch", ROUTES] = 500
        writer.write(results("a"))
        await self.until(lambda: writer.error)
        self.server.silent = True
        writer.write(results("a"))
        writer.stop()
        self.assertEqual((None, False), (writer._writing, writer._retry.active()))

    async def test_other_error(self) -> None:
        """An error of one route does not stop the others."""
        writer = await self.begin("a", "b")
        self.server.refused["patch", ROUTES] = 422
        writer.write(results("a", "b"))
        await self.until(lambda: writer._writing is None)
        self.assertEqual(2, len(self.server.requests("patch", ROUTES)))
        writer.write(results("a", "b"))  # cancels the timer
        writer.stop()
        await self.until(lambda: writer._writing is None)
