"""Tests for sniproxy.server.drain: a rate with jitter, and real tunnels."""

from __future__ import annotations

import random
import socket
from typing import Any, cast

import attrs
from msgspec.structs import astuple
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.sources import UnknownDrainTarget
from sniproxy.config.parser import parse
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Connection, Result
from sniproxy.interfaces import Target
from sniproxy.relay.relay import Ending
from sniproxy.routing.upstreams import DrainTarget, UpstreamTable
from sniproxy.server.drain import IDLE_INTERVAL_S, MAX_NAMED, ROUND_S, DrainManager, find_drain_target
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy, open_tunnel
from tests.support.sockets import SocketTestCase, in_thread, read_to_end

TARGET = Target("10.0.0.1", 6651)
GOAL = DrainTarget("target", "10.0.0.1:6651")


def open_connections(upstreams: UpstreamTable) -> dict[str, int]:
    """The open connections of each target."""
    return {key: one.connections for key, one in upstreams.stats.known.items()}


@attrs.define(eq=False)
class Tunnel:
    """The part of a connection that a drain uses."""

    number: int
    house: list[Tunnel]
    tunnelling: bool = True
    ended: bool = False
    bytes_up: int = 1000
    bytes_down: int = 0
    target: Target = TARGET
    record: Connection = attrs.field(
        default=attrs.Factory(lambda self: Connection("", 0.0, "", f"192.0.2.1:{self.number}"), takes_self=True)
    )

    def end(self, ending: Ending) -> None:
        assert ending.result is Result.DRAINED
        self.ended = True
        self.house.remove(self)


class RateTests(SynchronousTestCase):
    """The rate of a drain, and its target."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.live: list[Tunnel] = []
        self.live.extend(Tunnel(number, self.live) for number in range(100))
        self.standing = UpstreamTable()
        self.drains = DrainManager(
            self.clock, self.standing, lambda: cast(list[Lifecycle], list(self.live)), lambda: 7.0, random.Random(1)
        )

    def advance(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds * 100))

    def test_rate(self) -> None:
        """Tunnels end at the rate, at uneven intervals, and, if all are silent, in random order."""
        status = self.drains.begin(GOAL, 10)
        self.assertEqual((7.0, 10, 0, 100, MAX_NAMED), (*astuple(status)[2:5], status.left, len(status.clients)))
        self.assertEqual(100, len(self.live))
        self.advance(5)
        self.assertTrue(35 <= 100 - len(self.live) <= 65, len(self.live))
        self.assertNotEqual(list(range(len(self.live))), [one.number for one in self.live])
        self.advance(10)
        self.assertEqual([], self.live)
        (status,) = self.drains.status()
        self.assertEqual((100, 0), (status.closed, status.left))

    def test_silent_first(self) -> None:
        """Tunnels without traffic since the last round end first, also if they had some before."""
        self.drains.begin(GOAL, 10)
        for first in (0, 20):
            busy = self.live[first : first + 20]
            for tenth in range(30):
                if tenth == 2 * ROUND_S * 10:
                    kept = [one for one in busy if not one.ended]
                for tunnel in busy:
                    tunnel.bytes_down += 5
                self.advance(0.1)
            self.assertGreater(len(kept), 9)
            self.assertEqual([], [one for one in kept if one.ended])

    def test_since(self) -> None:
        """The beginning of the drain of a target, by its address or label, or of a route."""
        self.drains.begin(DrainTarget("target", "broker-1"), 0.001)
        self.drains.begin(DrainTarget("route", "a.test"), 0.001)
        self.assertEqual([7.0, None], [self.drains.since(None, names) for names in (("x", "broker-1"), ("a.test",))])
        self.assertEqual([7.0, None], [self.drains.since(route) for route in ("a.test", "broker-1")])

    def test_fast(self) -> None:
        """A high rate ends several tunnels in a round."""
        self.drains.begin(GOAL, 1000)
        self.advance(0.3)
        self.assertEqual([], self.live)

    def test_late(self) -> None:
        """A connection that becomes a tunnel later is ended too. Only ended tunnels are counted."""
        self.live[1:] = []
        self.live[0].tunnelling = False
        self.drains.begin(GOAL, 10)
        self.advance(2)
        self.assertEqual(1, len(self.live))
        self.live[0].tunnelling = True
        self.advance(2 * IDLE_INTERVAL_S)
        self.assertEqual([], self.live)
        self.assertEqual(1, self.drains.status()[0].closed)

    def test_undo(self) -> None:
        """After a cancellation, in any spelling, no tunnel is ended, and the target gets new connections."""
        self.drains.begin(GOAL, 10)
        self.assertEqual([], self.standing.usable(None, [TARGET]))
        status = self.drains.undo("10.0.0.1")
        self.assertEqual(100, status.left)
        self.assertEqual([TARGET], self.standing.usable(None, [TARGET]))
        self.assertEqual([], self.clock.getDelayedCalls())
        error = self.assertRaises(UnknownDrainTarget, self.drains.undo, "10.0.0.1")
        self.assertEqual("10.0.0.1 is not being drained; being drained: nothing", str(error))

    def test_again(self) -> None:
        """A second request changes the rate; a stop of the proxy ends the drain."""
        self.drains.begin(GOAL, 0.001)
        self.drains.begin(GOAL, 1000)
        self.advance(0.3)
        self.assertEqual([], self.live)
        self.assertEqual(1, len(self.drains.status()))
        self.drains.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_goals(self) -> None:
        """A route is found by name, a target by its address in any spelling or by label; else the error lists names."""
        configuration = parse(LISTENER + route("10.0.0.1", "a.test"), "x.toml")
        self.live[0].target = Target("10.0.0.9", 1, label="broker-9")
        live: Any = self.live
        seen = ["[2001:db8::7]:1"]
        for name, goal in (
            ("a.test", DrainTarget("route", "a.test")),
            ("10.0.0.1:6651", GOAL),
            ("pulsar+ssl://10.0.0.1:6651/", GOAL),
            ("[2001:db8::7]:1", DrainTarget("target", "[2001:db8::7]:1")),
            ("broker-9", DrainTarget("target", "broker-9")),
            ("A.Test.", DrainTarget("route", "a.test")),
            ("10.0.0.1", GOAL),
            ("[2001:DB8:0::7]:1", DrainTarget("target", "[2001:db8::7]:1")),
            ("10.0.0.9:1", DrainTarget("target", "10.0.0.9:1")),
        ):
            self.assertEqual(goal, find_drain_target(name, configuration, live, seen), name)
        for name, said in (
            ("b.test", "b.test: no such route or target"),
            ("b:x", "bad port"),
            ("", "no such route or target"),
        ):
            self.assertIn(
                said, str(self.assertRaises(UnknownDrainTarget, find_drain_target, name, configuration, live))
            )

    def test_nothing_leads_there(self) -> None:
        """A target without a route is refused, with a list of the routes' targets."""
        configuration = parse(LISTENER + route("10.0.0.1", "a.test"), "x.toml")
        for name in ("10.0.0.1:6652", "10.0.0.2", "a.test:6651", "[2001:db8::7]:1"):
            error = self.assertRaises(UnknownDrainTarget, find_drain_target, name, configuration, ())
            self.assertTrue(str(error).endswith("; route a.test leads to 10.0.0.1:6651"), str(error))

    def test_many_routes(self) -> None:
        """The error lists the first routes, and the number of others."""
        text = LISTENER + "".join(route(f"10.0.0.{number}", f"r{number}.test") for number in range(1, 40))
        error = str(self.assertRaises(UnknownDrainTarget, find_drain_target, "b.test", parse(text, "x.toml"), ()))
        self.assertTrue(error.endswith("; route r10.test leads to 10.0.0.10:6651; and 29 more routes"), error)

    def test_template(self) -> None:
        """It accepts only targets that some server name can form."""
        text = LISTENER + '[[route]]\nserver_name = "*.a.test"\ntarget = "{1}.Internal.test"\n'
        configuration = parse(text, "x.toml")
        for name in ("broker-1.internal.test", "BROKER-1.internal.test:6651"):
            goal = find_drain_target(name, configuration, ())
            self.assertEqual(DrainTarget("target", "broker-1.internal.test:6651"), goal)
        for name in ("broker-1.internal.test:6650", "broker-1.other.test"):
            self.assertRaises(UnknownDrainTarget, find_drain_target, name, configuration, ())

    def test_template_of_a_route(self) -> None:
        """Names that a route does not match, and ports without a listener, form no target."""
        text = LISTENER.replace("tcp:0", "tcp:4443")
        text += '[[route]]\nserver_name = "*.a.test"\ntarget = "{server_name}:6651"\n'
        text += '[[route]]\nserver_name = "~b[0-9]\\\\.test"\ntarget = "{server_name}:{port}"\n'
        configuration = parse(text, "x.toml")
        for name in ("x.a.test", "X.A.test:6651", "b1.test:4443"):
            self.assertEqual("target", find_drain_target(name, configuration, ()).kind)
        for name in ("x.test", "a.test", "10.0.0.1", "b1.test:4444", "bx.test:4443", "x.b.test:6651"):
            self.assertRaises(UnknownDrainTarget, find_drain_target, name, configuration, ())

    def test_undo_spelling(self) -> None:
        """A drain can be cancelled in another spelling."""
        for goal, name in ((GOAL, "pulsar+ssl://10.0.0.1/"), (DrainTarget("route", "a.test"), "A.test.")):
            self.drains.begin(goal, 1)
            self.assertEqual(goal.name, self.drains.undo(name).name)

    def test_looked_at_seldom(self) -> None:
        """With many connections, the remaining ones are counted at most once a second."""
        self.live.extend(Tunnel(number, self.live) for number in range(300))
        self.drains.begin(GOAL, 0.001)
        del self.live[10:]
        self.assertEqual(400, self.drains.status()[0].left)
        self.clock.advance(1)
        self.assertEqual(10, self.drains.status()[0].left)


class TunnelTests(SocketTestCase):
    """Drains of a running proxy."""

    async def tunnel(self, proxy: Proxy, backend: Backend) -> tuple[socket.socket, socket.socket]:
        return await open_tunnel(self, proxy, backend, NAME)

    async def test_target(self) -> None:
        """A drained target gets no new connection, and its tunnel a FIN, until the drain is cancelled."""
        one, two = Backend(self), Backend(self)
        proxy = Proxy(self, f'[[route]]\nserver_name = "{NAME}"\ntarget = ["{one.address}", "{two.address}"]\n')
        client, upstream = await self.tunnel(proxy, one)
        self.assertEqual(1, proxy.service.view.drain(one.address, 1000).left)
        self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertEqual(b"", await in_thread(read_to_end, upstream))
        record = await proxy.ended()
        self.assertEqual((Result.DRAINED, f"target {one.address} is being drained"), (record.result, record.reason))
        for _ in range(3):
            await self.tunnel(proxy, two)
        (status,) = proxy.service.view.status().drains
        self.assertEqual((1, 0, 1), (status.closed, status.left, status.refused))
        proxy.service.view.undrain(one.address)
        await self.tunnel(proxy, one)

    async def test_nobody_else(self) -> None:
        """If a route has no other target, its new connections are closed, and the record has the reason."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        proxy.service.view.drain(NAME, 10)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertEqual((Result.CONNECT_FAILED, None), (record.result, record.alert))
        self.assertEqual(f"drained: {backend.address}", record.reason)

    async def test_reload(self) -> None:
        """A drain survives a reload."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        proxy.service.view.drain(backend.address, 10)
        self.assertIsNone(proxy.service.reload(lambda: parse(LISTENER + route(backend.address), "test.toml")))
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertIn("drained", (await proxy.ended()).reason)

    async def test_failed_target_is_left(self) -> None:
        """A failed target has no connection when the next one is connected."""
        backend = Backend(self)
        proxy = Proxy(self, f'[[route]]\nserver_name = "{NAME}"\ntarget = ["127.0.0.1:1", "{backend.address}"]\n')
        client, upstream = await self.tunnel(proxy, backend)
        standing = proxy.service._upstreams
        self.assertEqual({"127.0.0.1:1": 0, backend.address: 1}, open_connections(standing))
        client.close()
        upstream.close()
        await proxy.ended()
        self.assertEqual({"127.0.0.1:1": 0, backend.address: 0}, open_connections(standing))
