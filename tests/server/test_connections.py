"""Tests for sniproxy.server.connections, with a running proxy."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent

from sniproxy.admin.sources import RelayStatus
from sniproxy.config.limits import Limits
from sniproxy.config.parser import parse
from sniproxy.connection.admission import SLOW_HELLO_S
from sniproxy.conversation.recorder import Recording
from sniproxy.events import Result
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.util.buffered import Share
from tests.support.conversation import NAME, route
from tests.support.fakeengine import use_fake
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy, open_tunnel
from tests.support.sockets import HandClock, SocketTestCase, in_thread, read_exactly, read_to_end
from tests.tls.material import CA, folder, pem

MEBI = 1 << 20


class RoomTests(SocketTestCase):
    """Near the limit of open files."""

    async def test_connections_wait(self) -> None:
        """If descriptors do not suffice for a dial, new connections wait until another one has ended."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        proxy.service._connections.change(Limits(), 4)  # one is kept in reserve: one connection and its dial
        with proxy.connect() as first, proxy.connect() as second:
            first.sendall(hello(name=NAME))
            second.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
                self.assertEqual(1, len(proxy.service._connections.live))
                first.close()
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        self.assertEqual(Result.OK, (await proxy.ended(1)).result)

    async def test_aside(self) -> None:
        """Further descriptors of connections count in the limit; a wait is counted once."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        manager = proxy.service._connections
        manager.change(Limits(), 8)  # two are kept in reserve
        self.assertIsNone(manager.must_wait())
        permit = manager.admission.admit("unix")
        assert permit is not None
        for waits in (1, 2):
            permit.add_descriptors(5)
            for _ in range(3):
                self.assertEqual("the limit of open files is nearly reached", manager.must_wait())
            waited = {"descriptors": waits, "max_buffered": 0, "max_connections": 0, "max_hellos": 0}
            limits = proxy.service.view.status().limits
            self.assertEqual((waited, "descriptors"), (limits.waited, limits.reached))
            permit.add_descriptors(-5)
            self.assertIsNone(manager.must_wait())
            self.assertIsNone(manager.limits_status().reached)

    async def test_engine(self) -> None:
        """Pipes of the relay engine are descriptors, and the bytes that it holds are buffered."""
        fake = use_fake(self)
        proxy = Proxy(self, route("127.0.0.1:9") + f"[limits]\nmax_buffered = {MEBI}\n")
        manager = proxy.service._connections
        manager.change(proxy.service.configuration.limits, 8)  # two are kept in reserve
        fake.pipes, fake.held = 2, MEBI - 1
        self.assertIsNone(manager.must_wait())
        fake.pipes = 3
        self.assertEqual("the limit of open files is nearly reached", manager.must_wait())
        fake.pipes, fake.held = 0, MEBI
        self.assertIn("max_buffered", manager.must_wait() or "")
        self.assertEqual(RelayStatus("engine", "", 1, 0, MEBI, 0), manager.relay_status())

    async def test_ids(self) -> None:
        """The ids of connections are unique, also between proxies."""
        proxies = [Proxy(self, route("127.0.0.1:9")) for _ in range(2)]
        for proxy in proxies:
            for number in range(2):
                proxy.connect().close()
                await proxy.ended(number)
        ids = [record.id for proxy in proxies for record in proxy.records]
        self.assertEqual(4, len(set(ids)), ids)


class LimitTests(SocketTestCase):
    """Limits, as seen by clients."""

    async def tunnel(self, proxy: Proxy, backend: Backend) -> tuple[socket.socket, socket.socket]:
        """@return: both ends of a tunnel, the client's and the target's."""
        return await open_tunnel(self, proxy, backend, NAME)

    async def refused(self, proxy: Proxy) -> None:
        """Assert that a new client is reset."""
        with proxy.connect() as client:
            try:
                client.sendall(hello(name=NAME))
                await in_thread(client.recv, 1)
            except (ConnectionResetError, BrokenPipeError):
                return
        self.fail("it was let in")

    async def test_total(self) -> None:
        """At the limit a client waits, and is accepted when another one has ended; none is refused."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address) + "[limits]\nmax_connections = 1")
        ends = await self.tunnel(proxy, backend)
        with proxy.connect() as second:
            second.sendall(hello(name=NAME))
            while not proxy.service._connections.admission.waits["max_connections"]:
                await in_thread(int)
            for end in ends:
                end.close()
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        self.assertEqual(Result.OK, (await proxy.ended(1)).result)

    async def test_by_client(self) -> None:
        """A client at its limit is reset and not written to the access log; its tunnel continues."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address) + "[limits]\nmax_connections_per_client = 1")
        with capturedLogs() as logs:
            ends = await self.tunnel(proxy, backend)
            await self.refused(proxy)
        said = [formatEvent(event) for event in logs]
        self.assertIn("connection from 127.0.0.1 refused: [limits] max_connections_per_client exceeded", said)
        self.assertEqual([], proxy.records)
        self.assertEqual({"max_connections_per_client": 1}, proxy.service.view.status().limits.refused)
        for end in ends:
            end.close()
        self.assertEqual(Result.OK, (await proxy.ended()).result)
        await self.tunnel(proxy, backend)

    async def test_by_route(self) -> None:
        """At a route's limit the client gets a plain close, and the access log has the reason."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address, more="max_connections = 1\n"))
        await self.tunnel(proxy, backend)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertEqual((Result.LIMIT, None, NAME), (record.result, record.alert, record.route))
        self.assertEqual(f"route {NAME}: at its limit of 1 connection", record.reason)

    async def test_slow_hello(self) -> None:
        """A client without a hello is closed after a second to make room; tunnels are unaffected."""
        backend, clock = Backend(self), HandClock()
        proxy = Proxy(self, route(backend.address) + "[limits]\nmax_connections = 2", clock)
        await self.tunnel(proxy, backend)
        with proxy.connect() as silent:
            while len(proxy.service._connections.live) < 2:
                await in_thread(int)
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                while not proxy.service._connections.admission.waits["max_connections"]:
                    await in_thread(int)
                clock.advance(SLOW_HELLO_S)
                self.assertEqual(b"", await in_thread(read_to_end, silent))
                with await in_thread(backend.accept) as upstream:
                    await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        record = proxy.records[0]
        self.assertEqual(Result.LIMIT, record.result)
        self.assertIn("while others wait", record.reason)

    async def test_slow_hello_beside_slow_readers(self) -> None:
        """While buffered bytes of slow readers are the limit, no slow hello is closed: it would free nothing."""
        clock = HandClock()
        proxy = Proxy(self, route("127.0.0.1:9") + "[limits]\nmax_buffered = 1048576", clock)
        manager, share = proxy.service._connections, Share(proxy.service._account)
        with proxy.connect():
            while not manager.live:
                await in_thread(int)
            clock.advance(SLOW_HELLO_S)
            self.assertIsNone(manager.must_wait())
            share.holds(1 << 20)
            self.assertIn("max_buffered", manager.must_wait() or "")
            self.assertEqual(1, len(manager.live))
            share.holds(0)
        await proxy.ended()

    async def test_two_services(self) -> None:
        """Bytes that one service buffers do not count for the limit of another in the same process."""
        full, other = (Proxy(self, route("127.0.0.1:9")) for _ in range(2))
        for proxy in (full, other):
            proxy.service._connections.admission.change(Limits(max_buffered=1), 100)
        with full.connect() as client:
            client.sendall(hello(name=NAME)[:50])
            while full.service._connections.must_wait() is None:
                await in_thread(int)
            self.assertIsNone(other.service._connections.must_wait())
        await full.ended()

    async def test_reload(self) -> None:
        """After a reload the new limits apply, to existing connections, too."""
        backend = Backend(self)
        text = route(backend.address)
        proxy = Proxy(self, text)
        await self.tunnel(proxy, backend)
        limited = parse(LISTENER + text + "[limits]\nmax_connections_per_client = 1", "test.toml")
        self.assertIsNone(proxy.service.reload(lambda: limited))
        await self.refused(proxy)
        self.assertIsNone(proxy.service.reload(lambda: parse(LISTENER + text, "test.toml")))
        await self.tunnel(proxy, backend)
        self.assertEqual([], proxy.records)


class EntranceTests(SocketTestCase):
    """Listeners and bridges of each kind."""

    async def test_inspected(self) -> None:
        """The inspector gets the bytes of inspected listeners and bridges; a recording has the listener's."""
        backend = Backend(self)
        path = Path(self.mktemp()).resolve()
        files = folder(Path(self.mktemp()), ca_pem=CA.cert_pem.bytes()).resolve()
        proxy = Proxy(
            self,
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'
            f'inspect = "pulsar"\ntarget = "{backend.address}"\n'
            '[[bridge]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "bridge"\ninspect = "pulsar"\n'
            f'service_url = "pulsar+ssl://vip.test"\ntrust = "{files}/ca.pem"\n[inspect_log]\npath = "{path}"\n',
        )
        connect = write(pb.CommandConnect(client_version="c"))
        sent: list[str] = []

        def send(message: str, must: bool) -> bool:
            sent.append(message)
            return True

        proxy.service.view.record([], Recording(), send)
        with proxy.connect("plain") as client:
            client.sendall(connect)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(connect, await in_thread(read_exactly, upstream, len(connect)))
        record = await proxy.ended()
        self.assertEqual((Result.OK, "plaintext"), (record.result, record.route))
        with proxy.connect("bridge") as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(b"", await in_thread(read_to_end, client))
        head, line, end = map(json.loads, sent)
        self.assertEqual((backend.address, "CONNECT"), (head["line"]["broker"], line["line"]["command"]))
        self.assertEqual({"connection": 1, "ended": record.reason, "topics": []}, end)
        record = await proxy.ended(1)
        self.assertEqual((Result.NOT_PULSAR, "bridge", "bridge"), (record.result, record.listener, record.route))
        await proxy.service.stopService()
        events = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertIn(proxy.records[0].id, {event["connection"] for event in events})

    async def test_header(self) -> None:
        """A listener that reads headers counts a connection for the client that the header names."""
        backend = Backend(self)
        proxy = Proxy(
            self,
            f'{LISTENER}proxy_protocol = "required"\nproxy_protocol_from = ["127.0.0.0/8"]\n' + route(backend.address),
        )
        with proxy.connect() as client:
            client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 6651\r\n" + hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        record = await proxy.ended()
        self.assertEqual((Result.OK, "192.0.2.7:4711"), (record.result, record.client))

    async def test_terminated(self) -> None:
        """A listener with certificates ends TLS: the target gets the plaintext in TLS of the proxy's own."""
        backend = Backend(self)
        files = folder(Path(self.mktemp()), ca_pem=CA.cert_pem.bytes(), shown_pem=pem(NAME)).resolve()
        proxy = Proxy(
            self,
            f'{LISTENER}certificates = "{files}/shown.pem"\nupstream_trust = "{files}/ca.pem"\n'
            + route(backend.address),
        )
        outer, inner = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        CA.configure_trust(outer)
        CA.issue_cert(NAME).configure_cert(inner)
        accepting = in_thread(lambda: inner.wrap_socket(backend.accept(), server_side=True))
        client = await in_thread(lambda: outer.wrap_socket(proxy.connect(), server_hostname=NAME))
        with client, await accepting as upstream:
            client.sendall(b"plain")
            self.assertEqual(b"plain", await in_thread(read_exactly, upstream, 5))
            upstream.sendall(b"answer")
            self.assertEqual(b"answer", await in_thread(read_exactly, client, 6))
        record = await proxy.ended()
        self.assertEqual((Result.OK, 5, 6), (record.result, record.bytes_up, record.bytes_down))

    async def test_bridge(self) -> None:
        """A bridge that is not inspected has no events; a client beyond its limit is reset, with no record."""
        files = folder(Path(self.mktemp()), ca_pem=CA.cert_pem.bytes()).resolve()
        proxy = Proxy(
            self,
            '[[bridge]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "bridge"\n'
            f'service_url = "pulsar+ssl://vip.test"\ntrust = "{files}/ca.pem"\n'
            "[limits]\nmax_connections_per_client = 1\n",
        )
        with proxy.connect("bridge") as first:
            while not proxy.service._connections.live:
                await in_thread(int)
            with proxy.connect("bridge") as second:
                await self.assertFailure(in_thread(second.recv, 1), ConnectionResetError)
            first.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(b"", await in_thread(read_to_end, first))
        record = await proxy.ended()
        self.assertEqual((Result.NOT_PULSAR, "bridge"), (record.result, record.listener))
        self.assertEqual({"max_connections_per_client": 1}, proxy.service.view.status().limits.refused)
        self.assertEqual([record], proxy.records)
