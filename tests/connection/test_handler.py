"""The stages of a connection through a running proxy: its route, the client's answer, and its record."""

from __future__ import annotations

import socket
from pathlib import Path

from sniproxy.events import Result
from sniproxy.tls.alerts import Alert
from tests.support.conversation import NAME, ConversationCase, route
from tests.support.hellos import hello, supported_versions
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import in_thread, read_exactly, read_to_end
from tests.tls.material import CA, folder, pem


class TunnelTests(ConversationCase):
    """Connections that become tunnels."""

    async def test_tunnel(self) -> None:
        """The hello and early data reach the target unchanged, and the record is complete."""
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
                (live,) = proxy.service._connections.live
                self.assertEqual(("open", len(data), 12), (live.state, live.bytes_up, live.bytes_down))
                client.shutdown(socket.SHUT_WR)
                await in_thread(read_to_end, upstream)
                self.assertEqual("half_closed", live.state)
        record = await proxy.ended()
        why = "the client ended first; the target did not answer with TLS; the first byte is 0x73"
        self.assertEqual((Result.OK, None, why), (record.result, record.alert, record.reason))
        self.assertEqual(
            ("public", address, NAME, NAME), (record.listener, record.client, record.server_name, record.route)
        )
        self.assertEqual((backend.address, len(data), 12), (record.target, record.bytes_up, record.bytes_down))
        for seconds in (record.hello_s, record.resolve_s, record.connect_s):
            assert seconds is not None
            self.assertTrue(0 <= seconds <= record.total_s)

    async def test_which_route(self) -> None:
        """A listener's own route precedes the general one; the default takes other names, but no IP literal."""
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


class PlaintextTests(ConversationCase):
    """Plaintext listeners."""

    async def test_tunnel(self) -> None:
        """A plaintext listener connects to its own target, without a hello."""
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
    """Connections without a route."""

    async def test_no_route(self) -> None:
        """A name without a route gets unrecognized_name; the reason names the closest route."""
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
        """A hello without a name gets missing_extension in TLS 1.3, else handshake_failure; Java is mentioned."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        record = await self.refused(proxy, hello(name=None), Result.NO_SERVER_NAME, Alert.MISSING_EXTENSION)
        self.assertIn("Java sends none for names without a dot", record.reason)
        old = hello(name=None, extensions=(supported_versions(0x0303),))
        await self.refused(proxy, old, Result.NO_SERVER_NAME, Alert.HANDSHAKE_FAILURE)

    async def test_unread_bytes(self) -> None:
        """A client that sent many bytes after its hello gets the alert, and no reset."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        await self.refused(proxy, hello(name="nobody.test") + bytes(40_000), Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME)

    async def test_no_certificate(self) -> None:
        """A listener that terminates TLS refuses a name without a certificate, before the route counts it."""
        files = folder(Path(self.mktemp()), shown_pem=pem(NAME), ca_pem=CA.cert_pem.bytes()).resolve()
        proxy = Proxy(
            self,
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'
            f'certificates = "{files}/shown.pem"\nupstream_trust = "{files}/ca.pem"\n'
            '[default]\ntarget = "127.0.0.1:9"\n',
        )
        record = await self.refused(proxy, hello(name="a.test"), Result.NO_CERTIFICATE, Alert.UNRECOGNIZED_NAME)
        self.assertIsNone(record.route)
