"""Tests for sniproxy.client.brokers, with real sockets."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, serverFromString
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import ServerFactory
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from sniproxy.client.brokers import Access, Brokers, Link
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.logins import by_token
from sniproxy.pulsar.serviceurl import SniProxy
from sniproxy.tls.clientcontext import client_certificate
from tests.client.scripted import Scripted, connected, polite
from tests.support.proxies import Proxy
from tests.support.reactor import reactor
from tests.support.tlsservers import SayingFactory, ServerTLS, listen, trust, write_pem

NAME = "broker-1.pulsar.test"


def broker() -> Scripted:
    """A broker that answers CONNECT."""
    return Scripted(polite(lambda name, fields: []))


@implementer(IHostnameResolver)
class NoNames:
    """Resolves no name."""

    def resolveHostName(self, resolutionReceiver: Any, hostName: str, *args: Any, **keys: Any) -> Any:
        resolutionReceiver.resolutionBegan(self)
        resolutionReceiver.resolutionComplete()
        return self


class BrokersCase(TestCase):
    """Has an authority, servers and clients."""

    timeout = 120

    def setUp(self) -> None:
        self.authority = trustme.CA()
        self.tls = ServerTLS(self.authority, NAME, "pulsar-vip.test")

    def brokers(self, proxy: tuple[str, int] | None = None, tls: bool = True, **keys: Any) -> Brokers:
        keys.setdefault("trust", trust(self.authority))
        brokers = Brokers(reactor, Access(tls, SniProxy(*proxy) if proxy else None, **keys))
        self.addCleanup(brokers.abort)
        return brokers

    def listen(self, factory: ServerFactory, tls: ServerTLS | None) -> tuple[str, int]:
        return listen(self, factory, tls)

    async def fails(self, link: Link, kind: FailureKind) -> ClientError:
        """Assert that an attempt fails with this kind and a cure, and leaves no socket open."""
        try:
            await link.open()
        except ClientError as failure:
            self.assertEqual(failure.kind, kind, str(failure))
            self.assertTrue(failure.cure)
            self.assertFalse(link.is_open)
            return failure
        self.fail("the link was opened")
        raise AssertionError


class LinkTests(BrokersCase):
    """Link: a connection to one broker."""

    async def test_proxied(self) -> None:
        """Through a proxy, a link has the dialled address, the broker version and the duration of each stage."""
        where = self.listen(broker(), self.tls)
        proxy = Proxy(self, f'[[route]]\nserver_name = "{NAME}"\ntarget = "127.0.0.1:{where[1]}"\n')
        brokers = self.brokers(("localhost", proxy.port))
        link = brokers.link(NAME, 6651)
        self.assertEqual((link.is_open, link.ended, link.certificate_names, link.address), (False, False, None, None))
        session = await link.open()
        self.assertEqual(session.server_version, "scripted")
        self.assertEqual((link.server_version, link.address), ("scripted", f"127.0.0.1:{proxy.port}"))
        self.assertEqual(link.certificate_names, (NAME, "pulsar-vip.test"))
        for seconds in (link.connect_seconds, link.tls_seconds, link.login_seconds):
            assert seconds is not None
            self.assertGreaterEqual(seconds, 0)
        self.assertIs(await link.open(), session)
        self.assertIs(brokers.link(NAME, 6651), link)
        await brokers.close()
        self.assertEqual((await proxy.ended()).server_name, NAME)
        self.assertIsNot(brokers.link(NAME, 6651), link)

    async def test_direct(self) -> None:
        """Without a proxy the client dials the broker, with or without TLS; CONNECT has the credentials."""
        factory = broker()
        host, port = self.listen(factory, ServerTLS(self.authority, "localhost"))
        link = self.brokers(login=by_token("secret")).link("localhost", port)
        await link.open()
        self.assertEqual((link.target.server_name, link.address), ("localhost", f"{host}:{port}"))
        host, port = self.listen(factory, None)
        link = self.brokers(tls=False).link(host, port, "b2.test:6651")
        await link.open()
        self.assertEqual((link.certificate_names, link.tls_seconds, link.target.server_name), (None, None, None))
        said = [(name, fields.auth_method_name, fields.proxy_to_broker_url) for name, fields in factory.heard]
        self.assertEqual(said, [("CONNECT", "token", ""), ("CONNECT", "none", "b2.test:6651")])

    async def test_client_certificate(self) -> None:
        """A broker that requires a client certificate gets it; without one, the failure says so."""
        folder = Path(self.mktemp())
        folder.mkdir()
        issued = self.authority.issue_cert("client.test")
        file = write_pem(folder, "client.pem", *issued.cert_chain_pems, issued.private_key_pem)
        where = self.listen(broker(), ServerTLS(self.authority, NAME, certified=True))
        await self.brokers(where, certificate=client_certificate(file)).link(NAME, 6651).open()
        failure = await self.fails(self.brokers(where).link(NAME, 6651), FailureKind.TLS_REFUSED)
        self.assertIn("may require a client certificate", failure.cure)

    async def test_unix_socket(self) -> None:
        """The peer of a connection that is no TCP, as an endpoint plugin may open it, has no address."""
        path = os.path.relpath(self.mktemp())
        port = await serverFromString(reactor, f"unix:{path}").listen(broker())
        self.addCleanup(port.stopListening)
        self.patch(Link, "_endpoint", lambda link: UNIXClientEndpoint(reactor, path))
        link = self.brokers(tls=False).link("b1.test", 6650)
        await link.open()
        self.assertEqual((True, None), (link.is_open, link.address))

    async def test_closed_before(self) -> None:
        """Links that were never opened, or that the broker has closed, need no close."""
        where = self.listen(Scripted(lambda name, fields: [connected(), b""]), self.tls)
        brokers = self.brokers(where)
        link, unopened = brokers.link(NAME, 6651), brokers.link("b2.test", 6651)
        session = await link.open()
        await session.closed
        await brokers.close()
        self.assertTrue(link.ended)
        self.assertFalse(unopened.ended)
        for one in (link, unopened):
            one.abort()
        assert session.failed is not None
        self.assertIn("connection closed after CONNECTED", session.failed.reason)

    async def test_cancelled(self) -> None:
        """A cancelled attempt leaves no connection open."""
        where = self.listen(SayingFactory(ends=False), None)
        attempt = Deferred.fromCoroutine(self.brokers(where).link(NAME, 6651).open())
        attempt.cancel()
        with self.assertRaises(CancelledError):
            await attempt


class FailureTests(BrokersCase):
    """Failures of each stage, with real sockets."""

    async def test_no_route(self) -> None:
        """A proxy without a route is recognised by its alert."""
        proxy = Proxy(self, '[[route]]\nserver_name = "other.test"\ntarget = "127.0.0.1:1"\n')
        failure = await self.fails(self.brokers(("127.0.0.1", proxy.port)).link(NAME, 6651), FailureKind.NO_ROUTE)
        self.assertIn(f"add a route for {NAME}", failure.cure)
        failure = await self.fails(self.brokers(("127.0.0.1", proxy.port)).link("10.0.0.7", 6651), FailureKind.NO_ROUTE)
        self.assertIn("the IP address 10.0.0.7", failure.cure)

    async def test_broker_down(self) -> None:
        """If the broker behind the proxy is down, the failure is a plain close."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            target = f"127.0.0.1:{unused.getsockname()[1]}"
            proxy = Proxy(self, f'[[route]]\nserver_name = "{NAME}"\ntarget = "{target}"\n')
            failure = await self.fails(self.brokers(("127.0.0.1", proxy.port)).link(NAME, 6651), FailureKind.CLOSED)
        self.assertIn("the broker behind the proxy is down", failure.cure)

    async def test_nobody_there(self) -> None:
        """An unreachable proxy and an unknown host are different failures."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            link = self.brokers(unused.getsockname()).link(NAME, 6651)
            self.assertIn("refused", (await self.fails(link, FailureKind.UNREACHABLE)).reason)
        self.addCleanup(reactor.installNameResolver, reactor.installNameResolver(NoNames()))
        await self.fails(self.brokers(("nobody.test", 4443)).link(NAME, 6651), FailureKind.NAME_NOT_RESOLVED)

    async def test_certificates(self) -> None:
        """Certificates for another name, from another CA or expired are different failures."""
        past = datetime.now(UTC) - timedelta(days=3)
        where = self.listen(broker(), self.tls)
        link = self.brokers(where).link("broker-2.pulsar.test", 6651)
        failure = await self.fails(link, FailureKind.CERTIFICATE_NAME)
        self.assertIn(f"does not cover broker-2.pulsar.test, only {NAME}, pulsar-vip.test", failure.reason)
        self.assertEqual(link.certificate_names, (NAME, "pulsar-vip.test"))
        link = self.brokers(where, trust=trust(trustme.CA())).link(NAME, 6651)
        self.assertIn("issued by ", (await self.fails(link, FailureKind.CERTIFICATE_UNTRUSTED)).reason)
        where = self.listen(broker(), ServerTLS(self.authority, NAME, not_after=past))
        failure = await self.fails(self.brokers(where).link(NAME, 6651), FailureKind.CERTIFICATE_EXPIRED)
        self.assertIn(f"to {past:%Y-%m-%d}", failure.reason)

    async def test_bad_name(self) -> None:
        """A name that no certificate can have is not dialled."""
        link = self.brokers(("127.0.0.1", 1)).link("bro_ker.test", 6651)
        failure = None
        try:
            await link.open()
        except ClientError as error:
            failure = error
        assert failure is not None
        self.assertEqual((failure.kind, link.address), (FailureKind.CERTIFICATE_NAME, None))

    async def test_plaintext_port(self) -> None:
        """TLS to a plaintext port, and plaintext to a TLS port, are recognised."""
        where = self.listen(SayingFactory(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None)
        await self.fails(self.brokers(where).link(NAME, 6651), FailureKind.TLS_MISMATCH)
        # A plaintext broker takes a hello for a frame that is too large, and closes.
        where = self.listen(Scripted(lambda name, fields: [b""]), None)
        failure = await self.fails(self.brokers().link(*where), FailureKind.CLOSED)
        self.assertIn("the port may be plaintext", failure.cure)
        self.flushLoggedErrors()
        where = self.listen(SayingFactory(bytes.fromhex("15030300020250") + b"\0"), None)
        await self.fails(self.brokers(tls=False).link(*where), FailureKind.TLS_MISMATCH)
        proxy = Proxy(self, '[[route]]\nserver_name = "other.test"\ntarget = "127.0.0.1:1"\n')
        failure = await self.fails(self.brokers(tls=False).link("127.0.0.1", proxy.port), FailureKind.TLS_MISMATCH)
        self.assertIn("pulsar+ssl://", failure.cure)

    async def test_closed_later(self) -> None:
        """A closed connection is reported with its stage."""
        where = self.listen(Scripted(lambda name, fields: [b""]), self.tls)
        failure = await self.fails(self.brokers(where).link(NAME, 6651), FailureKind.CLOSED)
        self.assertIn("before CONNECTED", failure.reason)
        where = self.listen(Scripted(lambda name, fields: [connected(), b""]), self.tls)
        session = await self.brokers(where).link(NAME, 6651).open()
        await session.closed
        assert session.failed is not None
        self.assertIn("connection closed after CONNECTED", session.failed.reason)
