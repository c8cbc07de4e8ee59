"""The stop of a running proxy, and its connections."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Result
from sniproxy.net.listener import LAST_CALL_S
from sniproxy.net.synfilter import welcome_new
from sniproxy.relay.relay import Ending
from sniproxy.server.shutdown import Shutdown
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy, open_tunnel
from tests.support.sockets import HandClock, SocketTestCase, in_thread, read_exactly, read_to_end


class AtOnceTests(SocketTestCase):
    """A stop without a drain."""

    async def test_told_before(self) -> None:
        """After end_now, a stop does not drain."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        await open_tunnel(self, proxy, backend, NAME)
        proxy.service._shutdown._at_once = True
        await proxy.service.stopService()
        self.assertEqual(Result.SHUTDOWN, proxy.records[0].result)


class Tunnel:
    """A tunnel that ends at once when it is told to. @ivar reason: why it was ended."""

    tunnelling = True

    def __init__(self, live: dict[Any, None]) -> None:
        self._live = live
        self.bytes_up = self.bytes_down = 0
        self.reason = ""
        live[self] = None

    def end(self, ending: Ending) -> None:
        """End it."""
        assert ending.result is Result.DRAINED
        self.reason = ending.reason
        del self._live[self]


class SpreadTests(SynchronousTestCase):
    """The drain time is used as a whole."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.live: dict[Any, None] = {}
        self.shutdown = Shutdown(self.clock, self.live)

    def left(self, seconds: float) -> list[int]:
        """The number of tunnels after each second."""
        counts = []
        for _ in range(int(seconds)):
            self.clock.pump([0.5, 0.5])
            counts.append(len(self.live))
        return counts

    def test_spread(self) -> None:
        """Tunnels are ended evenly over the time; the stop ends with the last one."""
        tunnels = [Tunnel(self.live) for _ in range(100)]
        stopped = self.shutdown.begin(10.0)
        self.shutdown.listeners_closed()
        self.assertEqual([90, 80, 70, 60, 50, 40, 30, 20, 10, 0], self.left(10))
        self.shutdown.check()
        self.successResultOf(stopped)
        self.assertEqual("ended 0.5 s after the stop began, of a drain timeout of 10 s", tunnels[0].reason)
        self.assertEqual("still open after the drain timeout of 10 s", tunnels[99].reason)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_silent_first(self) -> None:
        """Of several tunnels, those that moved the fewest bytes since the last round are ended first."""
        tunnels = [Tunnel(self.live) for _ in range(4)]
        for tunnel in tunnels:
            tunnel.bytes_up = 1000
        self.shutdown.begin(4.0)
        for _ in range(2):
            tunnels[0].bytes_down += 50
            tunnels[2].bytes_up += 9
            self.clock.advance(0.5)
        self.assertEqual([True, False, True, True], [tunnel in self.live for tunnel in tunnels])
        for _ in range(2):
            tunnels[0].bytes_down += 50
            tunnels[2].bytes_up += 9
            self.clock.advance(0.5)
        self.assertEqual([True, False, True, False], [tunnel in self.live for tunnel in tunnels])

    def test_ended_by_themselves(self) -> None:
        """Tunnels that end by themselves count: no more are ended than the time demands. The only one has it all."""
        tunnels = [Tunnel(self.live) for _ in range(10)]
        self.shutdown.begin(10.0)
        for tunnel in tunnels[1:]:
            del self.live[tunnel]
        self.assertEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], self.left(10))

    def test_short(self) -> None:
        """A drain time below the interval of the rounds."""
        tunnel = Tunnel(self.live)
        self.shutdown.begin(0.2)
        self.clock.advance(0.2)
        self.assertEqual("still open after the drain timeout of 0.2 s", tunnel.reason)


class DrainTests(SocketTestCase):
    """A stop with a drain."""

    async def tunnel(self, text: str = "", clock: object = None) -> tuple[Proxy, socket.socket, socket.socket]:
        backend = Backend(self)
        arguments = () if clock is None else (clock,)
        proxy = Proxy(self, route(backend.address) + text, *arguments)
        return proxy, *await open_tunnel(self, proxy, backend, NAME)

    async def test_drain(self) -> None:
        """A tunnel that ends during the drain has the result ok; new connections are refused."""
        proxy, client, upstream = await self.tunnel()
        address = proxy.service.addresses["public"]
        ended: list[object] = []
        stopped = proxy.service.stopService().addCallback(ended.append)
        await in_thread(int)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)
        client.sendall(b"still")
        self.assertEqual(b"still", await in_thread(read_exactly, upstream, 5))
        self.assertEqual([], ended)
        client.close()
        upstream.close()
        await stopped
        self.assertEqual(Result.OK, proxy.records[0].result)

    async def test_last_call(self) -> None:
        """On a shared port clients can connect for a moment: a tunnel is drained, another connection is closed."""
        for name, result in ((NAME, Result.DRAINED), (None, Result.SHUTDOWN)):
            clock = HandClock()
            backend = Backend(self)
            text = f"reuse_port = true\n{LISTENER}[timeouts]\ndrain = 3\n{route(backend.address)}"
            proxy = Proxy(self, text, clock)
            address = proxy.service.addresses["public"]
            [one] = proxy.service._listeners._open
            stopped = proxy.service.stopService()
            assert one.acceptor is not None
            welcome_new(one.acceptor.sock)  # this client stands for one whose handshake had begun
            with socket.create_connection(address) as client:
                if name is not None:
                    client.sendall(hello(name=name))
                    upstream = await in_thread(backend.accept)
                    self.addCleanup(upstream.close)
                    await in_thread(read_exactly, upstream, len(hello(name=name)))
                while not proxy.service._connections.live:
                    await in_thread(int)
                self.assertEqual([], proxy.records)
                clock.advance(LAST_CALL_S)
                while not proxy.service._shutdown._no_more:
                    await in_thread(int)
                clock.advance(3)
                self.assertEqual(b"", await in_thread(read_to_end, client))
            clock.advance(1)
            self.assertEqual(result, (await proxy.ended()).result)
            clock.advance(1)
            await stopped

    async def test_drain_time_is_up(self) -> None:
        """A tunnel that is open after the drain time is ended with a FIN."""
        clock = HandClock()
        proxy, client, upstream = await self.tunnel("[timeouts]\ndrain = 3\n", clock)
        stopped = proxy.service.stopService()
        clock.advance(3)
        self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertEqual(b"", await in_thread(read_to_end, upstream))
        client.close()
        upstream.close()
        clock.advance(1)
        await stopped
        record = proxy.records[0]
        self.assertEqual((Result.DRAINED, "still open after the drain timeout of 3 s"), (record.result, record.reason))

    async def test_second_signal(self) -> None:
        """end_now during a drain ends the tunnels at once."""
        proxy, client, _ = await self.tunnel()
        ended: list[object] = []
        stopped = proxy.service.stopService().addCallback(ended.append)
        await in_thread(int)
        self.assertEqual([], ended)
        proxy.service.end_now()
        await stopped
        self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertEqual(Result.SHUTDOWN, proxy.records[0].result)

    async def test_no_drain_time(self) -> None:
        """With drain = 0 tunnels are ended at once."""
        proxy, _, _ = await self.tunnel("[timeouts]\ndrain = 0\n")
        await proxy.service.stopService()
        self.assertEqual(Result.SHUTDOWN, proxy.records[0].result)

    async def test_before_the_tunnel(self) -> None:
        """A connection that is not yet a tunnel is ended at once."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        with proxy.connect() as client:
            client.sendall(b"\x16")
            while not proxy.service._connections.live:
                await in_thread(int)
            await proxy.service.stopService()
            self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertEqual(Result.SHUTDOWN, proxy.records[0].result)
