"""The beginning and the end of a connection; the stages have tests of their own."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred

from sniproxy.config.schema import Timeouts
from sniproxy.connection.lifecycle import ConnectionContext, Lifecycle
from sniproxy.events import Connection, Refusal, Result
from sniproxy.interfaces import Resolution, Target
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.relay import Ending
from sniproxy.server import resolverset
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy, SilentTarget
from tests.support.reactor import reactor
from tests.support.scripted import Scripted
from tests.support.sockets import SocketTestCase, connected, in_thread, read_exactly, read_to_end, reset
from tests.support.targetsof import targets_of


class LifecycleTests(SocketTestCase):
    """Ends of a connection."""

    async def live(self, result: object) -> tuple[Connection, bytes]:
        """End the stage with a value or an error. @return: the record, and the bytes that the client got."""
        told: list[Connection] = []
        far, ours = connected()
        self.addCleanup(far.close)
        closer = LingeringCloser(reactor)
        nobody = cast(Any, None)
        context = ConnectionContext(reactor, nobody, Timeouts(), nobody, closer, told.append)
        stage: Deferred[Ending] = Deferred()

        async def handler(conn: Lifecycle) -> None:
            conn.finish(await stage)

        conn = Lifecycle(context, ours, Connection("id-1", 1.0, "public", "127.0.0.1:1"))
        ended: Deferred[object] = Deferred()
        conn.begin(handler, ended.callback)
        self.assertEqual(("hello", False, 0, 0), (conn.state, conn.tunnelling, conn.bytes_up, conn.bytes_down))
        if isinstance(result, Exception):
            stage.errback(result)
        elif result is None:
            conn.end(Ending(Result.DRAINED, "enough"))
        else:
            stage.callback(cast(Ending, result))
        self.assertIs(conn, await ended)
        got = await in_thread(read_to_end, far)
        far.close()
        await closer.settled()
        return told[0], got

    async def test_ways_to_end(self) -> None:
        """Each ending, refusal, cancellation and fault gives its result, and the client its alert."""
        for result, expected, word in (
            (Ending(Result.OK), (Result.OK, None, ""), b""),
            (
                Refusal(Result.NO_ROUTE, "none", Alert.UNRECOGNIZED_NAME),
                (Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME, "none"),
                fatal_alert(Alert.UNRECOGNIZED_NAME),
            ),
            (Refusal(Result.CONNECT_FAILED, "down"), (Result.CONNECT_FAILED, None, "down"), b""),
            (None, (Result.DRAINED, None, "enough"), b""),
            (
                ZeroDivisionError(),
                (Result.INTERNAL_ERROR, None, "internal error: see the program's log"),
                b"",
            ),
        ):
            record, got = await self.live(result)
            self.assertEqual(expected, (record.result, record.alert, record.reason))
            self.assertEqual(word, got)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


PLAIN = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'


class GoneTests(ConversationCase):
    """Clients that leave during resolve or dial, by a FIN or a reset, with or without early data."""

    async def gone(self, proxy: Proxy, state: str, data: bytes, listener: str = "public") -> None:
        """Assert for each way to leave: the record is written at once, and only the listener stays open."""
        fins = [data, data + b"early data"] if listener == "public" else [b""]
        ways = [(each, socket.socket.close) for each in fins] + [(data, reset), (data + b"early data", reset)]
        for number, (sent, leave) in enumerate(ways, len(proxy.records)):
            client = proxy.connect(listener)
            client.sendall(sent)
            while not (live := list(proxy.service._connections.live)) or live[0].state != state:
                await in_thread(int)
            leave(client)
            record = await proxy.ended(number)
            self.assertEqual((Result.CLIENT_GONE, None), (record.result, record.alert), record)
            how = "it closed the connection" if leave is socket.socket.close else "Connection reset by peer"
            doing = {"resolve": "resolved", "connect": "dialled"}[state]
            self.assertEqual(f"{how} while its target was {doing}", record.reason)
            while proxy.service._connections.live or len(proxy.service._closer):
                await in_thread(int)

    async def test_dialled(self) -> None:
        """During the dial: the target's socket is closed, and the target counts no failure."""
        silent = SilentTarget(self)
        proxy = Proxy(self, route(silent.address))
        await self.gone(proxy, "connect", hello(name=NAME))
        self.assertEqual([], [one for one in targets_of(proxy.service.view) if one.why or one.connections])

    async def test_resolved(self) -> None:
        """During resolve: the query is cancelled."""
        cancelled: list[Any] = []
        resolver = Scripted(lambda: Deferred(cancelled.append))
        self.patch(resolverset, "StaticResolver", lambda targets: resolver)
        proxy = Proxy(self, route("127.0.0.1:9"))
        await self.gone(proxy, "resolve", hello(name=NAME))
        self.assertEqual(4, len(cancelled))

    async def test_plaintext(self) -> None:
        """On a plaintext listener: a reset, or a FIN without unread bytes."""
        silent = SilentTarget(self)
        proxy = Proxy(self, LISTENER + PLAIN + f'target = "{silent.address}"\n' + route("127.0.0.1:9"))
        await self.gone(proxy, "connect", b"a request", "plain")

    async def test_plaintext_half_close(self) -> None:
        """On a plaintext listener, a request with a FIN waits for the target, and the answer comes back."""
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
        """If the target connects at once, the client is not watched: a FIN after the hello is no reason to cancel."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        data = hello(name=NAME)
        with proxy.connect() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_to_end, upstream))
        self.assertEqual(Result.OK, (await proxy.ended()).result)


class StateTests(ConversationCase):
    """What a connection shows of itself, and calls at its end."""

    async def test_tunnel(self) -> None:
        """A tunnel has a state, counts and limits; what is to be called at its end is, and a fault there is logged."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        called: list[str] = []
        with proxy.connect() as client:
            data = hello(name=NAME)
            client.sendall(data)
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(data))
                (conn,) = proxy.service._connections.live
                self.assertEqual(
                    ("open", True, len(data), 0), (conn.state, conn.tunnelling, conn.bytes_up, conn.bytes_down)
                )
                self.assertEqual((False, False), (conn.ended, conn.ending))
                conn.call_at_end(lambda: 1 // 0)  # type: ignore[arg-type]
                conn.call_at_end(lambda: called.append("last"))
                client.shutdown(socket.SHUT_WR)
                await in_thread(read_to_end, upstream)
                self.assertEqual("half_closed", conn.state)
                conn.end(Ending(Result.DRAINED, "enough"))
                record = await proxy.ended()
        self.assertEqual((Result.DRAINED, "enough", len(data)), (record.result, record.reason, record.bytes_up))
        self.assertEqual((["last"], True), (called, conn.ended))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    async def test_no_limits(self) -> None:
        """A connection that counts for no limit becomes a tunnel; a late end and a second ending change nothing."""
        told: list[Connection] = []
        far, ours = connected()
        self.addCleanup(far.close)
        nobody = cast(Any, None)
        context = ConnectionContext(reactor, nobody, Timeouts(), nobody, LingeringCloser(reactor), told.append)
        conn = Lifecycle(context, ours, Connection("id-1", 1.0, "public", "127.0.0.1:1"))
        conn.end(Ending(Result.DRAINED, "too early"))
        conn.receive_hello(9)
        self.assertEqual(9, context.account.bytes)
        conn.enter_route(cast(Any, SimpleNamespace(server_name="a.test", only_from=None)))
        tunnel: Any = SimpleNamespace(bytes_up=3, bytes_down=4, half_closed=False, answer=b"")
        conn.enter_tunnel(tunnel)
        self.assertEqual(0, context.account.bytes)
        conn.finish(Ending(Result.OK))
        self.assertEqual([("a.test", 3, 4)], [(one.route, one.bytes_up, one.bytes_down) for one in told])
        ours.close()

    async def test_next_target(self) -> None:
        """A connection counts for the target that is dialled, and no longer for the one that failed."""
        backend, down = Backend(self), Backend(self)
        down.sock.close()
        targets = f'target = ["{down.address}", "{backend.address}"]\n'
        proxy = Proxy(self, f'[[route]]\nserver_name = "{NAME}"\n{targets}')
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept):
                while not proxy.service._connections.live:
                    await in_thread(int)
                upstreams = proxy.service._upstreams
                counts = [upstreams.connections(Target("127.0.0.1", one.port)) for one in (down, backend)]
                self.assertEqual([0, 1], counts)
        self.assertEqual(backend.address, (await proxy.ended()).target)


class MovedTests(ConversationCase):
    """Tunnels that leave for another process, or come from one."""

    def context(self) -> ConnectionContext:
        self.told: list[Connection] = []
        self.opened: list[Lifecycle] = []
        nobody = cast(Any, None)
        return ConnectionContext(
            reactor, nobody, Timeouts(), nobody, nobody, self.told.append, opened=self.opened.append
        )

    def tunnel(self, up: int, down: int) -> Any:
        self.ends: list[Ending] = []
        return SimpleNamespace(bytes_up=up, bytes_down=down, answer=b"", half_closed=False, end=self.ends.append)

    async def test_adopted(self) -> None:
        """It has the target, the age and the bytes that it had there; its record is whole."""
        context = self.context()
        record = Connection("id-1", 1.0, "public", "127.0.0.1:1", target="h:1", bytes_up=100, bytes_down=200)
        conn = Lifecycle(context, None, record)
        over: list[Lifecycle] = []
        conn.adopt(Target("h", 1), 50.0, over.append)
        stats = context.upstreams.stats
        self.assertEqual((1, 0), (stats.known["h:1"].connections, stats.known["h:1"].total))
        self.assertGreaterEqual(conn.elapsed(), 50.0)
        self.assertFalse(conn.ended)
        conn.enter_tunnel(self.tunnel(103, 204))
        self.assertEqual((103, 204, "open", []), (conn.bytes_up, conn.bytes_down, conn.state, self.opened))
        conn.finish(Ending(Result.OK))
        self.assertEqual(([record], [conn], True), (self.told, over, conn.ended))
        self.assertEqual((103, 204), (record.bytes_up, record.bytes_down))
        self.assertGreaterEqual(record.total_s or 0, 50.0)
        self.assertEqual((3, 4, 0), (stats.ended_up["h:1"], stats.ended_down["h:1"], stats.known["h:1"].connections))

    async def test_left(self) -> None:
        """No record is written here; the target, and what is called at the end, know that it is gone."""
        context = self.context()
        conn = Lifecycle(context, None, Connection("id-1", 1.0, "public", "127.0.0.1:1", target="h:1"))
        over: list[object] = []
        conn.adopt(Target("h", 1), 0.0, over.append)
        conn.enter_tunnel(self.tunnel(5, 6))
        conn.call_at_end(lambda: over.append("end"))
        conn.call_at_end(lambda: 1 / 0)  # type: ignore[arg-type]
        conn.leave()
        self.assertEqual((["end", conn], [], True), (over, self.told, conn.ended))
        self.assertEqual((5, 6), (conn.record.bytes_up, conn.record.bytes_down))
        stats = context.upstreams.stats
        self.assertEqual((5, 6, 0), (stats.ended_up["h:1"], stats.ended_down["h:1"], stats.known["h:1"].connections))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    async def test_asked_meanwhile(self) -> None:
        """A connection that is to end while no relay has it ends when one has it again."""
        conn = Lifecycle(self.context(), None, Connection("id-1", 1.0, "public", "127.0.0.1:1"))
        conn.end_if_asked()
        conn.end(Ending(Result.DRAINED, "enough"))
        self.assertTrue(conn.ending)
        conn.enter_tunnel(self.tunnel(0, 0))
        conn.end_if_asked()
        self.assertEqual([Ending(Result.DRAINED, "enough")], self.ends)


class FaultTests(ConversationCase):
    """Faults of the proxy."""

    async def test_internal_error(self) -> None:
        """A fault of the proxy gives a plain close, and is logged with its traceback."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        self.patch(proxy.service._built.routing.table, "choose", None)
        record = await self.refused(proxy, hello(name=NAME), Result.INTERNAL_ERROR, None)
        self.assertEqual("internal error: see the program's log", record.reason)
        self.assertEqual(1, len(self.flushLoggedErrors(TypeError)))

    async def test_observer_that_fails(self) -> None:
        """An exception of an observer is logged; the connection is unaffected."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        proxy.service._observers._observers.insert(0, lambda record: 1 / 0)  # type: ignore[arg-type]
        with proxy.connect() as client:
            client.sendall(hello(name="nobody.test"))
            self.assertEqual(fatal_alert(Alert.UNRECOGNIZED_NAME), await in_thread(read_to_end, client))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        while proxy.service._connections.live:
            await in_thread(int)
