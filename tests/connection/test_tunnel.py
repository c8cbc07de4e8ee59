"""Tunnels through a running proxy."""

from __future__ import annotations

import socket
from typing import Any, cast

from sniproxy.config.schema import Timeouts
from sniproxy.connection.lifecycle import ConnectionContext, Lifecycle
from sniproxy.connection.tunnel import start_relay
from sniproxy.events import Connection, Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.copy import CopyDirection
from sniproxy.relay.relay import Ending, Relay
from sniproxy.relay.splice import SpliceDirection
from sniproxy.relay.vanished import INTERVAL_S
from sniproxy.util.timerwheel import TICK_S
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import HandClock, SocketTestCase, connected, in_thread, reset


class TunnelTests(ConversationCase):
    """Ends of tunnels."""

    async def test_reset_and_idle(self) -> None:
        """The ending of the tunnel is the result of the connection."""
        backend = Backend(self)
        clock = HandClock()
        proxy = Proxy(self, route(backend.address, more="[timeouts]\nidle = 7\n"), clock)
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

    async def test_keep_alive(self) -> None:
        """Both sockets of a tunnel that lives for some seconds have keep-alive."""
        backend = Backend(self)
        clock = HandClock()
        proxy = Proxy(self, route(backend.address), clock)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(upstream.recv, 1)
                (conn,) = proxy.service._connections.live
                clock.advance(INTERVAL_S + TICK_S)
                alive = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for sock in conn.sockets]
                self.assertEqual([1, 1], alive)
        await proxy.ended()


class Kernel:
    """A kernel relay that takes all tunnels, or none."""

    bytes_up = bytes_down = 0
    half_closed = False

    def __init__(self, takes: bool) -> None:
        self.takes = takes
        self.asked: list[tuple[object, ...]] = []
        self.done: Any = None

    def relay(self, *arguments: object, **more: object) -> Kernel | None:
        self.asked.append(arguments)
        return self if self.takes else None

    def start(self, done: Any) -> None:
        self.done = done

    def end(self, ending: Ending) -> None:
        self.done(ending)


class KernelTests(SocketTestCase):
    """The choice of the relay."""

    def start(self, kernel: Kernel, directions: Any = None) -> tuple[Lifecycle, list[Connection]]:
        records: list[Connection] = []
        nobody = cast(Any, None)
        self.closer = LingeringCloser(reactor)
        context = ConnectionContext(
            reactor, nobody, Timeouts(), nobody, self.closer, CopyDirection, records.append,
            forwarding=cast(Any, kernel),
        )  # fmt: skip
        (far, client), (upstream, backend) = connected(), connected()
        self.far = (far, backend)

        async def handler(conn: Lifecycle) -> None:
            conn.directions = directions or conn.directions
            start_relay(conn, upstream, b"head")

        conn = Lifecycle(context, client, Connection("id-1", 1.0, "public", "127.0.0.1:1"), handler)
        conn.begin(lambda conn: None)
        self.assertEqual((None, (client, upstream), True), (conn.sock, conn.sockets, conn.tunnelling))
        return conn, records

    def close(self, conn: Lifecycle) -> Any:
        """Close all sockets. @return: fires when the closer is done."""
        for sock in self.far:
            sock.close()
        if isinstance(conn.tunnel, Kernel):
            for sock in conn.sockets:
                sock.close()
        return self.closer.settled()

    async def test_taken(self) -> None:
        """The kernel relay is tried first; its ending is the connection's."""
        kernel = Kernel(takes=True)
        conn, records = self.start(kernel)
        self.assertIs(kernel, conn.tunnel)
        self.assertEqual(b"head", kernel.asked[0][2])
        conn.end(Ending(Result.DRAINED, "enough"))
        self.assertEqual((Result.DRAINED, "enough"), (records[0].result, records[0].reason))
        await self.close(conn)

    async def test_not_taken(self) -> None:
        """A tunnel that the kernel relay does not take, or that rewrites bytes, uses the user-space relay."""
        for takes, directions, asked in ((False, None, 1), (True, SpliceDirection, 0)):
            kernel = Kernel(takes)
            conn, records = self.start(kernel, directions)
            self.assertIsInstance(conn.tunnel, Relay)
            self.assertEqual(asked, len(kernel.asked))
            conn.end(Ending(Result.SHUTDOWN))
            self.assertEqual(Result.SHUTDOWN, records[0].result)
            await self.close(conn)
