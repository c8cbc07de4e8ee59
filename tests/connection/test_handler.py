"""The life of a connection through a running proxy: every result, what the client sees, what is recorded."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sniproxy.events import Result
from sniproxy.interfaces import IServerNameResolver, Refused, Request, Resolution, Target, Unavailable
from sniproxy.pulsar.commands import read, type_name
from sniproxy.pulsar.commands_pb2 import ServerError
from sniproxy.pulsar.frames import FrameReader
from sniproxy.resolvers.static import StaticResolver
from sniproxy.server import resolverset
from sniproxy.tls.alerts import Alert, fatal_alert
from sniproxy.tls.nottls import PLAINTEXT_PULSAR
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello, supported_versions
from tests.support.proxies import LISTENER, Backend, Proxy, SilentTarget
from tests.support.sockets import HandClock, in_thread, read_exactly, read_to_end, reset


class TunnelTests(ConversationCase):
    """Connections that become tunnels."""

    async def test_tunnel(self) -> None:
        """The hello reaches the target byte for byte, early data with it, and the record is complete."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        data = hello(name="Broker-1.Pulsar.TEST.") + b"early data"
        with proxy.connect() as client:
            address = f"127.0.0.1:{client.getsockname()[1]}"
            client.sendall(data)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
                upstream.sendall(b"server hello")
                self.assertEqual(b"server hello", await in_thread(read_exactly, client, 12))
                (live,) = proxy.service._live
                self.assertEqual(("open", len(data), 12), (live.state, live.bytes_up, live.bytes_down))
                client.shutdown(socket.SHUT_WR)
                await in_thread(read_to_end, upstream)
                self.assertEqual("half_closed", live.state)
        record = await proxy.ended()
        self.assertEqual((Result.OK, None, ""), (record.result, record.alert, record.reason))
        self.assertEqual(
            ("public", address, NAME, NAME), (record.listener, record.client, record.server_name, record.route)
        )
        self.assertEqual((backend.address, len(data), 12), (record.target, record.bytes_up, record.bytes_down))
        for seconds in (record.hello_s, record.resolve_s, record.connect_s):
            assert seconds is not None
            self.assertTrue(0 <= seconds <= record.total_s)

    async def test_hello_in_single_bytes(self) -> None:
        """A hello that comes byte by byte is routed."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        data = hello(name=NAME)

        def send(client: socket.socket) -> None:
            for at in range(len(data)):
                client.sendall(data[at : at + 1])

        with proxy.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await in_thread(send, client)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
        self.assertEqual(Result.OK, (await proxy.ended()).result)

    async def test_in_turn(self) -> None:
        """A service name's targets take turns; one that is down is passed over."""
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
        """A target's turn comes as often as the weight says that is written behind it; with 0 only as a spare."""
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

    async def test_which_route(self) -> None:
        """A listener's own route beats the general one; the default takes other names, but no IP literal."""
        own, general, default, nameless = (Backend(self) for _ in range(4))
        proxy = Proxy(
            self,
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "other"\n'
            + route(own.address, more='listener = "public"\n')
            + route(general.address)
            + f'[default]\ntarget = "{default.address}"\n[no_server_name]\ntarget = "{nameless.address}"\n',
        )
        for number, (listener, name, backend, label) in enumerate(
            (
                ("public", NAME, own, NAME),
                ("other", NAME, general, NAME),
                ("other", "else.test", default, "default"),
                ("other", None, nameless, "no_server_name"),
            )
        ):
            with proxy.connect(listener) as client:
                client.sendall(hello(name=name))
                (await in_thread(backend.accept)).close()
            record = await proxy.ended(number)
            self.assertEqual((listener, label), (record.listener, record.route))
        await self.refused(proxy, hello(name="192.0.2.7"), Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME)

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
        self.assertEqual((Result.IDLE_TIMEOUT, "no bytes for 7 s"), (record.result, record.reason))
        clock.advance(1)


class PlaintextTests(ConversationCase):
    """Listeners of the plaintext test mode."""

    async def test_tunnel(self) -> None:
        """A plaintext listener leads to its own target, without a hello."""
        backend = Backend(self)
        proxy = Proxy(
            self,
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'
            f'target = "{backend.address}"\n',
        )
        with proxy.connect("plain") as client, await in_thread(backend.accept) as upstream:
            upstream.sendall(b"the server speaks first")
            self.assertEqual(b"the server speaks first", await in_thread(read_exactly, client, 23))
        record = await proxy.ended()
        self.assertEqual(
            ("plaintext", None, None, Result.OK), (record.route, record.server_name, record.hello_s, record.result)
        )


class RefusalTests(ConversationCase):
    """Connections that are refused: each for its reason, with the alert that fits or a plain close."""

    async def test_no_route(self) -> None:
        """A name that no route has: unrecognized_name, and the closest route is named."""
        proxy = Proxy(self, route("127.0.0.1:9") + route("127.0.0.1:9", "*.w.test"))
        for name, why in (
            ("broker-l.pulsar.test", "no route has this name; the closest is broker-1.pulsar.test"),
            ("w.test", "no route has this name; *.w.test matches names below it, not the name itself"),
            ("elsewhere.example", "no route has this name"),
            (
                "127.0.0.1",
                "the server name 127.0.0.1 is an IP literal and has no exact route; use a service URL with a host name",
            ),
        ):
            record = await self.refused(proxy, hello(name=name), Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME)
            self.assertEqual((name, None, why), (record.server_name, record.route, record.reason))

    async def test_no_server_name(self) -> None:
        """A hello without a name: missing_extension for TLS 1.3, else handshake_failure; the reason speaks of Java."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        record = await self.refused(proxy, hello(name=None), Result.NO_SERVER_NAME, Alert.MISSING_EXTENSION)
        self.assertIn("Java sends none for names without a dot", record.reason)
        old = hello(name=None, extensions=(supported_versions(0x0303),))
        await self.refused(proxy, old, Result.NO_SERVER_NAME, Alert.HANDSHAKE_FAILURE)

    async def test_alert_of_the_hellos_version(self) -> None:
        """The alert's record has the hello's version when that is below TLS 1.2."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        with proxy.connect() as client:
            client.sendall(hello(name="nobody.test", legacy_version=0x0301))
            self.assertEqual(b"\x15\x03\x01\x00\x02\x02\x70", await in_thread(read_to_end, client))

    async def test_malformed(self) -> None:
        """A hello that cannot be read never takes the default route; the alert says what is wrong with it."""
        backend = Backend(self)
        proxy = Proxy(
            self, f'[default]\ntarget = "{backend.address}"\n[no_server_name]\ntarget = "{backend.address}"\n'
        )
        good = hello(name=NAME)
        for data, alert in (
            (good[:5] + b"\x02" + good[6:], Alert.UNEXPECTED_MESSAGE),
            (b"\x16\x03\x01\x40\x01", Alert.RECORD_OVERFLOW),
            (hello(name="a b"), Alert.ILLEGAL_PARAMETER),
            (good[:43] + b"\x21" + good[44:], Alert.DECODE_ERROR),
            (b"\x15\x03\x03\x00\x02\x02\x28", Alert.UNEXPECTED_MESSAGE),
        ):
            await self.refused(proxy, data, Result.MALFORMED_HELLO, alert)
        backend.sock.settimeout(0)
        self.assertRaises(BlockingIOError, backend.accept)

    async def test_not_tls(self) -> None:
        """What is not TLS gets a plain close; the reason names it."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        for data, word in (
            (b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n" + hello(name=NAME), "PROXY protocol header (v1)"),
            (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), "PROXY protocol header (v2)"),
            (b"GET / HTTP/1.0\r\n\r\n", "HTTP"),
            (b"\x80\x2e\x01\x00\x02", "SSLv2"),
        ):
            record = await self.refused(proxy, data, Result.NOT_TLS, None)
            self.assertIn(word, record.reason)

    async def test_plaintext_pulsar(self) -> None:
        """A plaintext Pulsar client is told in its own protocol that this port speaks TLS."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        with proxy.connect() as client:
            client.sendall(bytes.fromhex("00000036000000320802122e") + bytes(40))
            (frame,) = FrameReader().feed(await in_thread(read_to_end, client))
        told = read(frame.command)
        self.assertEqual("ERROR", type_name(told))
        self.assertEqual((2**64 - 1, "NotAllowedError"), (told.error.request_id, ServerError.Name(told.error.error)))
        self.assertIn("this port speaks TLS: use a pulsar+ssl:// service URL", told.error.message)
        record = await proxy.ended()
        self.assertEqual((Result.NOT_TLS, None, PLAINTEXT_PULSAR), (record.result, record.alert, record.reason))

    async def test_limit(self) -> None:
        """A hello over 131,400 bytes gets an illegal_parameter."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        data = b"\x16\x03\x01\x00\x04\x01\x02\x01\x45"
        await self.refused(proxy, data, Result.LIMIT, Alert.ILLEGAL_PARAMETER)

    async def test_hello_timeout(self) -> None:
        """A hello that is not whole in time gets a plain close."""
        clock = HandClock()
        proxy = Proxy(self, route("127.0.0.1:9", more="[timeouts]\nhello = 2\n"), clock)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME)[:-1])
            while not proxy.service._live:
                await in_thread(int)
            clock.advance(2)
            self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertEqual((Result.HELLO_TIMEOUT, "no complete hello within 2 s"), (record.result, record.reason))
        clock.advance(1)

    async def test_client_gone(self) -> None:
        """A client that leaves before its hello is whole; how many bytes it had sent is known."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        for data in (b"", b"\x16\x03"):
            record = await self.refused(proxy, data, Result.CLIENT_GONE, None, end=True)
            self.assertEqual(len(data), record.received)

    async def test_backend_down(self) -> None:
        """A target that refuses gets the client a plain close, so that it tries again."""
        backend = Backend(self)
        backend.sock.close()
        proxy = Proxy(self, route(backend.address))
        record = await self.refused(proxy, hello(name=NAME), Result.CONNECT_FAILED, None)
        self.assertEqual((backend.address, f"{backend.address}: Connection refused"), (record.target, record.reason))
        assert record.connect_s is not None

    async def test_loop(self) -> None:
        """Our own listener as a target is denied."""
        proxy = Proxy(self, route("127.0.0.1:1"))
        live = proxy.service._built.routing.table.match(NAME, "public")
        assert live is not None
        live.fixed = StaticResolver([f"127.0.0.1:{proxy.port}"]).fixed
        record = await self.refused(proxy, hello(name=NAME), Result.DENIED, Alert.ACCESS_DENIED)
        self.assertIn("(loop)", record.reason)

    async def test_unread_bytes(self) -> None:
        """A client that sent much behind its hello gets the alert all the same, and no reset."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        await self.refused(proxy, hello(name="nobody.test") + bytes(40_000), Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME)


@implementer(IServerNameResolver)
class Scripted:
    """A resolver that does what the test says."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    def resolve(self, request: Request) -> Any:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer() if callable(self.answer) else self.answer


class ResolverTests(ConversationCase):
    """What resolvers may answer."""

    def proxy(self, answer: Any, clock: Any = None) -> tuple[Proxy, Scripted]:
        resolver = Scripted(answer)
        self.patch(resolverset, "StaticResolver", lambda targets: resolver)
        arguments = () if clock is None else (clock,)
        return Proxy(self, route("127.0.0.1:9"), *arguments), resolver

    async def test_answers(self) -> None:
        """At once, by a Deferred, or by a coroutine; the request says who asks for what."""
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

    async def test_refused(self) -> None:
        """A resolver that refuses: the name has no route."""
        proxy, _ = self.proxy(Refused("no such broker"))
        record = await self.refused(proxy, hello(name=NAME), Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME)
        self.assertEqual("the resolver refused: no such broker", record.reason)

    async def test_failed(self) -> None:
        """A resolver that crashes or gives nothing harms this connection only, which is closed plainly."""
        proxy, _ = self.proxy(KeyError("oops"))
        record = await self.refused(proxy, hello(name=NAME), Result.RESOLVER_FAILED, None)
        self.assertEqual("the resolver failed: KeyError: 'oops'", record.reason)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))
        for nothing in (None, Resolution([])):
            proxy, _ = self.proxy(nothing)
            record = await self.refused(proxy, hello(name=NAME), Result.RESOLVER_FAILED, None)
            self.assertEqual("the resolver gave no target", record.reason)

    async def test_unavailable(self) -> None:
        """A resolver that cannot know now: a plain close, and no traceback."""
        proxy, _ = self.proxy(Unavailable("no server answers"))
        record = await self.refused(proxy, hello(name=NAME), Result.RESOLVER_FAILED, None)
        self.assertEqual("the resolver does not say: no server answers", record.reason)

    async def test_hangs(self) -> None:
        """A resolver that does not answer is given up after the connect time."""
        clock = HandClock()
        proxy, resolver = self.proxy(Deferred, clock)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            while not resolver.requests:
                await in_thread(int)
            (live,) = proxy.service._live
            self.assertEqual(("resolve", 0, 0), (live.state, live.bytes_up, live.bytes_down))
            clock.advance(10)
            self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertEqual(Result.RESOLVER_FAILED, record.result)
        self.assertEqual("the resolver gave no answer within 10 s", record.reason)
        clock.advance(1)


PLAIN = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'


class GoneTests(ConversationCase):
    """Clients that leave while their target is resolved or dialled: by a FIN or a reset, with early data or without."""

    async def gone(self, proxy: Proxy, state: str, data: bytes, listener: str = "public") -> None:
        """For each way to leave: the record says so at once, and nothing is left open but the listener."""
        fins = [data, data + b"early data"] if listener == "public" else [b""]
        ways = [(each, socket.socket.close) for each in fins] + [(data, reset), (data + b"early data", reset)]
        for number, (sent, leave) in enumerate(ways, len(proxy.records)):
            client = proxy.connect(listener)
            client.sendall(sent)
            while not (live := list(proxy.service._live)) or live[0].state != state:
                await in_thread(int)
            leave(client)
            record = await proxy.ended(number)
            self.assertEqual((Result.CLIENT_GONE, None), (record.result, record.alert), record)
            how = "it closed the connection" if leave is socket.socket.close else "Connection reset by peer"
            doing = {"resolve": "resolved", "connect": "dialled"}[state]
            self.assertEqual(f"{how} while its target was {doing}", record.reason)
            while proxy.service._live or len(proxy.service._closer):
                await in_thread(int)

    async def test_dialled(self) -> None:
        """While the target does not answer: its socket is closed, and the target counts no failure."""
        silent = SilentTarget(self)
        proxy = Proxy(self, route(silent.address))
        await self.gone(proxy, "connect", hello(name=NAME))
        self.assertEqual([], [one for one in proxy.service.status().targets if one.why or one.connections])

    async def test_resolved(self) -> None:
        """While the resolver does not answer: its question is cancelled."""
        cancelled: list[Any] = []
        resolver = Scripted(lambda: Deferred(cancelled.append))
        self.patch(resolverset, "StaticResolver", lambda targets: resolver)
        proxy = Proxy(self, route("127.0.0.1:9"))
        await self.gone(proxy, "resolve", hello(name=NAME))
        self.assertEqual(4, len(cancelled))

    async def test_plaintext(self) -> None:
        """On a plaintext listener: a reset, or an end with no byte unread."""
        silent = SilentTarget(self)
        proxy = Proxy(self, LISTENER + PLAIN + f'target = "{silent.address}"\n' + route("127.0.0.1:9"))
        await self.gone(proxy, "connect", b"a request", "plain")

    async def test_plaintext_half_close(self) -> None:
        """On a plaintext listener a request and a FIN wait for the target together: the answer comes back."""
        backend = Backend(self)
        answers: list[Deferred[Resolution]] = []

        def later() -> Deferred[Resolution]:
            answers.append(Deferred())
            return answers[0]

        self.patch(resolverset, "StaticResolver", lambda targets: Scripted(later))
        proxy = Proxy(self, LISTENER + PLAIN + f'target = "{backend.address}"\n' + route("127.0.0.1:9"))
        with proxy.connect("plain") as client:
            client.sendall(b"a request")
            client.shutdown(socket.SHUT_WR)
            while not answers:
                await in_thread(int)
            for _ in range(5):
                await in_thread(int)
            answers[0].callback(Resolution([Target("127.0.0.1", backend.port)]))
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(b"a request", await in_thread(read_to_end, upstream))
                upstream.sendall(b"an answer")
            self.assertEqual(b"an answer", await in_thread(read_to_end, client))
        self.assertEqual(Result.OK, (await proxy.ended()).result)

    async def test_at_once(self) -> None:
        """A target that connects at once costs no watch: a client that ended behind its hello has its tunnel."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        data = hello(name=NAME)
        with proxy.connect() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_to_end, upstream))
        self.assertEqual(Result.OK, (await proxy.ended()).result)


class FaultTests(ConversationCase):
    """Faults of our own."""

    async def test_internal_error(self) -> None:
        """A fault of the proxy ends the connection plainly and is logged with its cause."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        self.patch(proxy.service._built.routing.table, "match", None)
        record = await self.refused(proxy, hello(name=NAME), Result.INTERNAL_ERROR, None)
        self.assertEqual("a fault of the proxy: see its log", record.reason)
        self.assertEqual(1, len(self.flushLoggedErrors(TypeError)))

    async def test_observer_that_fails(self) -> None:
        """An observer that fails is logged and harms nothing."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        proxy.service._side._observers.insert(0, lambda record: 1 / 0)  # type: ignore[arg-type]
        with proxy.connect() as client:
            client.sendall(hello(name="nobody.test"))
            self.assertEqual(fatal_alert(Alert.UNRECOGNIZED_NAME), await in_thread(read_to_end, client))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        while proxy.service._live:
            await in_thread(int)
