"""Tests for sniproxy.tls.clientcontext."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.ssl import ContextFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.tls.clientcontext import (
    BadPem,
    ClientCertificate,
    client_certificate,
    client_tls,
    printable_names,
    tls_fault,
    trust_root,
    trust_text,
    twisted_certificate,
    twisted_trust_root,
)
from sniproxy.tls.contexts import server_context
from sniproxy.tls.pem import Certified
from tests.support.reactor import reactor
from tests.support.tlsservers import GUESTS, Guest, SayingFactory, listen, write_pem
from tests.tls.material import CA, NAME, OTHER_CA, issued

ROOT = x509.load_pem_x509_certificate(CA.cert_pem.bytes())


class PemCase(SynchronousTestCase):
    """Has a temporary folder."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.authority = trustme.CA()

    def nothing(self) -> Path:
        file = self.folder / "empty.pem"
        file.write_bytes(b"nothing\n")
        return file


class TrustRootTests(PemCase):
    """trust_root: PEM files and folders. The tests of sniproxy.client.endpoint check which peers are trusted."""

    def test_text(self) -> None:
        """trust_text: the certificates of a file or folder for Python's ssl module, without what is around them."""
        one, other = self.authority.cert_pem, trustme.CA().cert_pem
        write_pem(self.folder, "a.pem", one)
        (self.folder / "b.pem").write_bytes(b"a comment\n" + other.bytes())
        context = ssl.create_default_context(cadata=trust_text(self.folder))
        self.assertTrue(
            {ssl.PEM_cert_to_DER_cert(each.bytes().decode()) for each in (one, other)}
            <= set(context.get_ca_certs(binary_form=True))
        )
        self.assertIn("BEGIN CERTIFICATE", trust_text(self.folder / "a.pem"))

    def test_refused(self) -> None:
        """The error for a file or folder that is unreadable, or without a certificate, has its name."""
        broken = self.folder / "broken.pem"
        broken.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        folder = self.folder / "folder"
        folder.mkdir()
        (folder / "ca.txt").write_bytes(self.authority.cert_pem.bytes())
        for path, reason in (
            (self.nothing(), "no PEM certificate found"),
            (self.folder / "absent.pem", "No such file or directory"),
            (broken, "unreadable certificate; export"),
            (folder, "no *.pem, *.crt or *.cer file with a certificate"),
        ):
            error = self.assertRaises(BadPem, trust_root, path, "--trust")
            self.assertIn(f"--trust {str(path)!r}: ", str(error))
            self.assertIn(reason, str(error))


class ClientCertificateTests(PemCase):
    """client_certificate: a certificate, its chain and its key."""

    def test_one_file(self) -> None:
        """Certificate, chain and key may be in one file, in any order, or the key in another file."""
        chained = self.authority.create_child_ca()
        issued = chained.issue_cert("client.test", common_name="me")
        chain = issued.cert_chain_pems
        key = write_pem(self.folder, "key.pem", issued.private_key_pem)
        for file, key_file in (
            (write_pem(self.folder, "a.pem", *chain, issued.private_key_pem), None),
            (write_pem(self.folder, "b.pem", issued.private_key_pem, *chain), None),
            (write_pem(self.folder, "c.pem", *chain), key),
        ):
            read = client_certificate(file, key_file)
            self.assertEqual(read.own.getSubject().commonName, b"me")
            self.assertEqual(len(read.chain), 1)
            self.assertNotIn("PRIVATE", repr(read))

    def test_refused(self) -> None:
        """The error for a missing certificate or key, or a key of another certificate, has the file's name."""
        issued = self.authority.issue_cert("client.test")
        only = write_pem(self.folder, "only.pem", *issued.cert_chain_pems)
        foreign = write_pem(self.folder, "foreign.pem", self.authority.issue_cert("other.test").private_key_pem)
        for file, key, reason in (
            (self.nothing(), None, f"certificate {str(self.nothing())!r}: no PEM certificate"),
            (only, None, f"certificate {str(only)!r}: no key found that matches"),
            (only, self.nothing(), f"key {str(self.nothing())!r}: no key found that matches"),
            (only, foreign, f"key {str(foreign)!r}: no key found that matches"),
            (only, self.folder / "absent", "No such file or directory"),
        ):
            self.assertIn(reason, str(self.assertRaises(BadPem, client_certificate, file, key)))


class Showing(ContextFactory):
    """A server that shows this certificate. @param certified: it wants a client certificate of CA."""

    def __init__(self, shown: Certified, certified: bool = False) -> None:
        self.context = server_context(shown)
        if certified:
            CA.configure_trust(self.context)
            self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: bool(_[-1]))

    def getContext(self) -> SSL.Context:
        return self.context


class ClientTLSTests(TestCase):
    """client_tls: the settings of one connection."""

    timeout = 120

    async def connect(self, server: Showing, trust: Any, certificate: ClientCertificate | None = None) -> Guest:
        """A connection to this server, which says "welcome" and closes."""
        address = listen(self, SayingFactory(b"welcome"), server)
        endpoint: Any = wrapClientTLS(client_tls(NAME, trust, certificate), TCP4ClientEndpoint(reactor, *address))
        guest: Guest = await endpoint.connect(GUESTS)
        self.addCleanup(guest.leave)
        return guest

    async def test_trusted(self) -> None:
        """An authority is trusted, an intermediate one alone too, and so is the server's own certificate."""
        shown = issued(NAME, ca=CA.create_child_ca())
        for trusted in (ROOT, shown.chain[1], shown.chain[0]):
            guest = await self.connect(Showing(shown), twisted_trust_root([trusted]))
            await guest.end()
            self.assertEqual(b"welcome", guest.heard)

    async def test_not_trusted(self) -> None:
        """A certificate of another authority fails the handshake; the default is the platform's authorities."""
        for trust in (twisted_trust_root([issued(NAME, ca=OTHER_CA).chain[0]]), None):
            guest = await self.connect(Showing(issued(NAME)), trust)
            self.assertIn("certificate verify failed", str(await guest.end()))
            self.assertEqual(b"", guest.heard)

    async def test_other_name(self) -> None:
        """A trusted certificate for another name ends the connection before any data passes."""
        guest = await self.connect(Showing(issued("other.test")), twisted_trust_root([ROOT]))
        self.assertIsInstance(await guest.end(), VerificationError)
        self.assertEqual(b"", guest.heard)

    async def test_certificate(self) -> None:
        """A server that wants a certificate gets ours, with its intermediate certificates."""
        own = twisted_certificate(issued("client.test", ca=CA.create_child_ca()))
        for certificate, heard in ((own, b"welcome"), (None, b"")):
            guest = await self.connect(Showing(issued(NAME), True), twisted_trust_root([ROOT]), certificate)
            await guest.end()
            self.assertEqual(heard, guest.heard)

    async def test_versions(self) -> None:
        """TLS 1.1 is refused."""
        server = Showing(issued(NAME))
        server.context.set_min_proto_version(SSL.TLS1_1_VERSION)
        server.context.set_max_proto_version(SSL.TLS1_1_VERSION)
        server.context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
        guest = await self.connect(server, twisted_trust_root([ROOT]))
        self.assertIn("protocol version", str(await guest.end()))

    def test_bad_host(self) -> None:
        """A host that no certificate can name is an error."""
        self.assertRaises(UnicodeError, client_tls, "\ud800", None, None)


class FaultTests(SynchronousTestCase):
    """tls_fault: the reason of a TLS error."""

    def test_fault(self) -> None:
        """The text has OpenSSL's reason, and the cure if the certificate is not trusted."""
        for reason, said in (
            ("wrong version number", "TLS failed: wrong version number"),
            ("certificate verify failed", "its certificate is not trusted (certificate verify failed); add its auth"),
        ):
            self.assertTrue(tls_fault(SSL.Error([("SSL routines", "", reason)])).startswith(said))


class NamesTests(PemCase):
    """names: the names in a certificate."""

    def test_names(self) -> None:
        """Host names, wildcards and addresses are returned, except those of a CA."""

        def of(blob: trustme.Blob) -> tuple[str, ...]:
            return printable_names(x509.load_pem_x509_certificate(blob.bytes()))

        issued = self.authority.issue_cert("a.test", "*.b.test", "127.0.0.1", "::1")
        self.assertEqual(of(issued.cert_chain_pems[0]), ("a.test", "*.b.test", "127.0.0.1", "::1"))
        self.assertEqual(of(self.authority.cert_pem), ())
