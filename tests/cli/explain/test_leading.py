"""Tests for sniproxy.cli.explain.leading."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.explain.asking import Asking
from sniproxy.cli.explain.leading import Leading, Led, place
from sniproxy.cli.explain.why import Choices
from sniproxy.config.parser import parse
from sniproxy.interfaces import Request, Resolution, Target, Unavailable, WatchState
from sniproxy.server.build import build
from tests.cli.explain.scripted import Scripted, script, tables
from tests.support.proxies import LISTENER
from tests.support.sockets import SocketTestCase
from tests.support.tlsservers import reactor

A, B = Target("a.internal", 1), Target("b.internal", 1)


def cluster(request: Request) -> Resolution:
    """Two brokers, by their names and by that of the service."""
    known = {"a.z.test": [A], "b.z.test": [B], "vip.z.test": [A, B]}
    if request.server_name not in known:
        raise Unavailable("silent")
    return Resolution(known[request.server_name])


class PlaceTests(SynchronousTestCase):
    """What tells brokers apart."""

    def test_place(self) -> None:
        """Host and port; of a host that was looked up, the host."""
        self.assertEqual("a.internal:1", place(A))
        self.assertEqual("[::1]:1", place(Target("::1", 1)))
        self.assertEqual("a.internal:1", place(Target("10.0.0.1", 1, label="x", name="a.internal")))


class LeadingTests(SocketTestCase):
    """Which names lead where."""

    def leading(self, text: str) -> Leading:
        built = build(parse(text if "[[listener]]" in text else LISTENER + text, str(Path(self.mktemp()))), reactor)
        built.resolvers.activate()
        self.addCleanup(built.resolvers.stop)
        return Leading(Asking(built, reactor), Choices(built.configuration))

    async def led(self, text: str, listener: int = 0) -> Led:
        leading = self.leading(text)
        return await leading.led(leading.asking.built.configuration.listeners[listener])

    async def test_written(self) -> None:
        """Exact names and the targets that are written for them; places that a connection fills are none."""
        text = (
            '[[route]]\nserver_name = "vip.test"\ntarget = ["10.0.0.1 weight=2", "10.0.0.2", "{server_name}"]\n'
            '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.1"\n'
            '[[route]]\nserver_name = "*.test"\ntarget = "10.0.0.1"\n'
            "[[route]]\nserver_name = '~x'\ntarget = \"10.0.0.1\"\n"
        )
        wanted = {"vip.test": frozenset({"10.0.0.1:6651", "10.0.0.2:6651"}), "a.test": frozenset({"10.0.0.1:6651"})}
        self.assertEqual(wanted, await self.led(text))

    async def test_asked(self) -> None:
        """Exact names of resolvers, and the service name in a resolver's table, which a wildcard has."""
        more = (
            '[[route]]\nserver_name = "a.z.test"\nresolver = "p"\n[[route]]\nserver_name = "x.test"\nresolver = "p"\n'
        )
        for written in ('"VIP.z.test"', '["vip.z.test", "other.test", "no name"]'):
            resolver = Scripted(cluster, WatchState(""))
            script(self, p=resolver)
            found = await self.led(tables("p", more=more) + f"service_name = {written}\n")
            self.assertEqual(
                {
                    "vip.z.test": frozenset({"a.internal:1", "b.internal:1"}),
                    "a.z.test": frozenset({"a.internal:1"}),
                    "x.test": frozenset(),  # no answer
                },
                found,
            )

    async def test_listener(self) -> None:
        """A listener's own route shadows the general one, another's is none; a plaintext listener reads no names."""
        text = (
            LISTENER
            + '[[listener]]\nendpoint = "tcp:0"\nname = "two"\n'
            + '[[listener]]\nendpoint = "tcp:1:interface=127.0.0.1"\nplaintext = true\ntarget = "t"\n'
            + '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.2"\nlistener = "two"\n'
            + '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.1"\n'
        )
        self.assertEqual({"a.test": frozenset({"10.0.0.1:6651"})}, await self.led(text))
        self.assertEqual({"a.test": frozenset({"10.0.0.2:6651"})}, await self.led(text, 1))
        self.assertEqual({}, await self.led(text, 2))

    async def test_once(self) -> None:
        """Resolvers are asked once for a listener."""
        resolver = Scripted(lambda request: Resolution([A], 0), WatchState(""))
        script(self, p=resolver)
        leading = self.leading(tables("p", server_name="a.z.test"))
        for _ in range(2):
            await leading.led(leading.asking.built.configuration.listeners[0])
        self.assertEqual(1, len(resolver.asked))
