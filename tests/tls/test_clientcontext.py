"""Tests for sniproxy.tls.clientcontext."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography import x509
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.clientcontext import BadPem, client_certificate, printable_names, tls_fault, trust_root
from tests.support.tlsservers import write_pem


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
