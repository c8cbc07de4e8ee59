"""Tests for sniproxy.client.diagnosis. tests.client.test_brokers has real TLS errors."""

from datetime import UTC, datetime
from typing import Any

import trustme
from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as net
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.diagnosis import (
    DialledTarget,
    explain_connect_failure,
    explain_controller_failure,
    explain_end,
)
from sniproxy.client.failures import ClientError, FailureKind, Stage

PROXIED = DialledTarget("b1.test", "127.0.0.1:4443", proxied=True, tls=True)
DIRECT = DialledTarget("b1.test", "b1.test:6651", proxied=False, tls=True)
PLAIN = DialledTarget("b1.test", "b1.test:6650", proxied=False, tls=False)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALID = datetime(2026, 12, 1, tzinfo=UTC)


class TargetTests(SynchronousTestCase):
    """DialledTarget."""

    def test_names(self) -> None:
        """The server name is the host, with TLS and unless it is an IP address; Java sends none without a dot."""
        for host, name, dotless in (("b1.test", "b1.test", False), ("b1", "b1", True), ("::1", None, False)):
            target = DialledTarget(host, "127.0.0.1:4443", True, True)
            self.assertEqual((target.server_name, target.dotless), (name, dotless))
        self.assertEqual((PLAIN.server_name, DialledTarget("b1", "b1:6650", False, False).dotless), (None, False))
        self.assertEqual(str(PROXIED), "b1.test through proxy 127.0.0.1:4443")
        self.assertEqual(str(DIRECT), "b1.test:6651")


class NotConnectedTests(SynchronousTestCase):
    """not_connected: errors of TCP."""

    def test_kinds(self) -> None:
        """An unresolved host differs from a failed connection; both errors have the dialled address."""
        for error, kind, reason in (
            (net.DNSLookupError("no"), FailureKind.NAME_NOT_RESOLVED, "cannot resolve the host of "),
            (net.ConnectionRefusedError("refused"), FailureKind.UNREACHABLE, "refused"),
            (net.NoRouteError(), FailureKind.UNREACHABLE, "cannot connect to "),
            (net.TCPTimedOutError(), FailureKind.UNREACHABLE, "cannot connect to "),
            (net.TimeoutError(), FailureKind.UNREACHABLE, "timed out after 10 s"),
            (TookTooLong(), FailureKind.UNREACHABLE, "timed out after 10 s"),
            (ValueError(), FailureKind.UNREACHABLE, "ValueError"),
        ):
            for target in (PROXIED, DIRECT):
                failure = explain_connect_failure(error, target, 10)
                self.assertEqual(failure.kind, kind)
                self.assertIn(reason, failure.reason)
                self.assertIn(target.dialled, failure.reason)
                self.assertIn("the proxy URL" if target.proxied else "set the proxy URL and protocol", failure.cure)


class EndedTests(SynchronousTestCase):
    """ended: errors of TLS, and a FIN."""

    def tls(self, words: str, target: DialledTarget = PROXIED) -> tuple[FailureKind, str]:
        failure = explain_end(SSL.Error([("SSL routines", "", words)]), target, [], NOW, Stage.HANDSHAKE)
        return failure.kind, failure.cure

    def test_alerts(self) -> None:
        """unrecognized_name is a missing route; other alerts have the text of OpenSSL."""
        kind, cure = self.tls("tlsv1 unrecognized name")
        self.assertEqual((kind, cure), (FailureKind.NO_ROUTE, "add a route for b1.test to the proxy"))
        cure = self.tls("tlsv1 unrecognized name", DialledTarget("b1", "127.0.0.1:4443", True, True))[1]
        self.assertIn("Java clients send no server name for a name without a dot", cure)
        cure = self.tls("tlsv1 unrecognized name", DialledTarget("::1", "127.0.0.1:4443", True, True))[1]
        self.assertIn("clients send no server name for the IP address ::1", cure)
        kind, cure = self.tls("tlsv13 alert certificate required")
        self.assertEqual((kind, "client certificate" in cure), (FailureKind.TLS_REFUSED, True))
        self.assertEqual(self.tls("tlsv1 alert internal error"), (FailureKind.TLS_REFUSED, ""))

    def test_not_tls(self) -> None:
        """An answer that is not TLS means a wrong port or scheme."""
        for target, cure in ((PROXIED, "in the proxy URL"), (DIRECT, "or pulsar://")):
            kind, said = self.tls("wrong version number", target)
            self.assertEqual(kind, FailureKind.TLS_MISMATCH)
            self.assertIn(cure, said)

    def test_no_words(self) -> None:
        """Errors without a text or certificates are reported."""
        empty: tuple[object, ...] = ()
        for arguments in (empty, ([],), ("odd",)):
            self.assertEqual(
                explain_end(SSL.Error(*arguments), DIRECT, [], NOW, Stage.TALK).kind, FailureKind.TLS_REFUSED
            )
        self.assertEqual(self.tls("certificate verify failed")[0], FailureKind.CERTIFICATE_UNTRUSTED)

    def test_closed(self) -> None:
        """A FIN is reported with its stage and the likely cause."""
        for target, stage, cure in (
            (PROXIED, Stage.HANDSHAKE, "the broker behind the proxy is down, or the route leads to its plaintext port"),
            (DIRECT, Stage.HANDSHAKE, "the port may be plaintext"),
            (PLAIN, Stage.LOGIN, "the port may use TLS"),
            (PROXIED, Stage.TALK, "check its log"),
        ):
            failure = explain_end(net.ConnectionDone(), target, [], NOW, stage)
            self.assertEqual(failure.kind, FailureKind.CLOSED)
            self.assertIn(f"connection closed {stage.value}", failure.reason)
            self.assertIn(cure, failure.cure)

    def test_reset(self) -> None:
        """A reset is told from a close."""
        failure = explain_end(net.ConnectionLost("Connection reset by peer"), DIRECT, [], NOW, Stage.TALK)
        self.assertIn("connection reset after CONNECTED", failure.reason)


class CertificateTests(SynchronousTestCase):
    """explain_end: certificates."""

    def chain(self, *names: str, **more: Any) -> list[x509.Certificate]:
        issued = trustme.CA(organization_name="Test").issue_cert(*names, **more)
        return [x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())]

    def test_name(self) -> None:
        """A certificate for other names is reported with them, or that it has none."""
        for chain, names in ((self.chain("b2.test", "vip.test"), "only b2.test, vip.test"), ([], "only no name")):
            failure = explain_end(VerificationError(errors=[]), PROXIED, chain, NOW, Stage.HANDSHAKE)
            self.assertEqual(FailureKind.CERTIFICATE_NAME, failure.kind)
            self.assertIn(f"the certificate does not cover b1.test, {names}", failure.reason)
            self.assertIn("or the proxy routed to another broker", failure.cure)

    def unverified(self, chain: list[x509.Certificate], now: datetime) -> ClientError:
        error = SSL.Error([("SSL routines", "", "certificate verify failed")])
        return explain_end(error, PROXIED, chain, now, Stage.HANDSHAKE)

    def test_expired(self) -> None:
        """A certificate that has expired, or is not valid yet, is reported with its dates and the clock's."""
        chain = self.chain("b1.test", not_after=datetime(2027, 1, 1, tzinfo=UTC))
        for now in (datetime(2028, 5, 6, 7, 8, tzinfo=UTC), datetime(1900, 5, 6, 7, 8, tzinfo=UTC)):
            failure = self.unverified(chain, now)
            self.assertEqual(FailureKind.CERTIFICATE_EXPIRED, failure.kind)
            self.assertIn("to 2027-01-01 00:00 UTC", failure.reason)
            self.assertIn(f"but it is {now:%Y}-05-06 07:08", failure.reason)

    def test_untrusted(self) -> None:
        """A valid certificate from an unknown authority is reported with its issuer."""
        failure = self.unverified(self.chain("b1.test", not_after=datetime(2027, 1, 1, tzinfo=UTC)), VALID)
        self.assertEqual(FailureKind.CERTIFICATE_UNTRUSTED, failure.kind)
        self.assertIn("O=Test", failure.reason)


class ControllerTests(SynchronousTestCase):
    """explain_controller_failure: the controller of a scalable topic."""

    def cure(self, target: DialledTarget, cure: str = "restart it") -> str:
        return explain_controller_failure(ClientError(FailureKind.CLOSED, "closed", cure), target).cure

    def test_cure(self) -> None:
        """Without a proxy, TLS clients get a plain port; an address has no route; otherwise the cause has the cure."""
        nameless = DialledTarget("127.0.0.1", "127.0.0.1:4443", proxied=True, tls=True)
        for target, cure in (
            (DIRECT, "use an SNI proxy"),
            (nameless, "advertise it by a dotted name"),
            (PROXIED, "restart it"),
            (PLAIN, "restart it"),
        ):
            self.assertTrue(self.cure(target).startswith("stream consumers"))
            self.assertIn(cure, self.cure(target))
        self.assertTrue(self.cure(PLAIN, "").endswith("internal listener"))
