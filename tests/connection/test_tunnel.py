"""Tunnels through a running proxy."""

from __future__ import annotations

from sniproxy.events import Result
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import HandClock, in_thread, reset


class TunnelTests(ConversationCase):
    """Connections that become tunnels."""

    async def test_reset_and_idle(self) -> None:
        """How the tunnel ended is how the connection ended."""
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
        self.assertEqual((Result.IDLE_TIMEOUT, "no byte for 7 s"), (record.result, record.reason))
        clock.advance(1)
