"""Queries to resolvers through a running proxy."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sniproxy.events import Result
from sniproxy.interfaces import Refused, Request, Resolution, Target, Unavailable
from sniproxy.server import resolverset
from sniproxy.tls.alerts import Alert
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy, open_tunnel
from tests.support.scripted import Scripted
from tests.support.sockets import HandClock, in_thread, read_exactly, read_to_end


class ResolverTests(ConversationCase):
    """Answers of resolvers."""

    def proxy(self, answer: Any, clock: Any = None) -> tuple[Proxy, Scripted]:
        resolver = Scripted(answer)
        self.patch(resolverset, "StaticResolver", lambda targets: resolver)
        arguments = () if clock is None else (clock,)
        return Proxy(self, route("127.0.0.1:9"), *arguments), resolver

    async def test_answers(self) -> None:
        """A value, a Deferred and a coroutine are accepted; the request has the name, the client and the listener."""
        backend = Backend(self)
        resolution = Resolution([Target("127.0.0.1", backend.port, label="the-broker")], ttl=5)

        def later() -> Deferred[Resolution]:
            deferred: Deferred[Resolution] = Deferred()
            deferred.callback(resolution)
            return deferred

        async def coroutine() -> Resolution:
            return resolution

        for answer in (resolution, later, coroutine):
            proxy, resolver = self.proxy(answer)
            with proxy.connect() as client:
                address = f"127.0.0.1:{client.getsockname()[1]}"
                client.sendall(hello(name=NAME))
                (await in_thread(backend.accept)).close()
            self.assertEqual("the-broker", (await proxy.ended()).target)
            self.assertEqual([Request(NAME, (), address, "public", port=proxy.port)], resolver.requests)
            (stats,) = proxy.service._upstreams.stats.known.values()
            self.assertEqual(("the-broker", [NAME], [NAME]), (stats.text, list(stats.names), list(stats.routes)))

    async def test_refused(self) -> None:
        """If the resolver refuses, the result is no_route."""
        proxy, _ = self.proxy(Refused("no such broker"))
        record = await self.refused(proxy, hello(name=NAME), Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME)
        self.assertEqual("the resolver refused: no such broker", record.reason)

    async def test_failed(self) -> None:
        """A resolver that raises or returns nothing fails only this connection, with a plain close."""
        proxy, _ = self.proxy(KeyError("oops"))
        record = await self.refused(proxy, hello(name=NAME), Result.RESOLVER_FAILED, None)
        self.assertEqual("the resolver failed: KeyError: 'oops'", record.reason)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))
        for nothing in (None, Resolution([])):
            proxy, _ = self.proxy(nothing)
            record = await self.refused(proxy, hello(name=NAME), Result.RESOLVER_FAILED, None)
            self.assertEqual("the resolver gave no target", record.reason)

    async def test_unavailable(self) -> None:
        """Unavailable gives a plain close without a traceback."""
        proxy, _ = self.proxy(Unavailable("no server answers"))
        record = await self.refused(proxy, hello(name=NAME), Result.RESOLVER_FAILED, None)
        self.assertEqual("resolver unavailable: no server answers", record.reason)

    async def test_hangs(self) -> None:
        """A query times out after the connect timeout."""
        clock = HandClock()
        proxy, resolver = self.proxy(Deferred, clock)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            while not resolver.requests:
                await in_thread(int)
            (live,) = proxy.service._connections.live
            self.assertEqual(("resolve", 0, 0), (live.state, live.bytes_up, live.bytes_down))
            clock.advance(10)
            self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertEqual(Result.RESOLVER_FAILED, record.result)
        self.assertEqual("the resolver gave no answer within 10 s", record.reason)
        clock.advance(1)

    async def test_failures_are_logged_at_times(self) -> None:
        """Repeated tracebacks of a resolver are logged once a minute; each record has the reason."""
        clock = HandClock()
        proxy, _ = self.proxy(KeyError("oops"), clock)
        for logged, seconds in ((1, 1.0), (0, 60.0), (1, 1.0)):
            await self.refused(proxy, hello(name=NAME), Result.RESOLVER_FAILED, None)
            self.assertEqual(logged, len(self.flushLoggedErrors(KeyError)))
            clock.advance(seconds)

    async def test_cancellation_swallowed(self) -> None:
        """A resolver that answers although it was cancelled has no effect: the client has left."""
        asked: list[Any] = []

        async def stubborn() -> Resolution:
            try:
                asked.append(None)
                await Deferred()
            except CancelledError:
                pass
            return Resolution([Target("127.0.0.1", 9)])

        proxy, _ = self.proxy(stubborn)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            while not asked:
                await in_thread(int)
        record = await proxy.ended()
        self.assertEqual((Result.CLIENT_GONE, None), (record.result, record.target))


class FixedTests(ConversationCase):
    """Routes whose targets are all fixed."""

    async def test_not_asked(self) -> None:
        """The target is dialled without a query, and the record has a resolve time."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        for sock in await open_tunnel(self, proxy, backend, NAME):
            sock.close()
        record = await proxy.ended()
        self.assertEqual((Result.OK, backend.address), (record.result, record.target))
        assert record.resolve_s is not None

    async def test_with_health(self) -> None:
        """With ejection, a target is dialled without a query and without a plan, and is tracked."""
        backend = Backend(self)
        proxy = Proxy(self, f"{route(backend.address)}[health]\neject = 30\n")
        for sock in await open_tunnel(self, proxy, backend, NAME):
            sock.close()
        record = await proxy.ended()
        self.assertEqual((Result.OK, backend.address), (record.result, record.target))
        self.assertEqual([backend.address], list(proxy.service._upstreams.known))
        self.assertEqual({}, proxy.service._upstreams.stats.known[backend.address].names)


class LoopTests(ConversationCase):
    """Names that lead back to this proxy."""

    async def test_same_hello(self) -> None:
        """A second connection with the same hello is denied while the first is open; this is logged once a minute."""
        backend = Backend(self)
        policy = f'[policy]\nallow_cidrs = ["127.0.0.0/8"]\nallow_ports = [{backend.port}]\n'
        text = f'[[route]]\nserver_name = "*.test"\ntarget = "127.0.0.1:{backend.port}"\n{policy}'
        formed = Resolution([Target("127.0.0.1", backend.port, client_formed=True)])
        self.patch(resolverset, "StaticResolver", lambda targets: Scripted(formed))
        proxy = Proxy(self, text)
        data = hello(name="a.test")
        for number in (0, 3):
            with proxy.connect() as client:
                client.sendall(data)
                with await in_thread(backend.accept) as upstream:
                    await in_thread(read_exactly, upstream, len(data))
                    if not number:
                        for _ in range(2):
                            record = await self.refused(proxy, data, Result.DENIED, Alert.ACCESS_DENIED)
                            self.assertIn("a loop", record.reason)
            self.assertEqual(Result.OK, (await proxy.ended(3 if number else 2)).result)
        self.assertEqual(2, proxy.service.view.status().limits.loops)
