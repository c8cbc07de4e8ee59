"""What connections leave behind: the collector has nothing to do."""

from __future__ import annotations

import gc
import socket
from collections.abc import Awaitable, Callable

from sniproxy.events import Result
from sniproxy.relay.relay import Ending
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import in_thread, read_exactly, read_to_end, reset

HELLO = hello(name=NAME)


class GarbageTests(ConversationCase):
    """Objects of a connection are freed when it ends, because none of them refers to itself through others."""

    async def left_by(self, work: Callable[[], Awaitable[None]]) -> list[str]:
        """The objects of the proxy that only the collector frees, after some work that was done before, too."""
        await work()
        gc.collect()
        gc.disable()
        try:
            await work()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [one for one in gc.garbage if type(one).__module__.startswith("sniproxy")]
            left += [one for one in gc.garbage if isinstance(one, socket.socket)]
            return sorted(type(one).__qualname__ for one in left)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    async def left_by_tunnel(
        self, use: Callable[[Proxy, socket.socket, socket.socket], Awaitable[None]], result: Result
    ) -> list[str]:
        """As L{left_by}, for a tunnel that ends with a result. @param use: gets the client's end and the target's."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))

        async def tunnel() -> None:
            number = len(proxy.records)
            with proxy.connect() as client:
                client.sendall(HELLO)
                with await in_thread(backend.accept) as upstream:
                    await in_thread(read_exactly, upstream, len(HELLO))
                    await use(proxy, client, upstream)
            self.assertEqual(result, (await proxy.ended(number)).result)

        return await self.left_by(tunnel)

    async def test_tunnel(self) -> None:
        """A tunnel that both sides end."""

        async def talk(proxy: Proxy, client: socket.socket, upstream: socket.socket) -> None:
            upstream.sendall(b"answer")
            await in_thread(read_exactly, client, 6)
            client.shutdown(socket.SHUT_WR)
            await in_thread(read_to_end, upstream)

        self.assertEqual([], await self.left_by_tunnel(talk, Result.OK))

    async def test_reset(self) -> None:
        """A tunnel that one side resets."""

        async def leave(proxy: Proxy, client: socket.socket, upstream: socket.socket) -> None:
            number = len(proxy.records)
            reset(client)
            await proxy.ended(number)  # before the target's end is closed

        self.assertEqual([], await self.left_by_tunnel(leave, Result.RESET))

    async def test_ended_by_the_proxy(self) -> None:
        """A tunnel that the proxy ends: its route is drained."""

        async def drain(proxy: Proxy, client: socket.socket, upstream: socket.socket) -> None:
            for conn in list(proxy.service._connections.live):
                conn.end(Ending(Result.DRAINED))
            await in_thread(read_to_end, client)

        self.assertEqual([], await self.left_by_tunnel(drain, Result.DRAINED))

    async def test_refused(self) -> None:
        """Connections that are refused at once."""
        proxy = Proxy(self, route("127.0.0.1:9"))

        async def refused() -> None:
            for data, result in (
                (hello(name="nobody.test"), Result.NO_ROUTE),
                (hello(name="a..test"), Result.MALFORMED_HELLO),
                (b"GET / HTTP/1.1\r\n", Result.NOT_TLS),
            ):
                number = len(proxy.records)
                with proxy.connect() as client:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    await in_thread(read_to_end, client)
                self.assertEqual(result, (await proxy.ended(number)).result)

        self.assertEqual([], await self.left_by(refused))
