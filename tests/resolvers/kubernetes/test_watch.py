"""Tests for sniproxy.resolvers.kubernetes.watch."""

from __future__ import annotations

from typing import Any

from sniproxy.resolvers.http.client import Credentials
from sniproxy.resolvers.kubernetes import watch as module
from sniproxy.resolvers.kubernetes.api import APIFailure, KubernetesAPI, Resource
from sniproxy.resolvers.kubernetes.objects import Bare
from sniproxy.resolvers.kubernetes.resolver import MAX_REBUILD_DELAY_S, REBUILD_DELAY_S
from sniproxy.resolvers.kubernetes.store import read_page
from sniproxy.resolvers.kubernetes.watch import MAX_PAUSE_S as LONGEST_PAUSE_S
from sniproxy.resolvers.kubernetes.watch import RELIST_FAILURES, Watcher
from tests.resolvers.kubernetes.case import KubernetesCase, logged_texts
from tests.support.reactor import reactor

ROUTES = Resource("tlsroutes", "gateway.networking.k8s.io", ("v1", "v1alpha3"), "pulsar")


class WatcherTests(KubernetesCase):
    """One watch."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(module, "MIN_PAUSE_S", 0.001)
        self.patch(module, "MAX_PAUSE_S", 0.01)
        self.patch(module, "MAX_ERROR_PAUSE_S", 0.01)
        self.logged = logged_texts(self)
        self.put("one")

    def put(self, name: str, **fields: Any) -> None:
        self.server.put("tlsroutes", {"metadata": {"name": name}, **fields})

    def watcher(self, optional: bool = False) -> Watcher[Bare]:
        api = KubernetesAPI(reactor, self.server.url, Credentials(), 5.0)
        self.addCleanup(api.close)

        def count() -> None:
            self.changes += 1

        watcher = Watcher(reactor, api, ROUTES, Bare, count, optional)
        watcher.start()
        self.addCleanup(watcher.stop)
        return watcher

    async def begun(self, optional: bool = False) -> Watcher[Bare]:
        """A watch that has begun."""
        watcher = self.watcher(optional)
        await self.server.until(lambda: self.server.watching("tlsroutes") == 1)
        return watcher

    def names(self, watcher: Watcher[Bare]) -> list[str]:
        return sorted(name for _, name in watcher.store.objects)

    async def test_pages(self) -> None:
        """A list of several pages."""
        self.server.page = 2
        for name in ("two", "three", "four"):
            self.put(name)
        watcher = await self.begun()
        self.assertEqual(["four", "one", "three", "two"], self.names(watcher))
        self.assertEqual((1, 1, True), (watcher.lists, self.changes, watcher.synced))
        self.assertEqual(2, len(self.server.requests("list", "tlsroutes")))

    async def test_many_pages(self) -> None:
        """The number of pages is bounded."""
        self.patch(module, "MAX_PAGES", 1)
        self.server.page = 1
        self.put("two")
        watcher = self.watcher()
        await self.until(lambda: watcher.error)
        self.assertIn("more than 1 pages", str(watcher.error))

    async def test_continues(self) -> None:
        """A watch that ends or is cut continues from the last version, also of a bookmark; nothing is listed again."""
        watcher = await self.begun()
        self.put("two")
        await self.until(lambda: len(watcher.store.objects) == 2)
        self.server.cut()
        self.put("three")
        await self.until(lambda: len(watcher.store.objects) == 3)
        self.server.version = 500
        self.server.bookmark("tlsroutes")
        await self.until(lambda: watcher.store.version == "500")
        self.server.end("tlsroutes")
        await self.server.until(lambda: self.server.watching("tlsroutes") == 1)
        self.assertEqual("500", self.server.requests("watch", "tlsroutes")[-1]["resourceVersion"])
        self.assertEqual((1, None), (watcher.lists, watcher.error))
        self.assertEqual([], [text for text in self.logged if "cannot watch" in text])

    async def test_expired(self) -> None:
        """After 410, in an event or as an answer, it lists again, and finds what has gone meanwhile."""
        watcher = await self.begun()
        self.server.delete("tlsroutes", "one")
        self.put("two")
        self.server.expire("tlsroutes")
        await self.until(lambda: watcher.lists == 2)
        self.assertEqual(["two"], self.names(watcher))
        await self.server.until(lambda: self.server.watching("tlsroutes") == 1)
        self.put("three")
        self.server.oldest = self.server.version = 900
        self.server.end("tlsroutes")
        await self.until(lambda: watcher.lists == 3)
        self.assertIsNone(watcher.error)

    async def test_garbage(self) -> None:
        """After an invalid event it lists again; the error is shown until then."""
        watcher = await self.begun()
        self.server.send("tlsroutes", b"<html>\n")
        await self.until(lambda: watcher.lists == 2)
        self.assertEqual(1, sum("invalid event" in text for text in self.logged))
        self.assertIsNone(watcher.error)
        self.assertIn("watching tlsroutes.gateway.networking.k8s.io in namespace pulsar again", self.logged)

    async def test_refused(self) -> None:
        """A refusal is logged once, and the watch continues when it is allowed again."""
        watcher = await self.begun()
        self.server.refused["watch", "tlsroutes"] = 403
        self.server.end("tlsroutes")
        await self.until(lambda: len(self.server.requests("watch", "tlsroutes")) > 5)
        self.assertIn("403", str(watcher.error))
        self.assertEqual(1, sum("access denied" in text for text in self.logged))
        self.server.refused.clear()
        self.put("two")
        await self.until(lambda: len(watcher.store.objects) == 2)
        self.assertEqual((1, None), (watcher.lists, watcher.error))

    async def test_followed_within_a_second(self) -> None:
        """The longest pause after a refusal or a lost connection, and the longest delay of an update."""
        self.assertLess(LONGEST_PAUSE_S + REBUILD_DELAY_S, 0.6)
        self.assertLessEqual(LONGEST_PAUSE_S + MAX_REBUILD_DELAY_S, 1.0)

    async def test_pauses(self) -> None:
        """Pauses grow up to a bound, which is larger after an error of the server than after a refusal or no answer."""
        self.patch(module, "MIN_PAUSE_S", 0.1)
        self.patch(module, "MAX_PAUSE_S", 1.0)
        self.patch(module, "MAX_ERROR_PAUSE_S", 5.0)
        self.patch(module, "uniform", lambda low, high: (low, high))
        api = KubernetesAPI(reactor, self.server.url, Credentials(), 5.0)
        watcher = Watcher(reactor, api, ROUTES, Bare, lambda: None)
        self.assertEqual(0.0, watcher._pause())
        for status, pauses in (
            (403, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
            (None, [1.0]),
            (500, [5.0]),
            (401, [1.0]),
            (200, [5.0]),
        ):
            for pause in pauses:
                watcher._failed(APIFailure("why", status))
                self.assertEqual((pause / 2, pause), watcher._pause())

    async def test_expired_pauses(self) -> None:
        """The first 410 has the short pauses; several in a row have the long ones, also with lists in between."""
        self.patch(module, "MIN_PAUSE_S", 0.1)
        self.patch(module, "MAX_PAUSE_S", 1.0)
        self.patch(module, "MAX_ERROR_PAUSE_S", 5.0)
        self.patch(module, "uniform", lambda low, high: high)
        api = KubernetesAPI(reactor, self.server.url, Credentials(), 5.0)
        watcher = Watcher(reactor, api, ROUTES, Bare, lambda: None)
        watcher._failures = 20
        for pause, lists, error in ((1.0, 1, False), (5.0, 2, False), (5.0, 3, False), (5.0, 3, True)):
            watcher._max_pause = 1.0
            watcher.lists = lists
            watcher._expired()
            self.assertEqual((pause, error), (watcher._pause(), watcher.error is not None))

    async def test_never_complete(self) -> None:
        """A list whose later page always gets 410 is an error, until a list is complete."""
        watcher = await self.begun()
        self.server.refused["continue", "tlsroutes"] = 410
        self.server.page = 1
        self.put("two")
        self.server.expire("tlsroutes")
        await self.until(lambda: watcher.error)
        self.assertIn("410 again before a list was complete", str(watcher.error))
        self.assertEqual((1, True), (watcher.lists, watcher.synced))
        self.server.refused.clear()
        await self.until(lambda: watcher.error is None)
        self.assertEqual((2, ["one", "two"]), (watcher.lists, self.names(watcher)))
        self.assertEqual(1, sum("cannot watch" in text for text in self.logged))

    async def test_watch_never_begins(self) -> None:
        """A watch that always gets 410 is replaced by complete lists, which is no error."""
        self.server.refused["watch", "tlsroutes"] = 410
        watcher = self.watcher()
        await self.until(lambda: watcher.lists > 3)
        self.assertIsNone(watcher.error)

    async def test_bad_list(self) -> None:
        """A list that cannot be used is an error with the long pauses."""
        self.patch(module, "MAX_PAUSE_S", 0.001)
        self.patch(module, "read_page", lambda body: read_page(b"<html>"))
        paused: list[float] = []

        def pause(low: float, high: float) -> float:
            paused.append(high)
            return 0.001

        self.patch(module, "uniform", pause)
        watcher = self.watcher()
        await self.until(lambda: len(paused) > 5)
        self.assertIn("invalid list", str(watcher.error))
        self.assertEqual(0.01, paused[-1])

    async def test_server_error(self) -> None:
        """After several server errors it lists again: the version may be of another server."""
        watcher = await self.begun()
        self.server.refused["watch", "tlsroutes"] = 504
        self.server.end("tlsroutes")
        await self.until(lambda: watcher.lists >= 2)
        self.assertGreaterEqual(len(self.server.requests("watch", "tlsroutes")), RELIST_FAILURES)

    async def test_versions(self) -> None:
        """An older version of the API is used if the cluster has no newer one."""
        self.server.versions["tlsroutes"] = ("gateway.networking.k8s.io", "v1alpha3")
        watcher = await self.begun()
        self.assertEqual((["one"], "v1alpha3"), (self.names(watcher), watcher.version))

    async def test_missing(self) -> None:
        """A kind that the cluster does not have is an error; an optional kind is empty."""
        del self.server.versions["tlsroutes"]
        watcher, optional = self.watcher(), self.watcher(optional=True)
        await self.until(lambda: watcher.error and optional.synced)
        self.assertIn("no such resource in version v1 or v1alpha3", str(watcher.error))
        self.assertEqual((False, None, {}), (watcher.synced, optional.error, optional.store.objects))

    async def test_optional_refused(self) -> None:
        """An optional kind that is refused is empty, and the refusal is shown."""
        self.server.refused["list", "tlsroutes"] = 403
        watcher = self.watcher(optional=True)
        await self.until(lambda: watcher.error)
        self.assertTrue(watcher.synced)

    async def test_lost_connections(self) -> None:
        """One lost connection is no error; more in a row are, until a watch has begun."""
        watcher = await self.begun()
        await self.server.close()
        await self.until(lambda: watcher.error)
        self.assertIn("cannot connect", str(watcher.error))
        self.server.open()
        await self.until(lambda: watcher.error is None)

    async def test_unexpected(self) -> None:
        """A fault of ours is logged, and ends only this watch."""

        def broken(line: bytes) -> bool:
            raise KeyError("ours")

        watcher = await self.begun()
        self.patch(watcher.store, "apply", broken)
        self.put("two")
        await self.until(lambda: watcher._running is not None and watcher._running.called)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))
        self.assertIn("unexpected error; see the log", str(watcher.error))

    async def test_not_started(self) -> None:
        """A watch that was not started can be stopped."""
        api = KubernetesAPI(reactor, self.server.url, Credentials(), 5.0)
        Watcher(reactor, api, ROUTES, Bare, lambda: None).stop()

    async def test_optional_removed(self) -> None:
        """An optional kind that the cluster has no more is empty again."""
        watcher = await self.begun(optional=True)
        del self.server.versions["tlsroutes"]
        self.server.oldest = 900
        self.server.expire("tlsroutes")
        await self.until(lambda: not watcher.store.objects)
        self.assertIsNone(watcher.error)
