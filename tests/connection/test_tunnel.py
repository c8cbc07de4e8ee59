"""Tunnels through a running proxy."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred

from sniproxy.config.schema import Timeouts
from sniproxy.connection.lifecycle import ConnectionContext, Lifecycle
from sniproxy.connection.tunnel import resume_relay, start_relay
from sniproxy.events import Connection, Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.direction import Direction
from sniproxy.relay.engine import ENDED, GIVEN_BACK, EngineRelay, RelayEngine
from sniproxy.relay.relay import Ending, Relay
from sniproxy.relay.state import TunnelState
from sniproxy.relay.vanished import INTERVAL_S
from sniproxy.util.timerwheel import TICK_S
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.fakeengine import use_fake
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import HandClock, SocketTestCase, connected, in_thread, read_exactly, read_to_end, reset


class TunnelTests(ConversationCase):
    """Ends of tunnels."""

    async def test_reset_and_idle(self) -> None:
        """The ending of the tunnel is the result of the connection."""
        backend = Backend(self)
        clock = HandClock()
        text = 'relay = "python"\n' + LISTENER + route(backend.address, more="[timeouts]\nidle = 7\n")
        proxy = Proxy(self, text, clock)
        client = proxy.connect()
        client.sendall(hello(name=NAME))
        (await in_thread(backend.accept)).close()
        reset(client)
        self.assertEqual(Result.RESET, (await proxy.ended()).result)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(upstream.recv, 1)
                clock.advance(7)
                record = await proxy.ended(1)
        self.assertEqual((Result.IDLE_TIMEOUT, "no bytes for 7 s"), (record.result, record.reason))
        clock.advance(1)

    async def test_fault(self) -> None:
        """A tunnel that a fault concerns has its own relay, with the engine, too; others do not."""
        backend = Backend(self)
        cut = '[[fault]]\nname = "cut"\naction = "cut"\nserver_name = "{}"\nafter_bytes = 3\n'
        for name, applied in ((NAME, 1), ("other.test", 0)):
            proxy = Proxy(self, LISTENER + route(backend.address) + cut.format(name))
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                with await in_thread(backend.accept) as upstream:
                    await in_thread(read_exactly, upstream, len(hello(name=NAME)))
                    upstream.sendall(b"answer")
                    upstream.shutdown(socket.SHUT_WR)
                    await in_thread(read_to_end, client)
            record = await proxy.ended()
            self.assertEqual(
                (applied, bool(applied)), (proxy.service.view.faults.counts["cut"], "cut" in record.reason)
            )

    async def test_keep_alive(self) -> None:
        """Both sockets of a tunnel that lives for some seconds have keep-alive."""
        backend = Backend(self)
        clock = HandClock()
        proxy = Proxy(self, 'relay = "python"\n' + LISTENER + route(backend.address), clock)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(upstream.recv, 1)
                (conn,) = proxy.service._connections.live
                assert conn.tunnel is not None
                clock.advance(INTERVAL_S + TICK_S)
                alive = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for sock in conn.tunnel.sockets]
                self.assertEqual([1, 1], alive)
        await proxy.ended()


class RelayTests(SocketTestCase):
    """Which relay moves the bytes."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.fake = use_fake(self)
        self.closer = LingeringCloser(reactor)
        self.engine = RelayEngine(reactor, self.closer, 1)
        self.addCleanup(self.closer.settled)
        self.addCleanup(self.engine.close)
        self.records: list[Connection] = []
        self.opened: list[Lifecycle] = []
        self.ended: Deferred[Lifecycle] = Deferred()

    def start(
        self,
        directions: Any = None,
        wrap: Callable[[socket.socket], socket.socket] = lambda sock: sock,
        engine: bool = True,
    ) -> Lifecycle:
        """A connection whose tunnel starts at once. @param wrap: makes the socket of the target."""
        nobody = cast(Any, None)
        context = ConnectionContext(
            reactor,
            nobody,
            Timeouts(),
            nobody,
            self.closer,
            self.records.append,
            engine=self.engine if engine else None,
            opened=self.opened.append,
        )
        (self.far, client), (self.backend, upstream) = connected(), connected()
        self.addCleanup(self.far.close)
        self.addCleanup(self.backend.close)

        async def handler(conn: Lifecycle) -> None:
            start_relay(conn, wrap(upstream), b"head", directions)

        conn = Lifecycle(context, client, Connection("id-1", 1.0, "public", "127.0.0.1:1"))
        conn.begin(handler, self.ended.callback)
        self.assertEqual((None, True), (conn.sock, conn.tunnelling))
        return conn

    async def test_engine(self) -> None:
        """A plain tunnel gets the engine; its end is the connection's. The lifecycle keeps no socket."""
        conn = self.start()
        assert isinstance(conn.tunnel, EngineRelay)
        self.assertEqual((b"head", ()), (self.fake.opened[0].held, conn.tunnel.sockets))
        self.assertFalse(hasattr(conn, "__dict__"))
        self.assertIsNone(conn._received)
        self.assertLessEqual(sys.getsizeof(conn), 160)  # with the collector's 16 bytes
        self.fake.opened[0].bytes_down = 3
        self.assertEqual((4, 3, "open"), (conn.bytes_up, conn.bytes_down, conn.state))
        self.fake.opened[0].half_closed = True
        self.assertEqual("half_closed", conn.state)
        conn.end(Ending(Result.DRAINED, "enough"))
        self.fake.finish(self.fake.opened[0], ENDED)
        await self.ended
        record = self.records[0]
        self.assertEqual((Result.DRAINED, "enough"), (record.result, record.reason))
        self.assertEqual((4, 3), (record.bytes_up, record.bytes_down))

    async def test_failed_engine(self) -> None:
        """What a failed engine does not take has the relay in Python."""
        self.fake.full = OSError(108, "no thread")
        conn = self.start()
        self.assertIsInstance(conn.tunnel, Relay)
        conn.end(Ending(Result.SHUTDOWN))
        await self.ended

    async def test_python(self) -> None:
        """A tunnel with directions of its own, or with TLS that ends here, has the relay in Python."""
        own: list[dict[str, Any]] = [{"directions": Direction}, {"wrap": Wrapped}]
        for options in own:
            conn = self.start(**options)
            assert isinstance(conn.tunnel, Relay)
            self.assertEqual((2, []), (len(conn.tunnel.sockets), self.fake.opened))
            conn.end(Ending(Result.SHUTDOWN))
            self.assertEqual(Result.SHUTDOWN, (self.records.pop()).result)
            self.ended = Deferred()

    async def moved(self, conn: Lifecycle) -> TunnelState:
        """Take the tunnel of a connection."""
        taken: Deferred[TunnelState] = Deferred()
        assert conn.tunnel is not None
        self.assertTrue(conn.tunnel.movable)
        conn.tunnel.give_back(taken.callback)
        if isinstance(conn.tunnel, EngineRelay):
            self.fake.finish(self.fake.opened[-1], GIVEN_BACK, held=(b"up", b"down"), quiet=1.5)
        return await taken

    async def test_resumed_by_the_engine(self) -> None:
        """A tunnel that was given back is resumed by the engine; the connection is not counted again."""
        conn = self.start()
        first = conn.tunnel
        resume_relay(conn, await self.moved(conn))
        self.assertIsNot(first, conn.tunnel)
        assert isinstance(conn.tunnel, EngineRelay)
        self.assertEqual((b"up", b"down", 0, 0, 4, 0, b"", 1.5), self.fake.opened[-1].state)
        self.assertEqual((4, [conn]), (conn.bytes_up, self.opened))
        conn.end(Ending(Result.DRAINED))
        self.fake.finish(self.fake.opened[-1], ENDED)
        await self.ended
        self.assertEqual([Result.DRAINED], [record.result for record in self.records])

    async def test_resumed_by_python(self) -> None:
        """Without an engine, and if it has failed, the relay in Python resumes the tunnel."""
        for failed in (False, True):
            conn = self.start(engine=failed)
            state = await self.moved(conn)
            self.fake.full = OSError(108, "no thread")
            resume_relay(conn, state)
            assert isinstance(conn.tunnel, Relay)
            expected = b"headup" if failed else b"head"
            self.assertEqual(expected, await in_thread(read_exactly, self.backend, len(expected)))
            self.assertEqual(len(expected), conn.bytes_up)
            conn.end(Ending(Result.DRAINED))
            await self.ended
            self.ended = Deferred()
            self.fake.full = None

    async def test_ended_between(self) -> None:
        """A connection that is ended while no relay has its tunnel ends when one gets it."""
        conn = self.start(engine=False)
        state = await self.moved(conn)
        conn.end(Ending(Result.DRAINED, "between"))
        self.assertFalse(conn.ended)
        resume_relay(conn, state)
        await self.ended
        self.assertEqual("between", self.records[0].reason)

    async def test_resumed_elsewhere(self) -> None:
        """A new connection, without a socket of its own, gets a tunnel of another process, which has reported it."""
        old = self.start(engine=False)
        state = await self.moved(old)
        conn = Lifecycle(old.context, None, Connection("id-1", 1.0, "public", "127.0.0.1:1"))

        async def handler(conn: Lifecycle) -> None:
            resume_relay(conn, state)

        conn.begin(handler, self.ended.callback)
        self.assertEqual((None, True, 4, "open"), (conn.sock, conn.tunnelling, conn.bytes_up, conn.state))
        self.assertEqual([old], self.opened)
        self.assertEqual(b"head", await in_thread(read_exactly, self.backend, 4))
        self.far.close()
        self.backend.close()
        await self.ended
        self.assertEqual((Result.OK, 4), (self.records[0].result, self.records[0].bytes_up))

    async def test_not_movable(self) -> None:
        """A tunnel that is looked at, or whose TLS ends here, stays with its relay."""
        own: list[dict[str, Any]] = [{"directions": Tapped}, {"wrap": Wrapped, "directions": Tapped}]
        for options in own:
            conn = self.start(**options)
            assert conn.tunnel is not None
            self.assertFalse(conn.tunnel.movable)
            conn.end(Ending(Result.SHUTDOWN))
            self.ended = Deferred()


class Tapped(Direction):
    """A direction that is not only a L{Direction}."""


class Wrapped(socket.socket):
    """A socket that is not a plain one, as L{sniproxy.net.tlssocket.TLSSocket}."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self.setblocking(False)
