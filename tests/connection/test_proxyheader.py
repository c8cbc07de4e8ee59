"""Tests for sniproxy.connection.proxyheader, through a running proxy."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from types import FrameType

from sniproxy.config.parser import parse
from sniproxy.events import Proxied, Result
from sniproxy.proxyprotocol.header import V2_SIGNATURE, Address
from sniproxy.proxyprotocol.writer import write_v1, write_v2
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import HandClock, in_thread, read_exactly, read_to_end

SOURCE, DESTINATION = Address("192.0.2.7", 50123), Address("198.51.100.1", 4443)
V1 = write_v1(SOURCE, DESTINATION)
V2 = write_v2(SOURCE, DESTINATION, {"authority": "a.test"})
LOCAL = write_v2(None, None, {})


def listener(mode: str = "required", more: str = "") -> str:
    """A listener with proxy_protocol."""
    return f"""[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"
name = "public"
proxy_protocol = "{mode}"
{more}
"""


class ProxyHeaderCase(ConversationCase):
    """Sends bytes to a proxy with a backend."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.backend = Backend(self)

    def proxy(self, mode: str = "required", more: str = "", rest: str = "", clock: object = None) -> Proxy:
        text = listener(mode, more) + route(self.backend.address) + rest
        return Proxy(self, text) if clock is None else Proxy(self, text, clock)

    async def through(self, proxy: Proxy, pieces: list[bytes], expected: bytes) -> None:
        """Assert that the backend gets these bytes, and that the tunnel ends well."""
        number = len(proxy.records)
        with proxy.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                await in_thread(client.sendall, piece)
            with await in_thread(self.backend.accept) as upstream:
                self.assertEqual(expected, await in_thread(read_exactly, upstream, len(expected)))
        self.assertEqual(Result.OK, (await proxy.ended(number)).result)


class HeaderTests(ProxyHeaderCase):
    """Headers that are believed."""

    async def test_client(self) -> None:
        """The client is the one that the header names; the target gets the hello only."""
        proxy, data = self.proxy(), hello(name=NAME)
        for header, tlvs in ((V1, {}), (V2, {"authority": "a.test"})):
            await self.through(proxy, [header + data], data)
            record = proxy.records.pop()
            assert record.proxied is not None
            self.assertEqual(
                ("192.0.2.7:50123", tlvs, len(data)), (record.client, record.proxied.tlvs, record.received)
            )
            self.assertTrue(record.proxied.peer.startswith("127.0.0.1:"))

    async def test_destination(self) -> None:
        """The port where the client connected to the sender can be the target's; without it there is no target."""
        port = self.backend.port
        policy = f'[policy]\nallow_cidrs = ["127.0.0.0/8"]\nallow_ports = [{port}]\n'
        routed = route("127.0.0.1:{proxy_protocol_port}")
        proxy, data = Proxy(self, listener() + routed + policy), hello(name=NAME)
        await self.through(proxy, [write_v2(SOURCE, Address("198.51.100.1", port), {}) + data], data)
        for header in (write_v2(SOURCE, Address("198.51.100.1", 1), {}), LOCAL):
            with proxy.connect() as client:
                client.sendall(header + data)
                await in_thread(read_to_end, client)
        denied, unknown = await proxy.ended(1), await proxy.ended(2)
        self.assertEqual((Result.DENIED, Result.NO_ROUTE), (denied.result, unknown.result))
        self.assertIn("port 1 is not in [policy] allow_ports", denied.reason)
        self.assertIn("no PROXY protocol header names a port for {proxy_protocol_port}", unknown.reason)

    async def test_authority(self) -> None:
        """The reason says that the header has another name than the hello; also of a refused connection."""
        proxy, data = self.proxy(), hello(name=NAME)
        await self.through(proxy, [V2 + data], data)
        differs = "the PROXY protocol header has another authority: a.test"
        self.assertIn(f"; {differs}", proxy.records[0].reason)
        refused = hello(name="b.test")
        with proxy.connect() as client:
            client.sendall(V2 + refused)
            await in_thread(read_to_end, client)
        record = await proxy.ended(1)
        self.assertEqual(Result.NO_ROUTE, record.result)
        self.assertTrue(record.reason.endswith(differs))
        await self.through(proxy, [write_v2(SOURCE, DESTINATION, {"authority": f"{NAME.upper()}."}) + data], data)
        self.assertNotIn("authority", proxy.records[2].reason)

    async def test_pieces(self) -> None:
        """A header may come byte by byte, and the hello apart from it."""
        data = hello(name=NAME)
        for header in (V1, V2):
            await self.through(self.proxy(), [header[at : at + 1] for at in range(len(header))] + [data], data)
        await self.through(self.proxy(), [V2, data[:9], data[9:]], data)
        await self.through(self.proxy(), [V2 + data[:9], data[9:]], data)

    async def test_no_address(self) -> None:
        """Without an address in the header, the peer is the client."""
        data = hello(name=NAME)
        for header in (LOCAL, b"PROXY UNKNOWN\r\n", V2_SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216)):
            proxy = self.proxy()
            await self.through(proxy, [header + data], data)
            record = proxy.records[0]
            self.assertEqual(Proxied(record.client, {}), record.proxied)

    async def test_optional(self) -> None:
        """Where a header is optional, a hello may come first."""
        proxy, data = self.proxy("optional"), hello(name=NAME)
        await self.through(proxy, [data], data)
        await self.through(proxy, [data[:1], data[1:]], data)
        await self.through(proxy, [V1 + data], data)
        self.assertEqual([None, None, "192.0.2.7:50123"], [one.proxied and one.client for one in proxy.records])

    async def test_plaintext(self) -> None:
        """A plaintext listener reads headers, too; the target gets what follows."""
        text = listener(more=f'plaintext = true\ntarget = "{self.backend.address}"')
        proxy = Proxy(self, text)
        await self.through(proxy, [V2 + b"frames"], b"frames")
        await self.through(proxy, [V2, b"frames"], b"frames")
        self.assertEqual({"192.0.2.7:50123"}, {record.client for record in proxy.records})

    async def test_limits(self) -> None:
        """Limits by client are for the client that the header names, not for the load balancer."""
        proxy, data = self.proxy(rest="[limits]\nmax_connections_per_client = 1\n"), hello(name=NAME)
        other = write_v1(Address("192.0.2.8", 1), DESTINATION)
        with proxy.connect() as first, proxy.connect() as second:
            for client, header in ((first, V1), (second, other)):
                client.sendall(header + data)
                with await in_thread(self.backend.accept) as upstream:
                    await in_thread(read_exactly, upstream, len(data))
            record = await self.refused(proxy, V2 + data, Result.LIMIT, None)
            self.assertIn("client 192.0.2.7: [limits] max_connections_per_client", record.reason)
        self.assertEqual(1, proxy.service._connections.admission.refusals["max_connections_per_client"])

    async def test_health_check(self) -> None:
        """A connection of the load balancer itself that sends no hello counts as silent."""
        proxy = self.proxy()
        with proxy.connect() as client:
            client.sendall(LOCAL)
        record = await proxy.ended()
        self.assertEqual((Result.CLIENT_GONE, 0), (record.result, record.received))

    async def test_leaves_in_the_middle(self) -> None:
        """A client that leaves in the middle of a header has sent something: it is in the access log."""
        for begin in (V1[:9], V2[:14], b"P"):
            proxy = self.proxy("optional")
            with proxy.connect() as client:
                client.sendall(begin)
            record = await proxy.ended()
            self.assertEqual((Result.CLIENT_GONE, len(begin)), (record.result, record.received))

    async def test_second_header(self) -> None:
        """A second header behind the first is named: it would be wrong to say that the listener reads none."""
        for second in (V1, V2):
            record = await self.refused(self.proxy(), V2 + second + hello(name=NAME), Result.NOT_TLS, None)
            self.assertIn("a second PROXY protocol header", record.reason)

    async def test_plaintext_health_check(self) -> None:
        """On a plaintext listener too, and no target is dialled for it; a header that names no client may be followed
        by bytes."""
        proxy = Proxy(self, listener(more=f'plaintext = true\ntarget = "{self.backend.address}"'))
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            with proxy.connect() as client:
                client.sendall(header)
            record = await proxy.ended()
            self.assertEqual((Result.CLIENT_GONE, 0, None), (record.result, record.received, record.target))
            proxy.records.clear()
            await self.through(proxy, [header, b"frames"], b"frames")
            await self.through(proxy, [header + b"frames"], b"frames")
            self.assertEqual([6, 6], [record.received for record in proxy.records])
            proxy.records.clear()

    async def test_plaintext_silent(self) -> None:
        """The deadline for header and first bytes is one."""
        clock = HandClock()
        text = listener(more=f'plaintext = true\ntarget = "{self.backend.address}"')
        proxy = Proxy(self, text + "[timeouts]\nhello = 10\n", clock)
        with proxy.connect() as client:
            client.sendall(LOCAL)
            live = proxy.service._connections.live
            while not live or not next(iter(live)).record.proxied:
                await in_thread(int)
            clock.advance(11)
            self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertEqual(
            (Result.HELLO_TIMEOUT, "no complete first message within 10 s"), (record.result, record.reason)
        )


class CallTests(ProxyHeaderCase):
    """What a header costs."""

    async def calls(self, proxy: Proxy, listener: str, data: bytes, size: int) -> Counter[str]:
        """Open a tunnel. @return: the calls of functions that may have to do with a header, by name."""
        found: Counter[str] = Counter()
        rooms = tuple(f"sniproxy.{room}" for room in ("proxyprotocol.", "connection.", "config.", "net.", "util.names"))

        def count(frame: FrameType, event: str, arg: object) -> None:
            if event == "call" and frame.f_globals.get("__name__", "").startswith(rooms):
                found[frame.f_code.co_qualname] += 1

        ended = len(proxy.records)
        with proxy.connect(listener) as client:
            client.sendall(data)  # it has arrived before the proxy accepts: both are in this thread
            before = sys.getprofile()
            sys.setprofile(count)
            try:
                upstream = await in_thread(self.backend.accept)
            finally:
                sys.setprofile(before)
            with upstream:
                await in_thread(read_exactly, upstream, size)
        await proxy.ended(ended)  # so that the end is not counted with the next one
        # The sockets of the tunnel before this one may close meanwhile.
        return Counter({name: calls for name, calls in found.items() if not name.startswith("LingeringCloser.")})

    async def test_calls(self) -> None:
        """A header that arrives with the hello costs a handful of calls: it is parsed at once, without waiting, and the
        peer is looked up once."""
        proxy = Proxy(self, listener() + LISTENER.replace("public", "plain") + route(self.backend.address))
        data = hello(name=NAME)
        headers = V1, write_v2(SOURCE, DESTINATION, {})
        for _ in range(2):  # the first round fills caches
            without = await self.calls(proxy, "plain", data, len(data))
            more = [await self.calls(proxy, "public", header + data, len(data)) - without for header in headers]
        for calls in more:
            self.assertIn("read_header", calls)
            self.assertLessEqual(sum(calls.values()), 8, calls)


class RefusalTests(ProxyHeaderCase):
    """Headers that are missing, malformed, late or not believed."""

    async def test_missing(self) -> None:
        """Without the required header the connection is refused, whatever its hello."""
        record = await self.refused(self.proxy(), hello(name=NAME), Result.PROXY_HEADER, None)
        self.assertIn("no PROXY protocol header from 127.0.0.1", record.reason)

    async def test_malformed(self) -> None:
        """A malformed header is refused in both modes, and its fault named."""
        for mode in ("required", "optional"):
            proxy = self.proxy(mode)
            for data, why in (
                (b"PROXY TCP4 1.2.3.4\r\n", "malformed"),
                (V2_SIGNATURE + b"\x31\x11\0\0", "version and command 0x31"),
                (b"PROXY ".ljust(200), "line end"),
            ):
                record = await self.refused(proxy, data, Result.PROXY_HEADER, None)
                self.assertIn(why, record.reason)

    async def test_not_believed(self) -> None:
        """A header of a peer that is not listed is refused in both modes; its hello is welcome where optional."""
        believed = 'proxy_protocol_from = ["192.0.2.0/24"]'
        data = hello(name=NAME)
        for mode in ("required", "optional"):
            record = await self.refused(self.proxy(mode, believed), V1 + data, Result.PROXY_HEADER, None)
            self.assertIn("from 127.0.0.1, which proxy_protocol_from", record.reason)
            self.assertTrue(record.client.startswith("127.0.0.1:"))
            # It is refused when it begins, so a stranger cannot make the proxy read fields and checksums.
            for begin in (b"PROXY ", V2_SIGNATURE):
                await self.refused(self.proxy(mode, believed), begin, Result.PROXY_HEADER, None)
        await self.through(self.proxy("optional", believed), [data], data)
        await self.through(self.proxy("optional", believed), [data[:1], data[1:]], data)
        await self.refused(self.proxy("required", believed), data, Result.PROXY_HEADER, None)

    async def test_deadline(self) -> None:
        """Header and hello share timeouts.hello."""
        for rest, what in ((b"", "PROXY protocol header"), (V1, "hello")):
            clock = HandClock()
            proxy = self.proxy(rest="[timeouts]\nhello = 3\n", clock=clock)
            live = proxy.service._connections.live
            with proxy.connect() as client:
                while not live:
                    await in_thread(int)
                clock.advance(2)
                client.sendall(rest)
                while rest and not next(iter(live)).record.proxied:
                    await in_thread(int)
                clock.advance(1)
                self.assertEqual(b"", await in_thread(read_to_end, client))
            record = await proxy.ended()
            self.assertEqual((Result.HELLO_TIMEOUT, f"no complete {what} within 3 s"), (record.result, record.reason))
            clock.advance(1)

    async def test_incomplete(self) -> None:
        """A header that has begun is complete within three seconds, or refused."""
        clock = HandClock()
        proxy = self.proxy(clock=clock)
        live = proxy.service._connections.live
        with proxy.connect() as client:
            client.sendall(V1[:9])
            while not live:
                await in_thread(int)
            while not proxy.service._account.bytes:
                await in_thread(int)
            clock.advance(2.8)
            self.assertTrue(live)
            clock.advance(0.2)
            self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertEqual(Result.PROXY_HEADER, record.result)
        self.assertEqual("no complete PROXY protocol header within 3 s of its first byte", record.reason)
        clock.advance(1)

    async def test_not_asked_for(self) -> None:
        """Another listener says what to do about a header."""
        proxy = Proxy(self, route(self.backend.address))
        for header in (V1, V2):
            record = await self.refused(proxy, header + hello(name=NAME), Result.NOT_TLS, None)
            self.assertIn('write proxy_protocol = "required"', record.reason)

    async def test_only_from_plaintext(self) -> None:
        """A plaintext listener with only_from refuses other clients before it dials."""
        for networks, result in (('["192.0.2.0/24"]', Result.OK), ('["198.51.100.0/24"]', Result.DENIED)):
            more = f'plaintext = true\ntarget = "{self.backend.address}"\nonly_from = {networks}\n'
            proxy = Proxy(self, listener("required", more))
            if result is Result.OK:
                await self.through(proxy, [V1 + b"hello"], b"hello")
            else:
                await self.refused(proxy, V1 + b"hello", result, None)

    async def test_only_from(self) -> None:
        """A route with only_from refuses other clients, by the addresses and endpoint ids of headers."""
        proxy = self.proxy(rest='only_from = ["192.0.2.8", "vpce-0123"]\n')
        data = hello(name=NAME)
        await self.through(proxy, [write_v1(Address("192.0.2.8", 7), DESTINATION) + data], data)
        aws = b"\xea\x00\x0a\x01vpce-0123"
        plain = write_v2(SOURCE, DESTINATION, {})
        by_endpoint = plain[:14] + (12 + len(aws)).to_bytes(2) + plain[16:] + aws
        await self.through(proxy, [by_endpoint + data], data)
        with proxy.connect() as client:
            client.sendall(V1 + data)
            await in_thread(read_to_end, client)
        record = await proxy.ended(2)
        self.assertEqual(
            (Result.DENIED, f"client 192.0.2.7 is not in only_from of route {NAME}"), (record.result, record.reason)
        )


class WaitingTests(ProxyHeaderCase):
    """Connections that wait for their header."""

    async def wait(self, proxy: Proxy, begin: bytes = V2[:13]) -> socket.socket:
        """A connection that has sent the beginning of a header."""
        client = proxy.connect()
        self.addCleanup(client.close)
        client.sendall(begin)
        live = proxy.service._connections.live
        while len(live) != 1:
            await in_thread(int)
        return client

    async def test_reload(self) -> None:
        """A connection keeps the settings with which it was accepted; the next one has those of the reload."""
        proxy, data = self.proxy(), hello(name=NAME)
        client = await self.wait(proxy)
        text = listener().replace('proxy_protocol = "required"', "") + route(self.backend.address)
        self.assertIsNone(proxy.service.reload(lambda: parse(text, "test.toml")))
        client.sendall(V2[13:] + data)
        with await in_thread(self.backend.accept) as upstream:
            self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
            client.close()
        self.assertEqual("192.0.2.7:50123", (await proxy.ended()).client)
        await self.through(proxy, [data], data)
        self.assertIsNone(proxy.records[1].proxied)

    async def test_stop(self) -> None:
        """A stop ends it, with a FIN and no alert."""
        proxy = self.proxy()
        client = await self.wait(proxy)
        stopped = proxy.service.stopService()
        self.assertEqual(b"", await in_thread(read_to_end, client))
        self.assertEqual(Result.SHUTDOWN, (await proxy.ended()).result)
        await stopped

    async def test_room(self) -> None:
        """While clients wait for max_hellos, a slow header ends."""
        clock = HandClock()
        proxy, data = self.proxy(rest="[limits]\nmax_hellos = 1\n", clock=clock), hello(name=NAME)
        client = await self.wait(proxy)
        clock.advance(2)
        with proxy.connect() as other:
            other.sendall(V2 + data)
            with await in_thread(self.backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
        self.assertEqual(b"", await in_thread(read_to_end, client))
        record = await proxy.ended()
        self.assertIn("while others wait ([limits] max_hellos)", record.reason)

    async def test_slow_optional(self) -> None:
        """Where a header is optional, bytes wait only while they may begin one."""
        proxy, data = self.proxy("optional"), hello(name=NAME)
        for begin in (b"\r\n\r\n\x00", b"PROXY"):
            client = await self.wait(proxy, begin)
            client.sendall(b"x")
            record = await proxy.ended(len(proxy.records))
            self.assertEqual(Result.NOT_TLS, record.result)
        await self.through(proxy, [data[:1], data[1:]], data)
