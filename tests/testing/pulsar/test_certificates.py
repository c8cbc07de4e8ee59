"""Tests for sniproxy.testing.pulsar.certificates."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.testing.pulsar.certificates import Authority, Issued


class AuthorityTests(SynchronousTestCase):
    """Authority, verified by the standard library's TLS."""

    def handshake(self, authority: Authority, issued: Issued, name: str) -> str:
        """A handshake in memory between a server with `issued` and a client that trusts `authority`."""
        file = Path(self.mktemp())
        file.write_bytes(issued.pem)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(file)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        client.load_verify_locations(cadata=authority.pem.decode())
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        a = client.wrap_bio(down, up, server_hostname=name)
        b = server.wrap_bio(up, down, server_side=True)
        for _ in range(3):
            for side in (a, b):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
        return str(a.version())

    def test_trusted(self) -> None:
        """A certificate is valid for each of its names, host names and addresses."""
        authority = Authority()
        issued = authority.issue(["broker-1.pulsar.test", "localhost", "127.0.0.1"])
        for name in ("broker-1.pulsar.test", "localhost", "127.0.0.1"):
            self.assertEqual(self.handshake(authority, issued, name), "TLSv1.3")

    def test_other_name(self) -> None:
        """A certificate is not valid for another name."""
        authority = Authority()
        issued = authority.issue(["broker-1.pulsar.test"])
        with self.assertRaisesRegex(ssl.SSLCertVerificationError, "[Hh]ostname mismatch"):
            self.handshake(authority, issued, "broker-2.pulsar.test")

    def test_other_authority(self) -> None:
        """A CA with the same name does not validate it."""
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.handshake(Authority(), Authority().issue(["broker-1.pulsar.test"]), "broker-1.pulsar.test")

    def test_validity(self) -> None:
        """Certificates are valid from an hour ago, for clients whose clock is slow."""
        authority = Authority()
        own = x509.load_pem_x509_certificate(authority.pem)
        for certificate in (own, authority.issue(["localhost"]).certificate):
            age = datetime.now(UTC) - certificate.not_valid_before_utc
            self.assertGreaterEqual(age, timedelta(hours=1))
            self.assertLess(age, timedelta(hours=2))
            self.assertGreater(certificate.not_valid_after_utc, datetime.now(UTC) + timedelta(days=7))

    def test_key_is_not_shown(self) -> None:
        """The repr of an issued certificate does not show the key."""
        self.assertNotIn("Key", repr(Authority().issue(["localhost"])))
