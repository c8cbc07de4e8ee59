"""From errors of TCP and TLS to a failure that names the place and the cure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs
from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as net
from twisted.internet.defer import TimeoutError as TookTooLong

from sniproxy.client.endpoint import sends_server_name
from sniproxy.client.failures import FailureKind, Stage, TalkFailed
from sniproxy.tls import clientcontext
from sniproxy.util.text import bounded

NO_DOT = (
    "Java clients send no server name for a name without a dot: give the service and every broker a name with a dot"
)


@attrs.frozen
class DialledTarget:
    """Whom a connection is for, and how.

    @ivar host: the broker's, or the service's. @ivar dialled: ``host:port`` that is connected to.
    @ivar proxied: whether that is a proxy.
    """

    host: str
    dialled: str
    proxied: bool
    tls: bool

    def __str__(self) -> str:
        if self.proxied:
            return f"{self.host} by way of the proxy {self.dialled}"
        return self.dialled

    @property
    def server_name(self) -> str | None:
        """What goes into SNI; None: nothing."""
        return self.host if self.tls and sends_server_name(self.host) else None

    @property
    def dotless(self) -> bool:
        """Whether it is a name for which Java clients send no SNI."""
        return self.server_name is not None and "." not in self.host


def not_connected(error: BaseException, target: DialledTarget, seconds: float) -> TalkFailed:
    """Why there is no TCP connection, of what Twisted's endpoints raise. @param seconds: that were waited."""
    what = f"the proxy {target.dialled}" if target.proxied else target.dialled
    whose = "the proxy's URL" if target.proxied else "the service URL"
    # Brokers behind a proxy are mostly not there for who dials them.
    more = "" if target.proxied else "; for brokers behind an SNI proxy, give PIP-60's two settings too"
    if isinstance(error, net.DNSLookupError):
        return TalkFailed(
            FailureKind.NAME_NOT_RESOLVED,
            f"{what} cannot be dialled: its host has no address: {error.args[0] if error.args else 'unknown'}",
            f"check the host in {whose}, and this machine's DNS{more}",
        )
    cure = f"check {whose}, that something listens there, and firewalls in between{more}"
    if isinstance(error, net.TimeoutError | TookTooLong):
        return TalkFailed(FailureKind.UNREACHABLE, f"{what} has not taken the connection within {seconds:g} s", cure)
    said = bounded(str(error) or type(error).__name__).rstrip(".")
    return TalkFailed(FailureKind.UNREACHABLE, f"{what} does not take the connection: {said}", cure)


def ended(
    error: BaseException, target: DialledTarget, chain: Sequence[x509.Certificate], now: datetime, stage: Stage
) -> TalkFailed:
    """Why a connection has ended before it was asked to.

    @param chain: the certificates that the broker has shown, its own first. @param stage: how far it had come.
    """
    if isinstance(error, VerificationError):
        names = ", ".join(clientcontext.printable_names(chain[0])) if chain else ""
        return TalkFailed(
            FailureKind.CERTIFICATE_NAME,
            f"{target}: the certificate is not good for {target.host}, only for {names or 'no name at all'}",
            "a broker's certificate must have its own name and the service URL's as subject alternative names; "
            "else the proxy led to another broker",
        )
    if isinstance(error, SSL.Error):
        return _tls(_words(error), target, chain, now)
    # A FIN, or a reset: the same to a client, as both come without a word.
    how = "reset" if isinstance(error, net.ConnectionLost) and "reset" in str(error).lower() else "closed"
    return TalkFailed(FailureKind.CLOSED, f"{target}: {how} without a word {stage.value}", _closed(target, stage))


def _closed(target: DialledTarget, stage: Stage) -> str:
    if target.proxied and stage is Stage.HANDSHAKE:
        return (
            "the broker behind the proxy is down, or its port is a plaintext one: "
            "look into the proxy's access log, and lead the route to the broker's TLS port"
        )
    if stage is Stage.HANDSHAKE:
        return "the port may be a plaintext one: name the TLS port, or use pulsar://; or the broker is going down"
    if not target.tls:
        return "the port may be a TLS one: use pulsar+ssl://; or the broker has ended the connection"
    return "the broker has ended the connection; its log says why"


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


def _tls(words: str, target: DialledTarget, chain: Sequence[x509.Certificate], now: datetime) -> TalkFailed:
    if "certificate verify failed" in words:
        return _unverified(target, chain, now)
    # A hello without a server name may be refused by missing_extension (RFC 8446, section 6.2).
    nameless = target.server_name is None and "missing extension" in words
    if nameless or "unrecognized name" in words:
        alert = "missing_extension" if nameless else "unrecognized_name"
        return TalkFailed(FailureKind.NO_ROUTE, f"{target}: refused by the TLS alert {alert}", _no_route(target))
    if any(reason in words for reason in _NO_TLS):
        return TalkFailed(
            FailureKind.TLS_MISMATCH,
            f"{target}: the answer is not TLS ({words})",
            "the port is a plaintext one: name the TLS port"
            + (" in the proxy's URL, or in its route" if target.proxied else ", or use pulsar://"),
        )
    cure = ""
    if any(reason in words for reason in _WANTS_CERTIFICATE):
        cure = "the broker may want a client certificate that its authority vouches for"
    return TalkFailed(FailureKind.TLS_REFUSED, f"{target}: TLS failed: {words}", cure)


def _no_route(target: DialledTarget) -> str:
    if target.server_name is None:
        return (
            f"no server name was sent, because {target.host} is an IP address: use names in the service URL and in "
            "advertised listeners, or write a [no_server_name] table"
        )
    return f"add a route for {target.host} to the proxy" + (f"; {NO_DOT}" if target.dotless else "")


def _unverified(target: DialledTarget, chain: Sequence[x509.Certificate], now: datetime) -> TalkFailed:
    for certificate in chain:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not start <= now <= end:
            which = f"valid from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
            return TalkFailed(
                FailureKind.CERTIFICATE_EXPIRED,
                f"{target}: a certificate is {which}, and it is {now:%Y-%m-%d %H:%M}",
                "renew the broker's certificate, or set this machine's clock",
            )
    issuer = bounded(chain[0].issuer.rfc4514_string()) if chain else "not shown"
    return TalkFailed(
        FailureKind.CERTIFICATE_UNTRUSTED,
        f"{target}: the certificate is not trusted; its issuer: {issuer}",
        "trust the authority that issued it, by its certificate as a PEM file",
    )
