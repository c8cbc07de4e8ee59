"""TLS termination: both handshakes, verification on both sides, and failures."""

from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trustme
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.connection.termination import CertificateStore
from sniproxy.events import Connection, Refusal, Result
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import HandClock, SocketTestCase, in_thread, read_exactly, read_to_end, reset
from tests.tls.material import CA, NAME, OTHER_CA, folder, issued, pem


class TerminatingCase(SocketTestCase):
    """A proxy that terminates TLS with certificates of CA, and trusts brokers of OTHER_CA."""

    def start(self, *, names: tuple[str, ...] = (NAME,), own: bool = False, clock: Any = None, more: str = "") -> Proxy:
        self.files = folder(Path(self.mktemp()), shown_pem=pem(*names))
        trust = folder(Path(self.mktemp()), ca_pem=OTHER_CA.cert_pem.bytes(), own_pem=pem("proxy.test", ca=OTHER_CA))
        self.backend = Backend(self)
        text = (
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'
            f'certificates = "{self.files.resolve()}"\nupstream_trust = "{trust.resolve()}/ca.pem"\n'
            + (f'upstream_certificate = "{trust.resolve()}/own.pem"\n' if own else "")
            + f'{more}\n[[route]]\nserver_name = "*.pulsar.test"\ntarget = "{self.backend.address}"\n'
        )
        return Proxy(self, text, clock) if clock is not None else Proxy(self, text)

    def accept(
        self,
        *names: str,
        ca: trustme.CA = OTHER_CA,
        want_certificate: bool = False,
        asked: list[str | None] | None = None,
    ) -> ssl.SSLSocket:
        """Accept a connection as the broker. @param asked: called with the server name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*(names or (NAME,))).configure_cert(context)
        if want_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            OTHER_CA.configure_trust(context)
        if asked is not None:
            context.sni_callback = lambda sock, name, context: asked.append(name)
        return context.wrap_socket(self.backend.accept(), server_side=True)

    def client(self, proxy: Proxy, name: str = NAME, ca: trustme.CA = CA) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        ca.configure_trust(context)
        return context.wrap_socket(proxy.connect(), server_hostname=name)


class ShownTests(SynchronousTestCase):
    """The choice of the certificate, and its context."""

    def test_names(self) -> None:
        """A certificate is found by each of its names, a star matches one label; its context is made once."""
        shown = CertificateStore(
            [attrs.evolve(issued(*names), place=names[0]) for names in (("a.test", "*.b.test"), ("x.b.test",))],
            lambda: datetime.now(UTC),
        )
        for name, place in (("a.test", "a.test"), ("y.b.test", "a.test"), ("x.b.test", "x.b.test")):
            context, found = shown.context(name)
            self.assertEqual(place, found)
            self.assertIs(context, shown.context(name)[0])
        for name in ("b.test", "x.y.b.test", "test"):
            self.assertRaises(Refusal, shown.context, name)


class TunnelTests(TerminatingCase):
    """Tunnels with TLS on both sides."""

    async def test_both_ways(self) -> None:
        """Bytes pass in both directions; names are verified on both sides; the record counts plaintext bytes."""
        proxy = self.start()
        asked: list[str | None] = []
        accepting = in_thread(partial(self.accept, asked=asked))
        client = await in_thread(self.client, proxy)
        broker = await accepting
        client.sendall(b"question")
        self.assertEqual(b"question", await in_thread(read_exactly, broker, 8))
        broker.sendall(b"answer")
        self.assertEqual(b"answer", await in_thread(read_exactly, client, 6))
        (live,) = proxy.service._connections.live
        self.assertEqual("open", live.state)
        client.close()
        broker.close()
        record = await proxy.ended()
        self.assertEqual((Result.OK, NAME, "*.pulsar.test"), (record.result, record.server_name, record.route))
        self.assertEqual((8, 6), (record.bytes_up, record.bytes_down))
        self.assertEqual([NAME], asked)

    async def test_our_certificate(self) -> None:
        """A broker that requires a client certificate gets the proxy's."""
        proxy = self.start(own=True)
        accepting = in_thread(partial(self.accept, want_certificate=True))
        client = await in_thread(self.client, proxy)
        with client, await accepting as broker:
            subject = dict(broker.getpeercert() or {})["subjectAltName"]
            self.assertEqual((("DNS", "proxy.test"),), subject)
        await proxy.ended()

    async def test_certificate_by_name(self) -> None:
        """Each name gets the certificate that covers it."""
        proxy = self.start()
        folder(self.files, other_pem=pem("other.pulsar.test"))
        proxy = self.restart(proxy)
        for number, name in enumerate((NAME, "other.pulsar.test")):
            accepting = in_thread(self.accept, name)
            with await in_thread(self.client, proxy, name) as client, await accepting:
                self.assertEqual((("DNS", name),), dict(client.getpeercert() or {})["subjectAltName"])
            await proxy.ended(number)

    def restart(self, proxy: Proxy) -> Proxy:
        """Start a second proxy with the same files."""
        configuration = proxy.service.configuration
        (listener,) = configuration.listeners
        assert listener.termination is not None
        text = (
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'
            f'certificates = "{listener.termination.certificates}"\nupstream_trust = "{listener.termination.trust}"\n'
            f'[[route]]\nserver_name = "*.pulsar.test"\ntarget = "{self.backend.address}"\n'
        )
        return Proxy(self, text)

    async def test_reload(self) -> None:
        """The next client gets a renewed certificate; an invalid one is ignored."""
        clock = HandClock()
        proxy = self.start(clock=clock)
        seen = []
        for number, renew in enumerate((None, pem(NAME, "renewed.test"), b"broken")):
            if renew is not None:
                (self.files / "shown.pem").write_bytes(renew)
                clock.advance(1)
            accepting = in_thread(self.accept)
            with await in_thread(self.client, proxy) as client, await accepting:
                seen.append(len(dict(client.getpeercert() or {})["subjectAltName"]))
            await proxy.ended(number)
        self.assertEqual([1, 2, 2], seen)

    async def test_inspected(self) -> None:
        """With inspect, a lookup gives an event."""
        path = Path(self.mktemp()).resolve()
        proxy = self.start(more=f'inspect = "pulsar"\n[inspect_log]\npath = "{path}"\n')
        accepting = in_thread(self.accept)
        client = await in_thread(self.client, proxy)
        broker = await accepting
        client.sendall(
            write(pb.CommandConnect(client_version="test", auth_method_name="token"))
            + write(pb.CommandLookupTopic(topic="persistent://a/b/c", request_id=1))
        )
        await in_thread(broker.recv, 65536)
        answer = pb.CommandLookupTopicResponse(
            brokerServiceUrlTls="pulsar+ssl://broker-1.pulsar.test:6651",
            response=pb.CommandLookupTopicResponse.Connect,
            request_id=1,
        )
        broker.sendall(write(answer))
        await in_thread(client.recv, 65536)
        client.close()
        broker.close()
        await proxy.ended()
        side = proxy.service._observers
        assert side is not None and side.inspector is not None
        (entry,) = side.inspector.ledger.topics()
        self.assertEqual(NAME, entry.service)
        await proxy.service.stopService()
        events = {event["event"]: event for event in map(json.loads, path.read_text().splitlines())}
        self.assertEqual(
            ("persistent://a/b/c", "connect", None, "pulsar+ssl://broker-1.pulsar.test:6651"),
            tuple(events["lookup"][key] for key in ("topic", "response", "broker_url", "broker_url_tls")),
        )


class RefusalTests(TerminatingCase):
    """The client's answer, and the record."""

    async def refused(self, proxy: Proxy, data: bytes, alert: Alert | None) -> Connection:
        number = len(proxy.records)
        with proxy.connect() as client:
            client.sendall(data)
            expected = b"" if alert is None else fatal_alert(alert)
            self.assertEqual(expected, await in_thread(read_to_end, client))
        return await proxy.ended(number)

    async def test_no_certificate(self) -> None:
        """A name without a certificate is refused before the dial."""
        proxy = self.start()
        record = await self.refused(proxy, hello(name="broker-9.pulsar.test"), Alert.UNRECOGNIZED_NAME)
        self.assertEqual((Result.NO_CERTIFICATE, None), (record.result, record.target))
        self.assertIn("add one to the listener's certificates", record.reason)

    async def test_no_name(self) -> None:
        """Without a name, or with an IP address, the broker cannot be verified, and the client is refused."""
        proxy = self.start(
            more='[no_server_name]\ntarget = "127.0.0.1:9"\n[[route]]\nserver_name = "10.0.0.7"\ntarget = "127.0.0.1:9"'
        )
        for name in (None, "10.0.0.7"):
            record = await self.refused(proxy, hello(name=name), Alert.UNRECOGNIZED_NAME)
            self.assertEqual(Result.NO_SERVER_NAME, record.result)
            self.assertIn("use a dotted name", record.reason)

    async def test_broker_is_another(self) -> None:
        """A broker's certificate with other names or of another CA gives an alert; the record has the reason."""
        for names, ca, why in (
            (("other.test",), OTHER_CA, f"its certificate does not cover {NAME}; it names other.test"),
            ((NAME,), CA, "its certificate is not trusted: its issuer is not in the trust file"),
        ):
            proxy = self.start()
            accepting = in_thread(partial(self.accept, *names, ca=ca))
            accepting.addBoth(lambda result: result.close() if isinstance(result, ssl.SSLSocket) else None)
            record = await self.refused(proxy, hello(), Alert.INTERNAL_ERROR)
            self.assertEqual(Result.UPSTREAM_TLS_FAILED, record.result)
            self.assertIn(why, record.reason)
            await accepting

    async def test_broker_without_tls(self) -> None:
        """A target without TLS, or one that closes, gives a plain close, so that the client retries."""
        proxy = self.start()

        def answer(data: bytes) -> None:
            with self.backend.accept() as broker:
                broker.recv(1)
                broker.sendall(data)
                broker.shutdown(socket.SHUT_WR)
                read_to_end(broker)

        # OpenSSL 3.2 says "packet length too long", others "wrong version number".
        no_tls = "wrong version number|packet length too long"
        for data, why in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", no_tls), (b"", "closed the connection")):
            answering = in_thread(answer, data)
            record = await self.refused(proxy, hello(), None)
            self.assertEqual(Result.UPSTREAM_TLS_FAILED, record.result)
            self.assertRegex(record.reason, why)
            await answering

    async def test_client_does_not_trust_us(self) -> None:
        """If a client rejects the proxy's certificate, the record says so, and names the file."""
        proxy = self.start()
        accepting = in_thread(self.accept)
        await self.assertFailure(in_thread(partial(self.client, proxy, ca=OTHER_CA)), ssl.SSLError)
        record = await proxy.ended()
        self.assertEqual(Result.TLS_FAILED, record.result)
        self.assertIn("unknown ca", record.reason)
        self.assertIn("shown.pem", record.reason)
        (await accepting).close()

    async def test_silent_client(self) -> None:
        """A client that is silent after its hello times out, and the broker's connection is closed, too."""
        clock = HandClock()
        proxy = self.start(clock=clock)
        accepting = in_thread(self.accept)
        with proxy.connect() as client:
            client.sendall(hello())
            broker = await accepting
            await in_thread(client.recv, 1)  # our side of the handshake: it waits for the client's
            (live,) = proxy.service._connections.live
            self.assertEqual("handshake", live.state)
            clock.advance(10)
            await in_thread(read_to_end, client)
            self.assertEqual(b"", await in_thread(broker.recv, 1))
            broker.close()
        record = await proxy.ended()
        self.assertEqual(Result.TLS_FAILED, record.result)
        self.assertIn("TLS handshake not completed within 10 s", record.reason)

    async def test_client_gone(self) -> None:
        """A client that leaves in either handshake, by FIN or reset, is noticed at once; the broker is closed, too."""
        for leave in (socket.socket.close, reset):
            proxy = self.start()
            client = proxy.connect()
            client.sendall(hello())
            with await in_thread(self.backend.accept) as broker:
                await in_thread(broker.recv, 1)  # the proxy's hello: it waits for the broker's
                leave(client)
                record = await proxy.ended()
                self.assertEqual(Result.CLIENT_GONE, record.result)
                self.assertIn("during the TLS handshake with its target", record.reason)
                await in_thread(read_to_end, broker)
            accepting = in_thread(self.accept)
            client = proxy.connect()
            client.sendall(hello())
            broker = await accepting
            await in_thread(client.recv, 65536)  # our side of the handshake: it waits for the client's
            leave(client)
            record = await proxy.ended(1)
            self.assertEqual(Result.CLIENT_GONE, record.result)
            self.assertIn("the TLS handshake with the client failed", record.reason)
            await in_thread(broker.recv, 1)
            broker.close()

    async def test_stopped(self) -> None:
        """A stop during a handshake closes both sides."""
        proxy = self.start()
        with proxy.connect() as client:
            client.sendall(hello())
            with await in_thread(self.backend.accept) as broker:
                await in_thread(broker.recv, 1)
                await proxy.service.stopService()
                await in_thread(read_to_end, broker)
            await in_thread(read_to_end, client)
        self.assertEqual(Result.SHUTDOWN, (await proxy.ended()).result)
