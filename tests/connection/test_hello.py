"""Reading hellos through a running proxy: refused ones, and the client's answer."""

from __future__ import annotations

import socket

from sniproxy.connection import hello as connection_hello
from sniproxy.events import Result
from sniproxy.pulsar.commands import read, type_name
from sniproxy.pulsar.commands_pb2 import ServerError
from sniproxy.pulsar.frames import FrameReader
from sniproxy.tls.alerts import Alert
from sniproxy.tls.nottls import PLAINTEXT_PULSAR
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import HandClock, in_thread, read_exactly, read_to_end, reset


class HelloTests(ConversationCase):
    """Complete hellos."""

    async def test_hello_in_single_bytes(self) -> None:
        """A hello that arrives byte by byte is routed."""
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

    async def test_whole(self) -> None:
        """A hello that arrives whole is read without the stage that waits for bytes."""
        self.patch(connection_hello, "HelloStage", None)
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        data = hello(name=NAME) + b"early data"
        with proxy.connect() as client:
            client.sendall(data)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
        self.assertEqual((Result.OK, len(data)), ((await proxy.ended()).result, proxy.records[0].received))

    async def test_two_records(self) -> None:
        """A hello that arrives whole, in several records, needs no second read."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        data = hello(name=NAME, record_size=100)
        with proxy.connect() as client:
            client.sendall(data)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
        self.assertEqual(Result.OK, (await proxy.ended()).result)

    async def test_lengths_are_shared(self) -> None:
        """Hellos of one length share the object of their length, for idle tunnels are many."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        data = hello(name=NAME) + bytes(300)
        for number in range(2):
            with proxy.connect() as client:
                client.sendall(data)
                with await in_thread(backend.accept) as upstream:
                    await in_thread(read_exactly, upstream, len(data))
            await proxy.ended(number)
        first, second = proxy.records
        self.assertEqual(len(data), first.received)
        self.assertIs(first.received, second.received)


class RefusalTests(ConversationCase):
    """Refused hellos, with their alert or a plain close."""

    async def test_alert_of_the_hellos_version(self) -> None:
        """The alert has the hello's version if that is below TLS 1.2."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        with proxy.connect() as client:
            client.sendall(hello(name="nobody.test", legacy_version=0x0301))
            self.assertEqual(b"\x15\x03\x01\x00\x02\x02\x70", await in_thread(read_to_end, client))

    async def test_malformed(self) -> None:
        """A malformed hello never takes the default route; the alert fits the fault."""
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
        """Bytes that are not TLS get a plain close; the reason names the protocol."""
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
        """A plaintext Pulsar client gets an error in its own protocol: this port speaks TLS."""
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
        """A hello over 131,400 bytes gets illegal_parameter."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        data = b"\x16\x03\x01\x00\x04\x01\x02\x01\x45"
        await self.refused(proxy, data, Result.LIMIT, Alert.ILLEGAL_PARAMETER)

    async def test_hello_timeout(self) -> None:
        """An incomplete hello at the timeout gets a plain close."""
        clock = HandClock()
        proxy = Proxy(self, route("127.0.0.1:9", more="[timeouts]\nhello = 2\n"), clock)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME)[:-1])
            while not proxy.service._connections.live:
                await in_thread(int)
            clock.advance(2)
            self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertEqual((Result.HELLO_TIMEOUT, "no complete hello within 2 s"), (record.result, record.reason))
        clock.advance(1)

    async def test_client_gone(self) -> None:
        """If a client leaves before its hello is complete, the record has the number of bytes."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        for data in (b"", b"\x16\x03"):
            record = await self.refused(proxy, data, Result.CLIENT_GONE, None, end=True)
            self.assertEqual(len(data), record.received)

    async def test_reset(self) -> None:
        """A client that resets its connection instead of sending a hello: the reason is the system's."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        reset(proxy.connect())  # before the proxy accepts it
        record = await proxy.ended()
        self.assertEqual((Result.CLIENT_GONE, 0), (record.result, record.received))
        self.assertEqual("Connection reset by peer", record.reason)
