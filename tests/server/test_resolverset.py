"""Tests for sniproxy.server.resolverset."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.interfaces import WatchState
from sniproxy.resolvers import makers_by_name
from sniproxy.resolvers.cache.fallback import FallbackResolver
from sniproxy.routing.brokernames import BrokerName
from sniproxy.server import resolverset
from sniproxy.server.build import build_routing
from sniproxy.server.resolverset import MAX_SHOWN_NAMES, Resolvers
from tests.resolvers.cache.scripted import Directory, Watching, request
from tests.support.proxies import LISTENER
from tests.support.sockets import HandClock


class ResolversTests(TestCase):
    """Making, starting and stopping resolvers."""

    def test_names(self) -> None:
        """The status has the first names of a watching resolver, and what each is."""
        watching = Watching()
        watching.says = WatchState("2 brokers", names={f"b{n}.test": "a\nb" for n in range(MAX_SHOWN_NAMES + 1)})
        self.patch(resolverset, "make_resolver", lambda *_: watching)
        resolvers = Resolvers(HandClock())
        text = f'{LISTENER}[[route]]\nserver_name = "a.test"\nresolver = "x"\n[resolver.x]\ntype = "static"\n'
        build_routing(parse(text, "x.toml"), HandClock(), resolvers)
        (status,) = resolvers.status()
        self.assertEqual((MAX_SHOWN_NAMES, "a\\nb"), (len(status.names), status.names["b0.test"]))

    def test_several_resolvers(self) -> None:
        """A list of resolvers uses the same resolvers as other routes."""
        text = (
            f'{LISTENER}[[route]]\nserver_name = "a.test"\nresolver = ["x", "y"]\n'
            '[[route]]\nserver_name = "b.test"\nresolver = "y"\n'
            '[resolver.x]\ntype = "static"\ntarget = "{1}"\n[resolver.y]\ntype = "static"\ntarget = "a"\n'
        )
        resolvers = Resolvers(HandClock())
        table = build_routing(parse(text, "x.toml"), HandClock(), resolvers).table
        route = table.match("a.test", "public")
        assert route is not None and isinstance(route.resolver, FallbackResolver)
        found = self.successResultOf(Deferred.fromCoroutine(route.resolver.resolve(request("a.test"))))
        self.assertEqual("a", found.targets[0].host)
        self.assertEqual(["x", "y"], [status.name for status in resolvers.status()])
        self.assertEqual([1, 0], [status.counts["refused"] for status in resolvers.status()])

    def test_one_discovery(self) -> None:
        """Plugin discovery runs once for all resolvers, and not at all for static targets."""
        looked: list[str] = []

        def look() -> dict[str, Any]:
            looked.append("again")
            return makers_by_name()

        self.patch(resolverset, "makers_by_name", look)
        text = "".join(f'[[route]]\nserver_name = "{number}.test"\ntarget = "a.test:1"\n' for number in range(9))
        build_routing(parse(LISTENER + text, "x.toml"), HandClock(), Resolvers(HandClock()))
        self.assertEqual([], looked)
        text = "".join(f'[resolver.r{number}]\ntype = "static"\ntarget = "a.test:1"\n' for number in range(9))
        text += "".join(f'[[route]]\nserver_name = "{number}.test"\nresolver = "r{number}"\n' for number in range(9))
        build_routing(parse(LISTENER + text, "x.toml"), HandClock(), Resolvers(HandClock()))
        self.assertEqual(["again"], looked)

    def test_bad_options(self) -> None:
        """Each bad option of a resolver's table is an error with its key and the cure."""
        table = '[resolver.x]\ntype = "file"\npath = 5\nodd = 1\n'
        error = self.assertRaises(
            ConfigError, self.build, f'{LISTENER}[[route]]\nserver_name = "a.test"\nresolver = "x"\n{table}'
        )
        odd, path = str(error).split("\n")
        self.assertEqual("x.toml: resolver.x.odd = 1: unknown option; known options: path, format", odd)
        self.assertTrue(path.startswith("x.toml: resolver.x.path = 5: write a "), path)

    def test_unknown_type(self) -> None:
        """A type that no plugin has is an error with those that there are."""
        text = f'{LISTENER}[[route]]\nserver_name = "a.test"\nresolver = "x"\n[resolver.x]\ntype = "odd"\n'
        error = self.assertRaises(ConfigError, self.build, text)
        self.assertIn('resolver.x.type = "odd": unknown resolver type', str(error))

    def build(self, text: str) -> None:
        """Build the routes of a configuration."""
        build_routing(parse(text, "x.toml"), HandClock(), Resolvers(HandClock()))

    def test_reload(self) -> None:
        """A reload keeps unchanged resolvers, starts new ones and stops dropped ones."""
        made: dict[str, list[Watching]] = {}

        def make(kind: str, options: Any, reactor: Any, folder: str, known: Any) -> Watching:
            made.setdefault(options["name"], []).append(Watching())
            return made[options["name"]][-1]

        self.patch(resolverset, "make_resolver", make)

        def resolvers(before: Resolvers | None, *tables: str) -> Resolvers:
            text = LISTENER
            for number, table in enumerate(tables):
                name = table[0]
                text += f'[[route]]\nserver_name = "{number}.test"\nresolver = "{name}"\n'
                text += f'[resolver.{name}]\ntype = "t"\nname = "{table}"\n'
            found = Resolvers(HandClock(), before)
            build_routing(parse(text, "x.toml"), HandClock(), found)
            return found

        first = resolvers(None, "a1", "b1", "c1")
        self.assertIsNone(made["a1"][0].started)
        first.activate()
        self.assertIsNotNone(made["a1"][0].started)
        made["c1"][0].ending = Deferred()
        second = resolvers(first, "a1", "b2")
        resolvers(first, "a2").cached.clear()  # a configuration that is never activated
        second.activate()
        self.assertEqual(1, len(made["a1"]))
        self.assertEqual([0, 1, 0, 1], [made[name][0].stopped for name in ("a1", "b1", "b2", "c1")])
        self.assertIsNotNone(made["b2"][0].started)
        self.assertIsNone(made["a2"][0].started)
        stopping = second.stop()
        self.assertEqual([1, 1], [made[name][0].stopped for name in ("a1", "b2")])
        self.assertNoResult(stopping)
        made["c1"][0].ending.callback(None)
        self.successResultOf(stopping)

    def test_names_of(self) -> None:
        """The first resolver that knows a broker gives its names; the others know none."""
        names = (BrokerName("broker-1.test", "external", True),)
        kinds: dict[str, Watching] = {"a": Watching(), "b": Directory(), "c": Directory()}
        kinds["c"].names = {("127.0.0.1", 6660): names}  # type: ignore[attr-defined]
        self.patch(resolverset, "make_resolver", lambda kind, *rest: kinds[kind])
        text = LISTENER
        for kind in kinds:
            text += f'[[route]]\nserver_name = "{kind}.test"\nresolver = "{kind}"\n[resolver.{kind}]\ntype = "{kind}"\n'
        resolvers = Resolvers(HandClock())
        build_routing(parse(text, "x.toml"), HandClock(), resolvers)
        self.assertEqual(names, resolvers.names_of("127.0.0.1", 6660))
        self.assertEqual((), resolvers.names_of("127.0.0.1", 6661))
