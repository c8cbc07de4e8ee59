"""Every TLS client of the proxy parses a trust file in the same way, and trusts the same peers with it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import DeferredList
from twisted.internet.endpoints import clientFromString
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sniproxy.bridge.runtime import make_trust
from sniproxy.cli.lookup import look_up, read
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.connection.termination import to_broker
from sniproxy.ctl import parse as parse_words
from sniproxy.events import Refusal
from sniproxy.interfaces import BadOption, Refused, Request, Unavailable
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.pulsar.commands_pb2 import CommandPartitionedTopicMetadataResponse as Partitions
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.zookeeper.access import ZooKeeperCredentials
from sniproxy.server.build import build_terminator, build_trust
from sniproxy.tls.contexts import BrokerTLS
from sniproxy.tls.pem import BadPem
from sniproxy.util.buffered import BufferAccount
from tests.client.scripted import Scripted, connected
from tests.resolvers.adminserver import AdminServer
from tests.support.reactor import reactor
from tests.support.tlsservers import GUESTS, SayingFactory, ServerTLS, listen
from tests.tls.material import CA, OTHER_CA, folder, issued, pem

NAME = "localhost"
ROUTE = '[[route]]\nserver_name = "a.test"\ntarget = "b.test:1"\n'


class SameTrustTests(TestCase):
    """A server whose certificate an intermediate CA has issued, and each client of it."""

    timeout = 120

    def setUp(self) -> None:
        self.root = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.below = self.root.create_child_ca(key_type=trustme.KeyType.ECDSA)
        self.tls = ServerTLS(self.below, NAME)
        self.folder = Path(self.mktemp()).resolve()
        folder(self.folder, shown_pem=pem("shown.test"))
        self.clients: dict[str, Callable[[str], Awaitable[bool]]] = {
            "endpoint": self.endpoint,
            "lookup": self.lookup,
            "http": self.http,
            "pulsar": self.pulsar,
            "upstream_trust": self.upstream,
            "bridge": self.bridge,
            "zookeeper": self.zookeeper,
        }

    async def endpoint(self, trust: str) -> bool:
        host, port = listen(self, SayingFactory(ends=False), self.tls)
        text = rf"sniproxy:{NAME}:proxy={host}\:{port}:trustRoots={trust}"
        guest: Any = await clientFromString(reactor, text).connect(GUESTS)
        self.addCleanup(guest.leave)
        first: Any = await DeferredList([guest.greeted, guest.lost], fireOnOneCallback=True)
        return bool(first[1] == 0)

    async def lookup(self, trust: str) -> bool:
        asked: list[str] = []

        def script(name: str, fields: Any) -> Any:
            asked.append(name)
            if name == "CONNECT":
                return [connected()]
            return [Partitions(request_id=fields.request_id, response=Partitions.Failed, message="no such topic")]

        host, port = listen(self, Scripted(script), self.tls)
        words = ["lookup", "t", "--service-url", f"pulsar+ssl://{NAME}:6651", "--trust", trust]
        words += ["--proxy-service-url", f"pulsar+ssl://{host}:{port}", "--proxy-protocol", "SNI"]
        options = parse_words(words)
        await look_up(reactor, *read(options), options.listener, options.json, StringIO(), StringIO())
        return "CONNECT" in asked

    async def http(self, trust: str) -> bool:
        server = AdminServer(self, self.tls)
        server.answers["/"] = (404, b"")
        resolver: Any = make_resolver("http", {"url": f"{server.url}/", "trust": trust}, reactor)
        with contextlib.suppress(Refused, Unavailable):
            await resolver.resolve(Request("a.test", (), "192.0.2.7:1", "public", (), 4443))
        return bool(server.asked)

    async def pulsar(self, trust: str) -> bool:
        server = AdminServer(self, self.tls)
        server.broker("broker-1.test")
        server.brokers()
        resolver: Any = make_resolver("pulsar", {"url": server.url, "trust": trust, "service_name": "v.test"}, reactor)
        resolver.start(lambda: None)
        self.addCleanup(resolver.stop)
        with contextlib.suppress(Refused, Unavailable):
            await resolver.resolve(Request("v.test", (), "192.0.2.7:1", "public", (), 4443))
        return bool(server.asked)

    async def upstream(self, trust: str) -> bool:
        text = f'[[listener]]\nendpoint = "tcp:4443"\ncertificates = "shown.pem"\nupstream_trust = "{trust}"\n{ROUTE}'
        configuration = parse(text, str(self.folder / "x.toml"))
        termination = configuration.listeners[0].termination
        assert termination is not None
        return await self.dial(build_terminator(configuration, termination, reactor.seconds).broker())

    async def bridge(self, trust: str) -> bool:
        return await self.dial(build_trust("x.toml: bridge.trust", trust, None, make_trust, reactor.seconds)().tls)

    async def dial(self, tls: BrokerTLS) -> bool:
        sock = socket.create_connection(listen(self, SayingFactory(ends=False), self.tls))
        with TLSSocket(sock, tls.connection(NAME)) as opened:
            try:
                await to_broker(reactor, opened, NAME, 30.0, BufferAccount())
            except Refusal:
                return False
        return True

    async def zookeeper(self, trust: str) -> bool:
        context = ZooKeeperCredentials(True, trust).context()
        assert context is not None
        address = listen(self, SayingFactory(ends=False), self.tls)

        def shake() -> bool:
            with socket.create_connection(address) as sock, contextlib.suppress(OSError):
                context.wrap_socket(sock, server_hostname=NAME).close()
                return True
            return False

        trusted: bool = await deferToThread(shake)
        return trusted

    async def test_accepted(self) -> None:
        """An intermediate CA is trusted alone, and among other text, keys and expired certificates, also with CRLF."""
        below = self.below.cert_pem.bytes()
        other = OTHER_CA.cert_pem.bytes()
        yesterday = datetime.now(UTC) - timedelta(days=1)
        expired = pem("a.test", not_before=yesterday - timedelta(days=1), not_after=yesterday)
        folder(
            self.folder,
            below_pem=below,
            mixed_pem=b"# of the brokers\n" + expired + other + below,
            dos_pem=below.replace(b"\n", b"\r\n"),
        )
        folder(self.folder / "many", a_crt=other, b_cer=below, c_txt=b"")
        for file in ("below.pem", "mixed.pem", "dos.pem", "many"):
            for name, client in self.clients.items():
                self.assertTrue(await client(str(self.folder / file)), f"{name} does not trust {file}")

    async def test_pinned(self) -> None:
        """A server's own certificate can be trusted."""
        folder(self.folder, own_pem=self.tls.own.bytes())
        for name, client in self.clients.items():
            self.assertTrue(await client(str(self.folder / "own.pem")), name)

    async def test_foreign(self) -> None:
        """Another CA is not trusted."""
        folder(self.folder, ca_pem=OTHER_CA.cert_pem.bytes())
        for name, client in self.clients.items():
            self.assertFalse(await client(str(self.folder / "ca.pem")), name)

    async def test_refused(self) -> None:
        """An unusable file is refused with the same text, which has the file and the cure."""
        yesterday = datetime.now(UTC) - timedelta(days=1)
        expired = pem("a.test", not_before=yesterday - timedelta(days=1), not_after=yesterday)
        key = issued("a.test").key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        der = issued("a.test").chain[0].public_bytes(Encoding.DER)
        whole = CA.cert_pem.bytes()
        for number, (content, fault) in enumerate((
            (None, "cannot read: No such file or directory; name a readable PEM file"),
            (b"", "empty file; write to a temporary file"),
            (b"words\n", "no PEM certificate found; name the authority's certificate"),
            (key, "no PEM certificate found; name the authority's certificate"),
            (der, "binary file (DER or PKCS #12), not PEM; convert it, for example with: openssl x509"),
            (bytes.fromhex("feedfeed00000002"), "Java key store, not PEM; export"),
            (expired, "the certificate expired on "),
            (whole[:-40], "a PEM block has no end line; write to a temporary file"),
            (whole.replace(b"\nM", b"\nA", 1), "unreadable certificate; export it"),
        )):  # fmt: skip
            file = self.folder / f"{number}.pem"
            if content is not None:
                file.write_bytes(content)
            said = {}
            for name, client in self.clients.items():
                try:
                    await client(str(file))
                except (BadOption, BadPem, ConfigError) as error:
                    text = error.cure if isinstance(error, BadOption) else str(error)
                    said[name] = text.partition(str(file))[2].lstrip("':").strip()
            self.assertEqual(list(self.clients), list(said))
            self.assertEqual(1, len(set(said.values())), said)
            self.assertTrue(said["http"].startswith(fault), said["http"])
