"""The house as a whole: start, listen, log, drain, stop."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from sniproxy.events import Result
from sniproxy.linewriter import CannotOpen
from sniproxy.net.copying import CopyDirection
from sniproxy.net.splicing import SpliceDirection
from tests.hellos import hello
from tests.net.support import HandClock, SocketTestCase, in_thread, read_exactly, read_to_end
from tests.proxies import LISTENER, Backend, Proxy
from tests.test_conversation import NAME, route


class StartTests(SocketTestCase):
    """From a configuration to listening sockets."""

    async def test_addresses(self) -> None:
        """Each listener's bound address is known by its name, while it runs."""
        proxy = Proxy(
            self, LISTENER + '[[listener]]\nendpoint = "tcp6:0:interface=\\\\:\\\\:1"\n' + route("127.0.0.1:9")
        )
        self.assertEqual(["public", "tcp6:0:interface=\\:\\:1"], list(proxy.service.addresses))
        self.assertEqual(["127.0.0.1", "::1"], [host for host, _ in proxy.service.addresses.values()])
        await proxy.service.stopService()
        self.assertEqual({}, proxy.service.addresses)

    async def test_both_ways(self) -> None:
        """Bytes can be moved by a copy where splice is not wanted."""
        for way in (CopyDirection, SpliceDirection):
            backend = Backend(self)
            proxy = Proxy(self, route(backend.address), way=way)
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                with await in_thread(backend.accept) as upstream:
                    await in_thread(read_exactly, upstream, len(hello(name=NAME)))
            self.assertEqual(Result.OK, (await proxy.ended()).result)


class AccessLogTests(SocketTestCase):
    """The access log of a running proxy."""

    async def test_file(self) -> None:
        """One JSON object a line; after a rotation the next lines come in the new file; the last ones at the stop."""
        path = Path(self.mktemp())
        proxy = Proxy(self, route("127.0.0.1:9") + f'[access_log]\npath = "{path.absolute()}"\n')
        for number in range(2):
            with proxy.connect() as client:
                client.sendall(hello(name="nobody.test"))
                await in_thread(read_to_end, client)
            await proxy.ended(number)
            if not number:
                path.rename(f"{path}.1")
                proxy.service.reopen_logs()
        await proxy.service.stopService()
        for file in (Path(f"{path}.1"), path):
            (line,) = file.read_text().splitlines()
            self.assertEqual(("no_route", "nobody.test"), (json.loads(line)["result"], json.loads(line)["server_name"]))

    def test_cannot_be_opened(self) -> None:
        """A log that cannot be opened is an error, and nothing listens."""
        self.assertRaises(CannotOpen, Proxy, self, route("127.0.0.1:9") + '[access_log]\npath = "/nonexistent/x"\n')

    async def test_silent_connections(self) -> None:
        """Who leaves without a byte is counted, and not logged."""
        path = Path(self.mktemp())
        proxy = Proxy(self, route("127.0.0.1:9") + f'[access_log]\npath = "{path.absolute()}"\n')
        proxy.connect().close()
        await proxy.ended()
        self.assertEqual("1 closed without a byte", proxy.service._side.summary())
        await proxy.service.stopService()
        self.assertEqual("", path.read_text())


class DescriptorTests(SocketTestCase):
    """Near the limit of open files."""

    async def test_connections_wait(self) -> None:
        """When the descriptors would not suffice for a dial, new connections wait until another one has ended."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        self.patch(proxy.service, "_descriptors", 4)  # one is kept in reserve: one connection and its dial
        with proxy.connect() as first, proxy.connect() as second:
            first.sendall(hello(name=NAME))
            second.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
                self.assertEqual(1, len(proxy.service._live))
                first.close()
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        self.assertEqual(Result.OK, (await proxy.ended(1)).result)

    async def test_told_before(self) -> None:
        """Told to end at once before it was told to stop, it does not drain."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
                proxy.service._at_once = True
                await proxy.service.stopService()
        self.assertEqual(Result.SHUTDOWN, proxy.records[0].result)


class DrainTests(SocketTestCase):
    """Stopping."""

    async def tunnel(self, text: str = "", clock: object = None) -> tuple[Proxy, socket.socket, socket.socket]:
        backend = Backend(self)
        arguments = () if clock is None else (clock,)
        proxy = Proxy(self, route(backend.address) + text, *arguments)
        client = proxy.connect()
        self.addCleanup(client.close)
        client.sendall(hello(name=NAME))
        upstream = await in_thread(backend.accept)
        self.addCleanup(upstream.close)
        await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        return proxy, client, upstream

    async def test_drain(self) -> None:
        """A tunnel that ends by itself while the proxy drains ends well; new connections are not accepted."""
        proxy, client, upstream = await self.tunnel()
        address = proxy.service.addresses["public"]
        ended: list[object] = []
        stopped = proxy.service.stopService().addCallback(ended.append)
        await in_thread(int)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)
        client.sendall(b"still")
        self.assertEqual(b"still", await in_thread(read_exactly, upstream, 5))
        self.assertEqual([], ended)
        client.close()
        upstream.close()
        await stopped
        self.assertEqual(Result.OK, proxy.records[0].result)

    async def test_drain_time_is_up(self) -> None:
        """A tunnel that is open after the drain time is ended with a FIN."""
        clock = HandClock()
        proxy, client, upstream = await self.tunnel("[timeouts]\ndrain = 3\n", clock)
        stopped = proxy.service.stopService()
        clock.advance(3)
        self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertEqual(b"", await in_thread(read_to_end, upstream))
        client.close()
        upstream.close()
        clock.advance(1)
        await stopped
        record = proxy.records[0]
        self.assertEqual(
            (Result.DRAINED, "still open 3 s after the proxy began to stop"), (record.result, record.reason)
        )

    async def test_second_signal(self) -> None:
        """Told to stop at once while it drains, it does."""
        proxy, client, _ = await self.tunnel()
        ended: list[object] = []
        stopped = proxy.service.stopService().addCallback(ended.append)
        await in_thread(int)
        self.assertEqual([], ended)
        proxy.service.end_now()
        await stopped
        self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertEqual(Result.SHUTDOWN, proxy.records[0].result)

    async def test_no_drain_time(self) -> None:
        """Drain time 0: tunnels are ended at once."""
        proxy, _, _ = await self.tunnel("[timeouts]\ndrain = 0\n")
        await proxy.service.stopService()
        self.assertEqual(Result.SHUTDOWN, proxy.records[0].result)

    async def test_before_the_tunnel(self) -> None:
        """A connection that is no tunnel yet is ended at once."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        with proxy.connect() as client:
            client.sendall(b"\x16")
            while not proxy.service._live:
                await in_thread(int)
            await proxy.service.stopService()
            self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertEqual(Result.SHUTDOWN, proxy.records[0].result)
