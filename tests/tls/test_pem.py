"""Tests for sniproxy.tls.pem: certificates and keys."""

from __future__ import annotations

from unittest import mock

import trustme
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import pem as pem_room
from sniproxy.tls.pem import BadPem, certificate_names, certificates, certified, keys
from tests.tls.material import CA, NAME, issued, pem, unreadable_names


def apart(*hosts: str) -> tuple[bytes, bytes]:
    """The PEM text of a certificate and of its key."""
    made = CA.issue_cert(*hosts)
    return b"".join(blob.bytes() for blob in made.cert_chain_pems), made.private_key_pem.bytes()


class CertifiedTests(SynchronousTestCase):
    """certified: certificates with their keys."""

    def test_together_and_apart(self) -> None:
        """The key may be in the same file or in another, before or after the certificate."""
        certificate, key = apart(NAME)
        for files in (
            [("a.pem", certificate + key)],
            [("a.pem", key + certificate)],
            [("a.pem", certificate), ("b.key", key)],
            [("0.key", key), ("a.pem", certificate), ("more.pem", pem("other.test"))],
        ):
            found = certified(files)
            self.assertEqual((NAME,), certificate_names(found[0].chain[0]))
            self.assertEqual("a.pem", found[0].place)

    def test_chain(self) -> None:
        """The certificates after the first one are its chain."""
        between = CA.create_child_ca()
        made = between.issue_cert(NAME)
        text = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        (found,) = certified([("a.pem", text), ("a.key", made.private_key_pem.bytes())])
        self.assertEqual(2, len(found.chain))
        self.assertEqual(found.chain[0].issuer, found.chain[1].subject)

    def test_authorities_need_no_key(self) -> None:
        """A CA certificate may be in the same folder."""
        found = certified([("ca.pem", CA.cert_pem.bytes()), ("a.pem", pem(NAME))])
        self.assertEqual(["a.pem"], [each.place for each in found])

    def test_key_missing(self) -> None:
        """A server's certificate without a key is reported with its file."""
        certificate, _ = apart(NAME)
        error = self.assertRaises(BadPem, certified, [("a.pem", certificate), ("b.pem", pem("b.test"))])
        self.assertIn("a.pem: no private key for its certificate", str(error))

    def test_encrypted(self) -> None:
        """An encrypted key is reported with the cure and without its content."""
        key = load_pem_private_key(apart(NAME)[1], None)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        error = self.assertRaises(BadPem, keys, "a.key", text)
        self.assertIn("a.key: encrypted private key; ", str(error))
        self.assertIn("openssl pkey", str(error))

    def test_kinds(self) -> None:
        """A key of a type that TLS does not use is refused."""
        text = dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.assertIn("use RSA or ECDSA", str(self.assertRaises(BadPem, keys, "a.key", text)))
        rsa = CA.issue_cert(NAME, key_type=trustme.KeyType.RSA)
        self.assertEqual(1, len(certified([("a.pem", rsa.private_key_and_cert_chain_pem.bytes())])))

    def test_broken(self) -> None:
        """A malformed block is reported with its file."""
        for label, reader in ((b"CERTIFICATE", certificates), (b"PRIVATE KEY", keys)):
            text = b"-----BEGIN " + label + b"-----\nAAAA\n-----END " + label + b"-----\n"
            self.assertIn("a.pem: ", str(self.assertRaises(BadPem, reader, "a.pem", text)))

    def test_half_written(self) -> None:
        """A half-written or empty file is an error, so that the rest of the folder is not used without it."""
        text = pem(NAME)
        end = text.index(b"-----END EC PRIVATE KEY")
        for content in (b"", b"\n", text[: end // 2], text[:end], text[:-30], text + text[:-30]):
            error = self.assertRaises(BadPem, certified, [("a.pem", pem("a.test")), ("b.pem", content)])
            self.assertIn("b.pem: ", str(error))
            self.assertIn("write to a temporary file and rename it", str(error))

    def test_many(self) -> None:
        """RSA keys are loaded without validation, which would take a second for twenty of them."""
        text = CA.issue_cert(NAME, key_type=trustme.KeyType.RSA).private_key_pem.bytes()
        with mock.patch.object(pem_room, "load_pem_private_key", wraps=load_pem_private_key) as load:
            keys("a.pem", text)
        self.assertTrue(load.call_args.kwargs["unsafe_skip_rsa_key_validation"])

    def test_key_does_not_show(self) -> None:
        """The repr does not show the key."""
        self.assertNotIn("key=", repr(issued(NAME)))

    @given(st.binary(max_size=300))
    def test_any_bytes(self, text: bytes) -> None:
        """Any bytes give an answer or the one exception."""
        whole = b"-----BEGIN CERTIFICATE-----\n" + text + b"\n-----END CERTIFICATE-----\n"
        for content in (text, whole, whole.replace(b"CERTIFICATE", b"EC PRIVATE KEY")):
            try:
                certified([("a.pem", content)])
            except BadPem:
                pass


class NamesTests(SynchronousTestCase):
    """certificate_names: the names in a certificate."""

    def test_names(self) -> None:
        """Host names in lower case, wildcards and addresses; the common name does not count."""
        found = certificate_names(issued("A.Test", "*.w.test", "127.0.0.1", "::1", common_name="cn.test").chain[0])
        self.assertEqual({"a.test", "*.w.test", "127.0.0.1", "::1"}, set(found))

    def test_none(self) -> None:
        """A certificate without alternative names has no names."""
        (ca,) = certificates("ca.pem", CA.cert_pem.bytes())
        self.assertEqual((), certificate_names(ca))

    def test_unreadable(self) -> None:
        """Unreadable alternative names count as none, without an error."""
        self.assertEqual((), certificate_names(unreadable_names()))
