"""Dialling targets through a running proxy."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.python.monkey import MonkeyPatcher

from sniproxy import service
from sniproxy.config.parser import parse
from sniproxy.connection import dial
from sniproxy.events import Connection, Result
from sniproxy.interfaces import Target
from sniproxy.net import connect, dialer
from sniproxy.net.connect import begin
from sniproxy.net.veto import DestinationVeto
from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.writer import write_v1
from sniproxy.resolvers.static import StaticResolver
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy, SilentTarget
from tests.support.sockets import TIMEOUT_S, HandClock, in_thread, read_exactly, read_to_end

SOURCE = 'target_source = "client"\n'


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


class CountTests(ConversationCase):
    """The counts of targets."""

    async def test_connects(self) -> None:
        """Each target's connect is counted when it ends, with its own time: also one after failures of others."""
        silent, backend, clock = SilentTarget(self), Backend(self), HandClock()
        targets = f'["127.0.0.1:1", "{silent.address}", "{backend.address}"]'
        proxy = Proxy(self, f'[[route]]\nserver_name = "{NAME}"\ntarget = {targets}\n', clock)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            while not proxy.service.view.live() or proxy.service.view.live()[0].state != "connect":
                await in_thread(int)
            clock.advance(9.0)
            with await in_thread(backend.accept):
                while proxy.service.view.live()[0].state != "open":
                    await in_thread(int)
                known = proxy.service._upstreams.stats.known
                self.assertEqual(1, known["127.0.0.1:1"].failures["refused"])
                self.assertEqual("Connection refused", known["127.0.0.1:1"].why)
                reached = known[backend.address]
                self.assertEqual((1, 1, 1), (sum(reached.buckets), reached.connections, reached.most))
                self.assertEqual(9.0, proxy.service.view.live()[0].record.connect_s)
                self.assertEqual(0.0, reached.connect_s, "the time of the silent target does not count")
        await proxy.ended()
        self.assertEqual(0, reached.connections)

    async def test_planned(self) -> None:
        """The only target of a route is counted as any other: a connect, its time, its bytes, a failure."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        stats = proxy.service._upstreams.stats
        for number in range(2):
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                with await in_thread(backend.accept) as upstream:
                    await in_thread(read_exactly, upstream, len(hello(name=NAME)))
            await proxy.ended(number)
        found = stats.known[backend.address]
        self.assertEqual((2, 2, 1, 0), (found.total, sum(found.buckets), found.most, found.connections))
        self.assertEqual(2 * len(hello(name=NAME)), stats.ended_up[backend.address])
        backend.sock.close()
        await self.refused(proxy, hello(name=NAME), Result.CONNECT_FAILED, None)
        self.assertEqual((3, 1), (found.total, found.failures["refused"]))


class PlanTests(ConversationCase):
    """The route has one target, an IP address, whose veto was asked before."""

    async def tunnel(self, proxy: Proxy, backend: Backend) -> Connection:
        """Open a tunnel and end it. @return: its record."""
        number = len(proxy.records)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                self.assertTrue(await in_thread(read_exactly, upstream, len(hello(name=NAME))))
        return await proxy.ended(number)

    def veto(self, proxy: Proxy) -> list[Any]:
        """Keep what the veto is asked from now on."""
        asked: list[Any] = []
        denies = DestinationVeto.denies

        def counted(veto: DestinationVeto, target: Target, address: str | None) -> str | None:
            asked.append(address)
            return denies(veto, target, address)

        self.patch(DestinationVeto, "denies", counted)
        return asked

    async def test_record(self) -> None:
        """The record is as of any other tunnel, and the target's connections are counted while it is open."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        upstreams, target = proxy.service._upstreams, Target("127.0.0.1", backend.port)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as sock:
                await in_thread(read_exactly, sock, len(hello(name=NAME)))
                self.assertEqual(1, upstreams.connections(target))
                self.assertEqual([backend.address], list(upstreams.answered))
        record = await proxy.ended()
        self.assertEqual((Result.OK, backend.address, 0.0), (record.result, record.target, record.resolve_s))
        assert record.connect_s is not None
        self.assertEqual(0, upstreams.connections(target))

    async def test_veto_asked_once(self) -> None:
        """The veto is asked at the first connection of a configuration, not at the next."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        asked = self.veto(proxy)
        self.assertIsNone(proxy.service.reload(lambda: proxy.service.configuration))
        for _ in range(3):
            await self.tunnel(proxy, backend)
        self.assertEqual([None, "127.0.0.1"], asked)

    async def test_loop_after_reload(self) -> None:
        """A reload listens on the target of a connection that was accepted before: that is a loop."""
        backend = Backend(self)
        backend.sock.close()
        proxy = Proxy(self, route(backend.address))
        await self.refused(proxy, hello(name=NAME), Result.CONNECT_FAILED, None)
        with proxy.connect() as client:
            while not proxy.service._connections.live:
                await in_thread(int)
            listener = f'[[listener]]\nname = "new"\nendpoint = "tcp:{backend.port}:interface=127.0.0.1"\n'
            text = f"{LISTENER}{listener}"
            self.assertIsNone(proxy.service.reload(lambda: parse(text, "test.toml")))
            client.sendall(hello(name=NAME))
            await in_thread(read_to_end, client)
        record = await proxy.ended(1)
        self.assertEqual(Result.DENIED, record.result)
        self.assertIn("(loop)", record.reason)

    async def test_drained_later(self) -> None:
        """A drain holds for a route that has a plan, until it is undone."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        await self.tunnel(proxy, backend)
        proxy.service.view.drain(backend.address, 10)
        record = await self.refused(proxy, hello(name=NAME), Result.CONNECT_FAILED, None)
        self.assertEqual(f"drained: {backend.address}", record.reason)

    async def test_waits(self) -> None:
        """A connect that takes its time is waited for, and its time is in the record."""
        backend = Backend(self)
        begun = []

        def slow(host: str, port: int, source: str | None) -> tuple[socket.socket, int]:
            sock, _ = begin(host, port, source)
            begun.append(sock)
            return sock, errno.EINPROGRESS

        self.patch(dial, "begin", slow)
        proxy = Proxy(self, route(backend.address))
        record = await self.tunnel(proxy, backend)
        self.assertEqual((Result.OK, 1), (record.result, len(begun)))
        self.assertEqual(0, proxy.service._upstreams.connections(Target("127.0.0.1", backend.port)))

    async def test_no_descriptor(self) -> None:
        """Without a descriptor the connection fails as any other, and the next one succeeds."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))

        def none(*arguments: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with MonkeyPatcher((dial, "begin", none), (dialer, "begin", none)):
            record = await self.refused(proxy, hello(name=NAME), Result.CONNECT_FAILED, None)
            self.assertIn("Too many open files", record.reason)
        self.assertEqual(Result.OK, (await self.tunnel(proxy, backend)).result)
        self.assertEqual(0, proxy.service._upstreams.connections(Target("127.0.0.1", backend.port)))


class FromClientTests(ConversationCase):
    """target_source = "client"."""

    def setUp(self) -> Any:
        # Loopback has addresses enough, and they need no capability.
        self.patch(connect, "bind_to_client", lambda sock, source: sock.bind((source, 0)))
        self.patch(service, "check_transparent", lambda configuration: None)
        return super().setUp()

    async def seen(self, proxy: Proxy, backend: Backend, host: str, header: bytes = b"") -> Connection:
        """Open a tunnel from a loopback address, and assert that the target sees a host. @return: the record."""
        number = len(proxy.records)
        address = proxy.service.addresses["public"]
        with socket.create_connection(address, TIMEOUT_S, ("127.0.0.7", 0)) as client:
            client.sendall(header + hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(host, upstream.getpeername()[0])
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        record = await proxy.ended(number)
        self.assertEqual(host, (record.upstream_local or "").rpartition(":")[0])
        return record

    async def test_seen(self) -> None:
        """The target sees the client: with a plan, without one, and the one that a header names."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address, more=SOURCE))
        await self.seen(proxy, backend, "127.0.0.7")
        await self.seen(proxy, backend, "127.0.0.7")
        named = Proxy(self, route(f"localhost:{backend.port}", more=SOURCE))
        await self.seen(named, backend, "127.0.0.7")
        own = Proxy(self, route(backend.address))
        await self.seen(own, backend, "127.0.0.1")
        told = Proxy(self, f'{LISTENER}proxy_protocol = "required"\n{route(backend.address, more=SOURCE)}')
        header = write_v1(Address("127.0.0.8", 50123), Address("127.0.0.1", 4443))
        await self.seen(told, backend, "127.0.0.8", header)

    async def test_plaintext(self) -> None:
        """A plaintext listener's target sees the client."""
        backend = Backend(self)
        proxy = Proxy(self, f'{LISTENER}plaintext = true\ntarget = "{backend.address}"\n{SOURCE}')
        await self.seen(proxy, backend, "127.0.0.7")

    async def test_other_family(self) -> None:
        """A client of the other family is refused with an alert, also where the route has a plan."""
        self.patch(dial, "begin", lambda *arguments: self.fail("it was dialled"))
        proxy = Proxy(self, route("[::1]:1", more=SOURCE))
        for _ in range(2):
            record = await self.refused(proxy, hello(name=NAME), Result.DENIED, Alert.ACCESS_DENIED)
            self.assertEqual("[::1]:1: not dialled from the client 127.0.0.1: it has no IPv6 address", record.reason)

    async def test_no_address(self) -> None:
        """A client on a unix socket, and one that a header calls 0.0.0.0, are refused."""
        path = os.path.join(tempfile.mkdtemp(), "s")
        self.addCleanup(shutil.rmtree, os.path.dirname(path))
        proxy = Proxy(self, f'[[listener]]\nendpoint = "unix:{path}"\n{route("127.0.0.1:1", more=SOURCE)}')
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(path)
            client.sendall(hello(name=NAME))
            self.assertEqual(fatal_alert(Alert.ACCESS_DENIED), await in_thread(read_to_end, client))
        record = await proxy.ended()
        why = "target_source: targets cannot be dialled from the client: the client of a unix socket has no address"
        self.assertEqual((Result.DENIED, why), (record.result, record.reason))
        told = Proxy(self, f'{LISTENER}proxy_protocol = "required"\n{route("127.0.0.1:1", more=SOURCE)}')
        data = write_v1(Address("0.0.0.0", 50123), Address("127.0.0.1", 4443)) + hello(name=NAME)
        record = await self.refused(told, data, Result.DENIED, Alert.ACCESS_DENIED)
        self.assertIn("the client's address 0.0.0.0", record.reason)


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
