"""Turns TCP and TLS errors into a L{ClientError} with the peer, the reason and the cure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs
from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as net
from twisted.internet.defer import TimeoutError as DeferredTimeout

from sniproxy.client.endpoint import sends_server_name
from sniproxy.client.failures import ClientError, FailureKind, Stage
from sniproxy.tls import clientcontext
from sniproxy.util.text import bounded

NO_DOT = (
    "Java clients send no server name for a name without a dot: use names with a dot for the service and all brokers"
)


@attrs.frozen
class DialledTarget:
    """The destination of a connection.

    @ivar host: the host of the broker or of the service URL. @ivar dialled: the ``host:port`` to connect to.
    @ivar proxied: whether that is a proxy.
    """

    host: str
    dialled: str
    proxied: bool
    tls: bool

    def __str__(self) -> str:
        if self.proxied:
            return f"{self.host} through proxy {self.dialled}"
        return self.dialled

    @property
    def server_name(self) -> str | None:
        """The name in SNI; None if none is sent."""
        return self.host if self.tls and sends_server_name(self.host) else None

    @property
    def dotless(self) -> bool:
        """Whether the name has no dot, so that Java clients send no SNI."""
        return self.server_name is not None and "." not in self.host


def explain_connect_failure(error: BaseException, target: DialledTarget, seconds: float) -> ClientError:
    """Explain an error of a Twisted endpoint: there is no TCP connection. @param seconds: the timeout."""
    what = f"the proxy {target.dialled}" if target.proxied else target.dialled
    url = "the proxy URL" if target.proxied else "the service URL"
    # Brokers behind a proxy usually cannot be reached directly.
    more = "" if target.proxied else "; for brokers behind an SNI proxy, set the proxy URL and protocol, too"
    if isinstance(error, net.DNSLookupError):
        return ClientError(
            FailureKind.NAME_NOT_RESOLVED,
            f"cannot resolve the host of {what}: {error.args[0] if error.args else 'unknown error'}",
            f"check the host in {url} and the DNS of this machine{more}",
        )
    cure = f"check {url}, the server and firewalls{more}"
    if isinstance(error, net.TimeoutError | DeferredTimeout):
        return ClientError(FailureKind.UNREACHABLE, f"{what}: connection timed out after {seconds:g} s", cure)
    reason = bounded(str(error) or type(error).__name__).rstrip(".")
    return ClientError(FailureKind.UNREACHABLE, f"cannot connect to {what}: {reason}", cure)


def explain_end(
    error: BaseException, target: DialledTarget, chain: Sequence[x509.Certificate], now: datetime, stage: Stage
) -> ClientError:
    """Explain why the peer ended a connection, or why TLS failed.

    @param chain: the certificate chain of the broker, its own certificate first. @param stage: the stage it reached.
    """
    if isinstance(error, VerificationError):
        names = ", ".join(clientcontext.printable_names(chain[0])) if chain else ""
        return ClientError(
            FailureKind.CERTIFICATE_NAME,
            f"{target}: the certificate does not cover {target.host}, only {names or 'no name'}",
            "add the name of the broker and the host of the service URL to the subject alternative names of its "
            "certificate; or the proxy routed to another broker",
        )
    if isinstance(error, SSL.Error):
        return _tls(_words(error), target, chain, now)
    # A FIN or a reset without a TLS alert.
    how = "reset" if isinstance(error, net.ConnectionLost) and "reset" in str(error).lower() else "closed"
    return ClientError(FailureKind.CLOSED, f"{target}: connection {how} {stage.value}", _closed(target, stage))


def explain_controller_failure(failure: ClientError, target: DialledTarget) -> ClientError:
    """Explain why the controller of a scalable topic cannot be connected to. @param failure: that of the connection."""
    why = "stream consumers and consumer groups dial the broker's internal listener"
    if target.tls and not target.proxied:
        cure = f"{why}, which Pulsar 5.0 gives TLS clients without a TLS URL: use an SNI proxy, which routes by name"
    elif target.tls and target.server_name is None:
        cure = (
            f"{why}: advertise it by a dotted name (advertisedAddress), with a route for this name, and the name in "
            "the broker's certificate"
        )
    else:
        cure = f"{why}; {failure.cure}" if failure.cure else why
    return ClientError(failure.kind, failure.reason, cure)


def _closed(target: DialledTarget, stage: Stage) -> str:
    if target.proxied and stage is Stage.HANDSHAKE:
        return (
            "the broker behind the proxy is down, or the route leads to its plaintext port: "
            "check the access log of the proxy, and route to the TLS port of the broker"
        )
    if stage is Stage.HANDSHAKE:
        return "the port may be plaintext: use the TLS port or pulsar://; or the broker is shutting down"
    if not target.tls:
        return "the port may use TLS: use pulsar+ssl://; or the broker closed the connection"
    return "the broker closed the connection: check its log"


def _words(error: SSL.Error) -> str:
    entries = error.args[0] if error.args else ()
    reasons = [entry[-1] for entry in entries if entry] if isinstance(entries, list | tuple) else [str(entries)]
    return bounded(", ".join(str(reason) for reason in reasons if reason) or "no reason given")


_NO_TLS = ("wrong version number", "packet length too long", "http request", "record layer failure")
_WANTS_CERTIFICATE = (
    "certificate required",
    "bad certificate",
    "unknown ca",
    "handshake failure",
    "certificate unknown",
)


def _tls(words: str, target: DialledTarget, chain: Sequence[x509.Certificate], now: datetime) -> ClientError:
    if "certificate verify failed" in words:
        return _unverified(target, chain, now)
    # A server may refuse a ClientHello without a server name with missing_extension (RFC 8446, section 6.2).
    nameless = target.server_name is None and "missing extension" in words
    if nameless or "unrecognized name" in words:
        alert = "missing_extension" if nameless else "unrecognized_name"
        return ClientError(FailureKind.NO_ROUTE, f"{target}: refused with TLS alert {alert}", _no_route(target))
    if any(reason in words for reason in _NO_TLS):
        return ClientError(
            FailureKind.TLS_MISMATCH,
            f"{target}: the answer is not TLS ({words})",
            "the port is plaintext: use the TLS port"
            + (" in the proxy URL or in the route of the proxy" if target.proxied else " or pulsar://"),
        )
    cure = ""
    if any(reason in words for reason in _WANTS_CERTIFICATE):
        cure = "the broker may require a client certificate from a CA that it trusts"
    return ClientError(FailureKind.TLS_REFUSED, f"{target}: TLS failed: {words}", cure)


def _no_route(target: DialledTarget) -> str:
    if target.server_name is None:
        return (
            f"clients send no server name for the IP address {target.host}: use host names in the service URL and in "
            "advertised listeners, or add [no_server_name] to the proxy"
        )
    return f"add a route for {target.host} to the proxy" + (f"; {NO_DOT}" if target.dotless else "")


def _unverified(target: DialledTarget, chain: Sequence[x509.Certificate], now: datetime) -> ClientError:
    for certificate in chain:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not start <= now <= end:
            validity = f"valid from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
            return ClientError(
                FailureKind.CERTIFICATE_EXPIRED,
                f"{target}: a certificate is {validity}, but it is {now:%Y-%m-%d %H:%M}",
                "renew the certificate of the broker, or correct the clock of this machine",
            )
    issuer = bounded(chain[0].issuer.rfc4514_string()) if chain else "unknown"
    return ClientError(
        FailureKind.CERTIFICATE_UNTRUSTED,
        f"{target}: untrusted certificate, issued by {issuer}",
        "give the CA certificate as a PEM file to trust",
    )
