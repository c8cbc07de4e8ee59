"""Dialling targets through a running proxy."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent

from sniproxy.events import Result
from sniproxy.resolvers.static import StaticResolver
from sniproxy.tls.alerts import Alert
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import in_thread


class DialTests(ConversationCase):
    """The choice of the target."""

    async def test_in_turn(self) -> None:
        """The targets of a service name take turns; one that is down is skipped."""
        backends = [Backend(self), Backend(self)]
        targets = ", ".join(f'"{backend.address}"' for backend in backends)
        proxy = Proxy(self, f'[[route]]\nserver_name = "{NAME}"\ntarget = [{targets}]')
        seen = []
        for number in range(4):
            if number == 2:
                backends[0].sock.close()
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                with await in_thread(backends[1 if number else 0].accept) as upstream:
                    await in_thread(upstream.recv, 1)
            seen.append((await proxy.ended(number)).target)
        self.assertEqual([backends[0].address, *[backends[1].address] * 3], seen)

    async def test_weights(self) -> None:
        """A target is chosen in proportion to its weight; with weight 0 only as a backup."""
        backends = [Backend(self), Backend(self), Backend(self)]
        targets = ", ".join(
            f'"{backend.address} weight={weight}"' for backend, weight in zip(backends, (2, 1, 0), strict=True)
        )
        proxy = Proxy(self, f'[[route]]\nserver_name = "{NAME}"\ntarget = [{targets}]')
        for number, turn in enumerate((0, 0, 1, 0, 0, 1, 2)):
            if turn == 2:
                backends[0].sock.close()
                backends[1].sock.close()
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                with await in_thread(backends[turn].accept) as upstream:
                    await in_thread(upstream.recv, 1)
            self.assertEqual(backends[turn].address, (await proxy.ended(number)).target)


class RefusalTests(ConversationCase):
    """Targets that cannot be dialled."""

    async def test_backend_down(self) -> None:
        """If the target refuses, the client gets a plain close, so that it retries."""
        backend = Backend(self)
        backend.sock.close()
        proxy = Proxy(self, route(backend.address))
        record = await self.refused(proxy, hello(name=NAME), Result.CONNECT_FAILED, None)
        self.assertEqual((backend.address, f"{backend.address}: Connection refused"), (record.target, record.reason))
        assert record.connect_s is not None

    async def test_loop(self) -> None:
        """A target that is the proxy's own listener is denied."""
        proxy = Proxy(self, route("127.0.0.1:1"))
        live = proxy.service._built.routing.table.match(NAME, "public")
        assert live is not None
        live.fixed = StaticResolver([f"127.0.0.1:{proxy.port}"]).fixed
        record = await self.refused(proxy, hello(name=NAME), Result.DENIED, Alert.ACCESS_DENIED)
        self.assertIn("(loop)", record.reason)

    async def test_ejected(self) -> None:
        """A target is ejected after `fall` failures, and this is logged."""
        backend = Backend(self)
        backend.sock.close()
        proxy = Proxy(self, route(backend.address, more="[health]\neject = 30\nfall = 1\n"))
        with capturedLogs() as logs:
            await self.refused(proxy, hello(name=NAME), Result.CONNECT_FAILED, None)
        said = [formatEvent(event) for event in logs]
        self.assertIn(f"target {backend.address} ejected for 30 s: Connection refused", said)

    async def test_drained(self) -> None:
        """A drained target gets no connection; the client gets a plain close."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        proxy.service.view.drain(backend.address, 10)
        record = await self.refused(proxy, hello(name=NAME), Result.CONNECT_FAILED, None)
        self.assertEqual((f"drained: {backend.address}", None), (record.reason, record.target))
