"""Tests for sniproxy.cli.explain.resolvers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sniproxy.cli.explain.resolvers import NoAnswer, ResolverQueries
from sniproxy.config.parser import parse
from sniproxy.interfaces import Resolution, WatchState
from sniproxy.resolvers.static import StaticResolver
from sniproxy.server.build import build
from tests.cli.explain.scripted import Scripted, answers, fails, refuses, script, tables
from tests.support.proxies import LISTENER
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase

ROUTE = '[[route]]\nserver_name = "a.test"\ntarget = "b.test"\n'


class ResolverQueriesTests(SocketTestCase):
    """Answers of resolvers, and the state of watching ones."""

    def queries(self, text: str) -> ResolverQueries:
        built = build(parse(LISTENER + text, str(Path(self.mktemp()))), reactor)
        built.resolvers.activate()
        self.addCleanup(built.resolvers.stop)
        return ResolverQueries(built, reactor)

    def no(self, queries: ResolverQueries, name: str | None) -> Deferred[NoAnswer]:
        configuration = queries.built.configuration
        asked: Deferred[Any] = Deferred.fromCoroutine(
            queries.query(name, configuration.listeners[0], configuration.routes[0])
        )
        return self.assertFailure(asked, NoAnswer)

    async def test_who(self) -> None:
        """With several resolvers: the one that answered, and why those before it did not."""
        second = Scripted(answers("b.test"), WatchState("1 broker"))
        script(self, f=Scripted(refuses, WatchState("2 names")), p=second)
        queries = self.queries(tables("f", "p"))
        configuration = queries.built.configuration
        (route,) = configuration.routes
        found = await queries.query("a.z.test", configuration.listeners[0], route)
        self.assertEqual("resolver.p (type scripted)", found.by)
        self.assertEqual(("f: refused: not here",), found.passed)
        self.assertEqual([("a", "a.z.test")], [(*asked.captures, asked.server_name) for asked in second.asked])

    async def test_one(self) -> None:
        """A single resolver, or the targets of the route, give the answer."""
        script(self, p=Scripted(answers("b.test"), WatchState("1 broker")))
        for text, by in (
            (tables("p"), "resolver.p (type scripted)"),
            ('[[route]]\nserver_name = "a.z.test"\ntarget = "b.test"\n', "route[0] (type static)"),
        ):
            queries = self.queries(text)
            configuration = queries.built.configuration
            found = await queries.query("a.z.test", configuration.listeners[0], configuration.routes[0])
            self.assertEqual((by, "b.test"), (found.by, found.resolution.targets[0].host))

    async def test_no_answer(self) -> None:
        """A refusal differs from a failure; with several resolvers, all reasons are reported."""
        script(self, f=Scripted(refuses, WatchState("")), p=Scripted(fails, WatchState("")))
        error = await self.no(self.queries(tables("f")), "a.z.test")
        self.assertEqual(("the resolver refused the name: not here", True), (str(error), error.refused))
        error = await self.no(self.queries(tables("f", "p")), "a.z.test")
        self.assertIn("f: refused: not here; p: ZooKeeper is silent", str(error))
        self.assertFalse(error.refused)

    async def test_bad_answers(self) -> None:
        """A resolver that does not answer in time, or returns no target, is a failure."""
        clock = Clock()
        queries = attrs.evolve(self.queries(f"{ROUTE}[timeouts]\nconnect = 3\n"), reactor=clock)
        self.patch(StaticResolver, "resolve", lambda self, request: Deferred())
        waiting = self.no(queries, "a.test")
        clock.advance(3)
        self.assertEqual("no answer from the resolver within 3 s", str(await waiting))
        for answer in (None, Resolution([])):
            self.patch(StaticResolver, "resolve", lambda self, request, answer=answer: answer)
            self.assertEqual("the resolver returned no target", str(await self.no(queries, "a.test")))

    async def test_probe(self) -> None:
        """A probe fails if the resolver does; a refusal is an answer."""
        for resolver, problem in (
            (Scripted(answers("b.test"), WatchState("")), None),
            (Scripted(refuses, WatchState("")), None),
            (
                Scripted(fails, WatchState("")),
                "probe with sniproxy-explain.z.test: the resolver failed: Unavailable: ZooKeeper is silent",
            ),
        ):
            script(self, p=resolver)
            queries = self.queries(tables("p"))
            configuration = queries.built.configuration
            (listener,), (route,) = configuration.listeners, configuration.routes
            probe: Deferred[Any] = Deferred.fromCoroutine(queries.probe(listener, route))
            if problem is None:
                await probe
            else:
                self.assertEqual(problem, str(await self.assertFailure(probe, NoAnswer)))
            self.assertEqual(["sniproxy-explain.z.test"], [asked.server_name for asked in resolver.asked])

    async def test_probe_of_other_routes(self) -> None:
        """The probe of a route without a wildcard has a name that never exists."""
        resolver = Scripted(answers("b.test"), WatchState(""))
        script(self, p=resolver)
        queries = self.queries(tables("p", server_name="a.z.test"))
        await queries.probe(queries.built.configuration.listeners[0], queries.built.configuration.routes[0])
        self.assertEqual(["sniproxy-explain.invalid"], [asked.server_name for asked in resolver.asked])

    async def test_watches(self) -> None:
        """The state of watching resolvers, and why the last refresh failed."""
        script(
            self,
            f=Scripted(refuses, WatchState("2 names")),
            p=Scripted(fails, WatchState("no brokers known", "connection refused")),
        )
        queries = self.queries(tables("f", "p") + '[default]\ntarget = "b.test"\n')
        configuration = queries.built.configuration
        (route,) = configuration.routes
        self.assertEqual(
            [
                "resolver.f (type scripted): 2 names",
                "resolver.p (type scripted): no brokers known; last refresh failed: connection refused",
            ],
            [str(watch) for watch in queries.watch_states(route.resolver)],
        )
        self.assertEqual("", queries.known_as(route.resolver, "a.z.test"))
        assert configuration.default is not None
        self.assertEqual((), queries.watch_states(configuration.default.resolver))
