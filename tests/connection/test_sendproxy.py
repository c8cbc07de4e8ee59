"""Tests for sniproxy.connection.sendproxy, through a running proxy."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sniproxy.connection.sendproxy import header_for, send_header
from sniproxy.events import Refusal, Result
from sniproxy.proxyprotocol.header import Address, ProxyHeader
from sniproxy.proxyprotocol.reader import read_header
from sniproxy.proxyprotocol.sending import SendProxy
from sniproxy.proxyprotocol.writer import write_v1
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import in_thread, read_exactly
from tests.tls.material import CA, OTHER_CA, folder, pem


def receive_header(sock: socket.socket) -> ProxyHeader:
    """Read a header byte by byte. Blocks: call it in a thread."""
    data = b""
    while (found := read_header(data)) is None:
        data += read_exactly(sock, 1)
    return found[0]


def ends(sock: socket.socket) -> tuple[Address, Address]:
    """Both addresses of a client's socket."""
    return Address(*sock.getsockname()[:2]), Address(*sock.getpeername()[:2])


class SendProxyTests(ConversationCase):
    """Targets that get headers."""

    async def header(self, proxy: Proxy, backend: Backend, sent: bytes, rest: bytes) -> tuple[ProxyHeader, Any]:
        """Send bytes. @return: the header that the backend gets before the rest, and the addresses of the client."""
        with proxy.connect() as client:
            client.sendall(sent)
            with await in_thread(backend.accept) as upstream:
                found = await in_thread(receive_header, upstream)
                self.assertEqual(rest, await in_thread(read_exactly, upstream, len(rest)))
            return found, ends(client)

    async def test_before_the_hello(self) -> None:
        """Where TLS passes through, the header is before the hello."""
        backend, data = Backend(self), hello(name=NAME)
        for more, version, tlvs in (
            ('send_proxy = "v1"\n', 1, {}),
            ('send_proxy = "v2"\n', 2, {}),
            ('send_proxy = "v2"\nproxy_tlvs = ["authority"]\n', 2, {"authority": NAME}),
        ):
            proxy = Proxy(self, route(backend.address, more=more))
            found, (source, destination) = await self.header(proxy, backend, data, data)
            self.assertEqual(ProxyHeader(version, str(source), destination, tlvs), found)
            self.assertTrue((await proxy.ended()).header_sent)

    async def test_no_header(self) -> None:
        """The record of a connection says whether its target got a header."""
        backend, data = Backend(self), hello(name=NAME)
        proxy = Proxy(self, route(backend.address))
        with proxy.connect() as client:
            client.sendall(data)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
        self.assertFalse((await proxy.ended()).header_sent)

    async def test_unique_id(self) -> None:
        """The unique id is that of the access log."""
        backend, data = Backend(self), hello(name=NAME)
        proxy = Proxy(self, route(backend.address, more='send_proxy = "v2"\nproxy_tlvs = ["unique_id"]\n'))
        found, _ = await self.header(proxy, backend, data, data)
        self.assertEqual({"unique_id": (await proxy.ended()).id}, found.tlvs)

    async def test_chain(self) -> None:
        """The first client and where it connected to pass through a chain of proxies."""
        backend, data = Backend(self), hello(name=NAME)
        source, destination = Address("2001:db8::7", 5), Address("2001:db8::1", 4443)
        listener = (
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\nproxy_protocol = "required"\n'
        )
        last = Proxy(self, listener + route(backend.address, more='send_proxy = "v1"\n'))
        first = Proxy(self, listener + route(f"127.0.0.1:{last.port}", more='send_proxy = "v2"\n'))
        found, _ = await self.header(first, backend, write_v1(source, destination) + data, data)
        self.assertEqual(ProxyHeader(1, str(source), destination), found)

    async def test_plaintext(self) -> None:
        """A plaintext listener sends the header first."""
        backend = Backend(self)
        text = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\nplaintext = true\n'
        proxy = Proxy(self, text + f'target = "{backend.address}"\nsend_proxy = "v2"\n')
        found, (source, destination) = await self.header(proxy, backend, b"frames", b"frames")
        self.assertEqual(ProxyHeader(2, str(source), destination), found)
        self.assertTrue((await proxy.ended()).header_sent)

    async def test_inside_tls(self) -> None:
        """Where TLS is terminated, the header is the first data inside the target's TLS."""
        backend = Backend(self)
        files = folder(Path(self.mktemp()), shown_pem=pem(NAME))
        trust = folder(Path(self.mktemp()), ca_pem=OTHER_CA.cert_pem.bytes())
        text = (
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'
            f'certificates = "{files.resolve()}"\nupstream_trust = "{trust.resolve()}/ca.pem"\n'
        )
        proxy = Proxy(self, text + route(backend.address, more='send_proxy = "v2"\nproxy_tlvs = ["authority"]\n'))

        def serve() -> ProxyHeader:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            OTHER_CA.issue_cert(NAME).configure_cert(context)
            with context.wrap_socket(backend.accept(), server_side=True) as broker:
                found = receive_header(broker)
                self.assertEqual(b"frames", read_exactly(broker, 6))
                return found

        def send() -> tuple[Address, Address]:
            context = ssl.create_default_context()
            CA.configure_trust(context)
            with context.wrap_socket(proxy.connect(), server_hostname=NAME) as client:
                client.sendall(b"frames")
                return ends(client)

        serving = in_thread(serve)
        source, destination = await in_thread(send)
        self.assertEqual(ProxyHeader(2, str(source), destination, {"authority": NAME}), await serving)


class FaultTests(ConversationCase):
    """header_for and send_header alone."""

    def test_unix(self) -> None:
        """A client of a unix socket has no address."""
        one, other = socket.socketpair(socket.AF_UNIX)
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        conn: Any = SimpleNamespace(
            record=SimpleNamespace(proxied=None, client="unix", server_name=None, id="1"), sock=one
        )
        self.assertEqual(SendProxy(2).own(), header_for(conn, SendProxy(2)))
        self.assertEqual(b"", header_for(conn, None))

    def test_mapped(self) -> None:
        """An IPv4 client of an IPv6 socket, and a zone."""
        for name, host in (("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")):
            record = SimpleNamespace(proxied=None, client="[2001:db8::7]:5", server_name=None, id="1")
            sock = SimpleNamespace(getsockname=lambda name=name: (name, 4443, 0, 0))
            found = read_header(header_for(cast(Any, SimpleNamespace(record=record, sock=sock)), SendProxy(2)))
            assert found is not None and found[0].destination is not None
            self.assertIn(found[0].destination.host, (host, f"::ffff:{host}"))

    def test_gone(self) -> None:
        """If the target has left, or takes only a part, the connection is refused and the target's socket closed."""
        closed: list[object] = []
        record = SimpleNamespace(header_sent=False)
        conn: Any = SimpleNamespace(context=SimpleNamespace(closer=closed.append), record=record)

        def broken(data: bytes) -> int:
            raise ConnectionResetError(104, "Connection reset by peer")

        for number, send in enumerate((broken, lambda data: 3), 1):
            error = self.assertRaises(Refusal, send_header, conn, cast(Any, SimpleNamespace(send=send)), b"PROXY ...")
            self.assertEqual((Result.CONNECT_FAILED, number), (error.result, len(closed)))
        send_header(conn, cast(Any, None), b"")
        self.assertFalse(record.header_sent)
        send_header(conn, cast(Any, SimpleNamespace(send=len)), b"PROXY ...")
        self.assertTrue(record.header_sent)
