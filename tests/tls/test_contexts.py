"""TLS contexts of both sides, in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest import mock

from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.contexts import (
    BadCertificate,
    BrokerTLS,
    certificate_names_text,
    check_usable,
    openssl_reasons,
    unverified_connection,
    verification_fault,
    verify_name,
)
from sniproxy.tls.pem import BadPem, Certified, certificates, certified
from tests.tls.material import CA, NAME, OTHER_CA, accepting, issued, shake_hands, trust, unreadable_names, weak


class BrokerTests(SynchronousTestCase):
    """verify_name: verification of the peer."""

    def fault(self, shown: Certified, tls: BrokerTLS | None = None) -> str:
        client = (tls or trust()).connection(NAME)
        self.assertRaises(SSL.Error, shake_hands, client, accepting(shown))
        return verification_fault(client) or ""

    def test_good(self) -> None:
        """A trusted certificate for the name is accepted; SNI has the name."""
        client, server = trust().connection(NAME), accepting(issued("x.test", NAME))
        shake_hands(client, server)
        verify_name(client, NAME)
        self.assertEqual(NAME.encode(), server.get_servername())
        self.assertIsNone(verification_fault(client))

    def test_wrong_name(self) -> None:
        """A trusted certificate without the name is refused with its names; a wildcard for another level, too."""
        for names in (("other.test",), ("*.test",)):
            client = trust().connection(NAME)
            shake_hands(client, accepting(issued(*names)))
            error = self.assertRaises(BadCertificate, verify_name, client, NAME)
            self.assertEqual(f"its certificate does not cover {NAME}; it names {names[0]}", str(error))

    def test_address(self) -> None:
        """An IP address is compared with the certificate's addresses, and is not sent in SNI."""
        client, server = trust().connection("127.0.0.1"), accepting(issued("127.0.0.1"))
        shake_hands(client, server)
        verify_name(client, "127.0.0.1")
        self.assertIsNone(server.get_servername())
        self.assertRaises(BadCertificate, verify_name, client, "127.0.0.2")

    def test_not_trusted(self) -> None:
        """Each fault of a chain has its text."""
        now = datetime.now(UTC)
        expired = issued(NAME, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
        early = issued(NAME, not_before=now + timedelta(days=1), not_after=now + timedelta(days=9))
        for shown, what in (
            (expired, "it has expired"),
            (early, "it is not valid yet"),
            (issued(NAME, ca=OTHER_CA), "its issuer is not in the trust file"),
        ):
            self.assertIn(f"its certificate is not trusted: {what}", self.fault(shown))

    def test_own_certificate_trusted(self) -> None:
        """The broker's own certificate may be trusted."""
        shown = issued(NAME, ca=OTHER_CA)
        client = BrokerTLS([shown.chain[0]]).connection(NAME)
        shake_hands(client, accepting(shown))
        verify_name(client, NAME)

    def test_shown(self) -> None:
        """A broker that requires a client certificate gets ours."""
        own = issued("client.test")
        client = BrokerTLS(certificates("ca.pem", CA.cert_pem.bytes()), own).connection(NAME)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        wanted = issued(NAME)
        context.use_certificate(wanted.chain[0])
        context.use_privatekey(wanted.key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        server = SSL.Connection(context, None)
        server.set_accept_state()
        shake_hands(client, server)
        self.assertEqual("it names client.test", certificate_names_text(server))

    def test_described(self) -> None:
        """Long lists of names are cut; a missing certificate names no host."""
        client = trust().connection(NAME)
        self.assertEqual("it names no host", certificate_names_text(client))
        shake_hands(client, accepting(issued(*(f"{n}.test" for n in range(7)))))
        self.assertIn("and 2 more", certificate_names_text(client))

    def test_unreadable_names(self) -> None:
        """A broker's certificate with unreadable names is not valid for any name."""
        client = trust().connection(NAME)
        shown = crypto.X509.from_cryptography(unreadable_names())
        with mock.patch.object(client, "get_peer_certificate", lambda *_, **__: shown):
            error = self.assertRaises(BadCertificate, verify_name, client, NAME)
        self.assertIn("it names no host", str(error))

    def test_weak(self) -> None:
        """A certificate that OpenSSL rejects is reported with its file when it is loaded."""
        (shown,) = certified([("weak.pem", weak(NAME))])
        for use in (lambda: check_usable([issued(NAME), shown]), lambda: BrokerTLS([], shown)):
            self.assertIn("weak.pem: OpenSSL rejects", str(self.assertRaises(BadPem, use)))

    def test_why(self) -> None:
        """The text has each of OpenSSL's reasons once; an error without a reason has a text, too."""
        self.assertEqual("a, b", openssl_reasons(SSL.Error([("lib", "", "a"), ("lib", "", "b"), ("lib", "", "a")])))
        self.assertEqual("the TLS connection failed", openssl_reasons(SSL.Error()))

    def test_versions(self) -> None:
        """TLS 1.1 is refused."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        self.assertRaises(SSL.Error, shake_hands, client, accepting(issued(NAME)))

    def test_unverified(self) -> None:
        """Without verification any certificate is accepted; SNI has a name, but no IP address."""
        for name, sent in ((NAME, NAME.encode()), ("127.0.0.1", None), (None, None)):
            client, server = unverified_connection(name), accepting(issued("other.test", ca=OTHER_CA))
            shake_hands(client, server)
            self.assertEqual(sent, server.get_servername())
