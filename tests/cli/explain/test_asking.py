"""Tests for sniproxy.cli.explain.asking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.cli.explain.asking import Asking, NoAnswer
from sniproxy.config.parser import parse
from sniproxy.interfaces import (
    WatchState,
)
from sniproxy.server.build import build
from tests.cli.explain.scripted import Scripted, answers, fails, refuses, script, tables
from tests.support.proxies import LISTENER
from tests.support.sockets import SocketTestCase
from tests.support.tlsservers import reactor


class AskingTests(SocketTestCase):
    """Who answers, and what those know that watch."""

    def asking(self, text: str) -> Asking:
        built = build(parse(LISTENER + text, str(Path(self.mktemp()))), reactor)
        built.resolvers.activate()
        self.addCleanup(built.resolvers.stop)
        return Asking(built, reactor)

    async def no(self, asking: Asking, name: str | None) -> NoAnswer:
        configuration = asking.built.configuration
        asked: Deferred[Any] = Deferred.fromCoroutine(
            asking.ask(name, configuration.listeners[0], configuration.routes[0])
        )
        error: NoAnswer = await self.assertFailure(asked, NoAnswer)
        return error

    async def test_who(self) -> None:
        """Of several it is told which one answered, and why those before it did not."""
        second = Scripted(answers("b.test"), WatchState("1 broker"))
        script(self, f=Scripted(refuses, WatchState("2 names")), p=second)
        asking = self.asking(tables("f", "p"))
        configuration = asking.built.configuration
        (route,) = configuration.routes
        found = await asking.ask("a.z.test", configuration.listeners[0], route)
        self.assertEqual("resolver.p (type scripted)", found.by)
        self.assertEqual(("f: refused: not here",), found.passed)
        self.assertEqual([("a", "a.z.test")], [(*asked.captures, asked.server_name) for asked in second.asked])

    async def test_one(self) -> None:
        """One alone is the one that answers; targets of a route are its own answer."""
        script(self, p=Scripted(answers("b.test"), WatchState("1 broker")))
        for text, by in (
            (tables("p"), "resolver.p (type scripted)"),
            ('[[route]]\nserver_name = "a.z.test"\ntarget = "b.test"\n', "route[0] (type static)"),
        ):
            asking = self.asking(text)
            configuration = asking.built.configuration
            found = await asking.ask("a.z.test", configuration.listeners[0], configuration.routes[0])
            self.assertEqual((by, "b.test"), (found.by, found.resolution.targets[0].host))

    async def test_no_answer(self) -> None:
        """A refusal is told from a failure; of several, the reasons of all are there."""
        script(self, f=Scripted(refuses, WatchState("")), p=Scripted(fails, WatchState("")))
        error = await self.no(self.asking(tables("f")), "a.z.test")
        self.assertEqual(("the resolver refuses it: not here", True), (str(error), error.refused))
        error = await self.no(self.asking(tables("f", "p")), "a.z.test")
        self.assertIn("f: refused: not here; p: ZooKeeper is silent", str(error))
        self.assertFalse(error.refused)

    async def test_watches(self) -> None:
        """What those know that watch, and why their last look failed."""
        script(
            self,
            f=Scripted(refuses, WatchState("2 names")),
            p=Scripted(fails, WatchState("no brokers known", "connection refused")),
        )
        asking = self.asking(tables("f", "p") + '[default]\ntarget = "b.test"\n')
        configuration = asking.built.configuration
        (route,) = configuration.routes
        self.assertEqual(
            [
                "resolver.f (type scripted): 2 names",
                "resolver.p (type scripted): no brokers known; its last look failed: connection refused",
            ],
            [str(watch) for watch in asking.watches(route.resolver)],
        )
        assert configuration.default is not None
        self.assertEqual((), asking.watches(configuration.default.resolver))
