"""Tests for sniproxy.client.endpoint."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import trustme
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from zope.interface import implementer

import sniproxy
from sniproxy.client.endpoint import SniProxyEndpoint, client_certificate, from_string, sends_server_name, trust_root
from sniproxy.testing.pulsar import PulsarCluster
from tests.support.proxies import Proxy
from tests.support.reactor import reactor
from tests.support.tlsservers import GUESTS, Guest, SayingFactory, ServerTLS, listen, trust, write_pem

BROKERS = ("broker-1.pulsar.test", "broker-2.pulsar.test")


@implementer(IHostnameResolver)
class Noting:
    """A resolver that records the names, and passes them on."""

    def __init__(self, beneath: Any) -> None:
        self.beneath = beneath
        self.asked: list[str] = []

    def resolveHostName(self, resolutionReceiver: Any, hostName: str, *args: Any, **keys: Any) -> Any:
        self.asked.append(hostName)
        return self.beneath.resolveHostName(resolutionReceiver, hostName, *args, **keys)


class ClientCase(TestCase):
    """Has an authority, a folder, and clients."""

    timeout = 120

    def setUp(self) -> None:
        self.authority = trustme.CA()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.ca = write_pem(self.folder, "ca.pem", self.authority.cert_pem)

    async def guest(self, endpoint: Any) -> Guest:
        guest: Guest = await endpoint.connect(GUESTS)
        self.addCleanup(guest.leave)
        return guest

    async def connect(self, address: tuple[str, int], host: str = "broker-1.test", **keys: Any) -> Guest:
        keys.setdefault("trust", trust(self.authority))
        return await self.guest(SniProxyEndpoint(reactor, host, address, **keys))


class ThroughProxyTests(ClientCase):
    """The endpoint and its string form, with a proxy and two brokers."""

    def proxy(self) -> tuple[Proxy, PulsarCluster]:
        cluster = PulsarCluster(BROKERS, reactor=reactor, tls=True, behind_proxy=True)
        cluster.start()
        self.addCleanup(cluster.stop)
        self.ca.write_bytes(cluster.authority_pem)
        routes = "".join(
            f'[[route]]\nserver_name = "{name}"\ntarget = "{host}:{port}"\n'
            for name, (host, port) in cluster.addresses.items()
        )
        return Proxy(self, routes), cluster

    async def test_each_broker(self) -> None:
        """Each broker is reached by its name in SNI; only the proxy's name is ever resolved."""
        proxy, _ = self.proxy()
        noting = Noting(reactor.nameResolver)
        self.addCleanup(reactor.installNameResolver, reactor.installNameResolver(noting))
        for number, name in enumerate(BROKERS):
            endpoint = SniProxyEndpoint(reactor, name.upper(), ("localhost", proxy.port), trust_root(self.ca))
            guest = await self.guest(endpoint)
            await guest.greeted
            guest.leave()
            await guest.end()
            self.assertEqual((await proxy.ended(number)).server_name, name)
        self.assertEqual(noting.asked, ["localhost", "localhost"])

    async def test_string(self) -> None:
        """The string form does the same with Twisted's clientFromString."""
        proxy, _ = self.proxy()
        where = rf"127.0.0.1\:{proxy.port}"
        for trusted in (self.ca, self.folder):
            text = f"sniproxy:broker-2.pulsar.test:6651:proxy={where}:trustRoots={trusted}:timeout=5"
            guest = await self.guest(clientFromString(reactor, text))
            await guest.greeted
        guest = await self.guest(clientFromString(reactor, f"sniproxy:{BROKERS[0]}:proxy={where}"))
        self.assertIn("certificate verify failed", str(await guest.end()))


class ManualTests(ClientCase):
    """docs/reference/client.md."""

    async def test_example(self) -> None:
        """The program of the manual prints what the manual shows."""
        cluster = PulsarCluster(BROKERS, reactor=reactor, tls=True, behind_proxy=True)
        cluster.start()
        self.addCleanup(cluster.stop)
        self.ca.write_bytes(cluster.authority_pem)
        addresses = {"pulsar-vip.test": cluster.addresses[BROKERS[0]], **cluster.addresses}
        proxy = Proxy(
            self,
            "".join(
                f'[[route]]\nserver_name = "{name}"\ntarget = "{host}:{port}"\n'
                for name, (host, port) in addresses.items()
            ),
        )
        manual = (Path(sniproxy.__file__).parent.parent / "docs" / "reference" / "client.md").read_text()
        program, shown = re.findall(r"```python\n(import sys\n.*?)```.*?```\n\$ .*?\n(.*?)```", manual, re.DOTALL)[0]
        file = self.folder / "example.py"
        file.write_text(program.replace("127.0.0.1:4443", f"127.0.0.1:{proxy.port}"))
        said = await getProcessOutputAndValue(sys.executable, [str(file), str(self.ca)], env=os.environ)
        self.assertEqual(said, (shown.encode(), b"", 0))


class VerificationTests(ClientCase):
    """The verification of certificates."""

    def setUp(self) -> None:
        super().setUp()
        self.server = SayingFactory(b"hello", ends=False)
        self.address = listen(self, self.server, ServerTLS(self.authority, "broker-1.test"))

    async def refused(self, *args: Any, **keys: Any) -> BaseException | None:
        guest = await self.connect(*args, **keys)
        error = await guest.end()
        self.assertEqual((guest.heard, self.server.heard), (b"", []))
        return error

    async def test_other_name(self) -> None:
        """A certificate for another name ends the connection before any data is sent."""
        self.assertIsInstance(await self.refused(self.address, "broker-2.test"), VerificationError)
        self.assertIsInstance(await self.refused(self.address, "127.0.0.1"), VerificationError)

    async def test_other_authority(self) -> None:
        """A certificate of an untrusted CA does the same; by default, the platform's CAs are trusted."""
        for other in (trust(trustme.CA()), None):
            self.assertIsInstance(await self.refused(self.address, trust=other), SSL.Error)

    async def test_watched(self) -> None:
        """A wrapper around the connecting endpoint gets the connection; the certificate is verified as before."""
        kept = []

        def wrap(creator: Any) -> Any:
            kept.append(creator)
            return creator

        self.assertIsInstance(await self.refused(self.address, "other.test", wrap=wrap), VerificationError)
        self.assertEqual(len(kept), 1)

    async def test_address(self) -> None:
        """A broker with an IP address is verified for that address."""
        address = listen(self, SayingFactory(b"hello", ends=False), ServerTLS(self.authority, "127.0.0.1"))
        await (await self.connect(address, "127.0.0.1")).greeted
        self.assertEqual([sends_server_name(host) for host in ("127.0.0.1", "::1", "a")], [False, False, True])

    async def test_client_certificate(self) -> None:
        """A broker that requires a client certificate gets it, with its chain."""
        address = listen(self, SayingFactory(b"welcome"), ServerTLS(self.authority, "broker-1.test", certified=True))
        issued = self.authority.create_child_ca().issue_cert("client.test")
        file = write_pem(self.folder, "client.pem", *issued.cert_chain_pems, issued.private_key_pem)
        guest = await self.connect(address, certificate=client_certificate(file))
        await guest.end()
        self.assertEqual(guest.heard, b"welcome")
        self.assertIsInstance(await (await self.connect(address)).end(), SSL.Error)


class StringTests(ClientCase):
    """Errors of invalid strings."""

    def refused(self, text: str) -> str:
        error = self.assertRaises(ValueError, clientFromString, reactor, text)
        return str(error)

    def test_refused(self) -> None:
        """The error for a missing, unknown or invalid part names it, with the cure."""
        good = r"sniproxy:broker-1.test:6651:proxy=proxy.test\:4443"
        clientFromString(reactor, good)
        for text, reason in (
            (r"sniproxy:proxy=p\:1", "no host; give that of the broker"),
            ("sniproxy:broker-1.test:6651", "no proxy; write proxy="),
            ("sniproxy:broker-1.test:6651:proxy=p", "proxy 'p' has no port"),
            (r"sniproxy:broker-1.test:6651:proxy=p\:0", "bad port '0'"),
            (r"sniproxy:broker-1.test:x:proxy=p\:1", "broker 'broker-1.test:x': bad port 'x'"),
            (r"sniproxy:bro ker:6651:proxy=p\:1", "the character ' ' is not allowed"),
            (r"sniproxy:bro_ker.test:6651:proxy=p\:1", "no certificate can cover this name"),
            (good + ":verify=no", "unknown part 'verify'"),
            (good + ":timeout=x", "bad timeout 'x'"),
            (good + ":timeout=0", "bad timeout '0'"),
            (good + ":timeout=nan", "bad timeout 'nan'"),
            (good + ":trustRoots=/absent.pem", "trustRoots '/absent.pem': cannot read"),
            (good + ":certificate=/absent.pem", "certificate '/absent.pem': cannot read"),
            (good + ":privateKey=/absent.pem", "privateKey requires certificate"),
            ("sniproxy:broker-1.test:6651:proxy=p:4443:5:6:7:8:9", "too many parts"),
        ):
            self.assertIn(reason, self.refused(text), text)

    def test_addresses(self) -> None:
        """IPv6 addresses are written with escaped colons, the proxy's in brackets."""
        clientFromString(reactor, r"sniproxy:\:\:1:6651:proxy=[\:\:1]\:4443")
        from_string(reactor, "broker-1.test", proxy="[::1]:4443")
