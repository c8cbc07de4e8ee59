"""Tests for sniproxy.cli.explain.brokernames."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.explain.brokernames import BrokerNames, PlacesByName, place
from sniproxy.cli.explain.resolvers import ResolverQueries
from sniproxy.cli.explain.routes import RouteChooser
from sniproxy.config.parser import parse
from sniproxy.interfaces import Request, Resolution, Target, Unavailable, WatchState
from sniproxy.server.build import build
from tests.cli.explain.scripted import Scripted, script, tables
from tests.support.proxies import LISTENER
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase

A, B = Target("a.internal", 1), Target("b.internal", 1)


def cluster(request: Request) -> Resolution:
    """Two brokers, by their names and by that of the service."""
    known = {"a.z.test": [A], "b.z.test": [B], "vip.z.test": [A, B]}
    if request.server_name not in known:
        raise Unavailable("silent")
    return Resolution(known[request.server_name])


class PlaceTests(SynchronousTestCase):
    """The broker behind a target."""

    def test_place(self) -> None:
        """Host and port; after a lookup, the original host."""
        self.assertEqual("a.internal:1", place(A))
        self.assertEqual("[::1]:1", place(Target("::1", 1)))
        self.assertEqual("a.internal:1", place(Target("10.0.0.1", 1, label="x", name="a.internal")))


class BrokerNamesTests(SocketTestCase):
    """The brokers of each name."""

    def names(self, text: str) -> BrokerNames:
        built = build(parse(text if "[[listener]]" in text else LISTENER + text, str(Path(self.mktemp()))), reactor)
        built.resolvers.activate()
        self.addCleanup(built.resolvers.stop)
        return BrokerNames(ResolverQueries(built, reactor), RouteChooser(built.configuration))

    async def places(self, text: str, listener: int = 0) -> PlacesByName:
        names = self.names(text)
        return await names.places(names.queries.built.configuration.listeners[listener])

    async def test_written(self) -> None:
        """Exact names and their targets; targets with placeholders are ignored."""
        text = (
            '[[route]]\nserver_name = "vip.test"\ntarget = ["10.0.0.1 weight=2", "10.0.0.2", "{server_name}"]\n'
            '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.1"\n'
            '[[route]]\nserver_name = "*.test"\ntarget = "10.0.0.1"\n'
            "[[route]]\nserver_name = '~x'\ntarget = \"10.0.0.1\"\n"
        )
        wanted = {"vip.test": frozenset({"10.0.0.1:6651", "10.0.0.2:6651"}), "a.test": frozenset({"10.0.0.1:6651"})}
        self.assertEqual(wanted, await self.places(text))

    async def test_asked(self) -> None:
        """Exact names with resolvers, and the service name of a resolver behind a wildcard."""
        more = (
            '[[route]]\nserver_name = "a.z.test"\nresolver = "p"\n[[route]]\nserver_name = "x.test"\nresolver = "p"\n'
        )
        for written in ('"VIP.z.test"', '["vip.z.test", "other.test", "no name"]'):
            resolver = Scripted(cluster, WatchState(""))
            script(self, p=resolver)
            found = await self.places(tables("p", more=more) + f"service_name = {written}\n")
            self.assertEqual(
                {
                    "vip.z.test": frozenset({"a.internal:1", "b.internal:1"}),
                    "a.z.test": frozenset({"a.internal:1"}),
                    "x.test": frozenset(),  # no answer
                },
                found,
            )

    async def test_listener(self) -> None:
        """A route of the listener shadows the general one; other listeners are ignored; plaintext has no names."""
        text = (
            LISTENER
            + '[[listener]]\nendpoint = "tcp:0"\nname = "two"\n'
            + '[[listener]]\nendpoint = "tcp:1:interface=127.0.0.1"\nplaintext = true\ntarget = "t"\n'
            + '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.2"\nlistener = "two"\n'
            + '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.1"\n'
        )
        self.assertEqual({"a.test": frozenset({"10.0.0.1:6651"})}, await self.places(text))
        self.assertEqual({"a.test": frozenset({"10.0.0.2:6651"})}, await self.places(text, 1))
        self.assertEqual({}, await self.places(text, 2))

    async def test_once(self) -> None:
        """Resolvers are queried once for a listener."""
        resolver = Scripted(lambda request: Resolution([A], 0), WatchState(""))
        script(self, p=resolver)
        names = self.names(tables("p", server_name="a.z.test"))
        for _ in range(2):
            await names.places(names.queries.built.configuration.listeners[0])
        self.assertEqual(1, len(resolver.asked))
