"""What a TLS stack is made of: our side towards clients, and towards brokers, whose certificates are verified.

Contexts are pyOpenSSL's, and none changes after its first connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address

from sniproxy.tls.pem import BadPem, Certified, certificate_names
from sniproxy.util.names import ip_literal
from sniproxy.util.text import bounded

MAX_NAMES = 5
"""Names of a certificate that a message shows."""

# OpenSSL's x509_vfy.h; what operators meet. Others are shown by their number.
_FAULTS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed and not trusted; add it to the trust file if it is the right one",
    19: "its chain ends at an authority that is not in the trust file",
    20: "its issuer is not in the trust file",
    21: "its issuer is not in the trust file, and the peer sent no intermediate certificates",
    26: "it is not for TLS servers (its extended key usage says so)",
}


class BadCertificate(Exception):
    """The peer's certificate does not stand; the message says why."""


def check_usable(certificates: Iterable[Certified]) -> None:
    """@raise BadPem: OpenSSL does not take one of them: its key is too short for today's TLS, as a rule."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    for shown in certificates:
        _use(context, shown)


def server_context(shown: Certified) -> SSL.Context:
    """Our side towards clients, with one certificate: TLS 1.2 and 1.3, no renegotiation, no ALPN.

    @raise BadPem: see L{check_usable}.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    _harden(context)
    _show(context, shown)
    return context


class BrokerTLS:
    """Our side towards brokers: their certificates must be trusted, and be for the name that is asked for.

    @param trust: the certificates that are trusted: authorities, or brokers' own.
    @param shown: our own certificate, for brokers that want one. None: there is none.
    @raise BadPem: see L{check_usable}.
    """

    def __init__(self, trust: Sequence[x509.Certificate], shown: Certified | None = None) -> None:
        context = self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        _harden(context)
        store = context.get_cert_store()
        assert store is not None
        for certificate in trust:
            store.add_cert(crypto.X509.from_cryptography(certificate))
        # What the operator trusts ends a chain, whether or not it is a root.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        context.set_verify(SSL.VERIFY_PEER, _note_fault)
        if shown is not None:
            _show(context, shown)

    def connection(self, name: str) -> SSL.Connection:
        """A client's half of a TLS connection, without a socket, that asks for this server name.

        Once its handshake is done, L{verify_name} must be asked before anything is sent.
        """
        connection = _client_half(self._context, name)
        connection.set_app_data([])
        return connection


def unverified_connection(name: str | None) -> SSL.Connection:
    """A client's half that believes every certificate: for looking at a target, never for anything that is sent to it.

    @param name: the server name that it asks for. None: none.
    """
    return _client_half(SSL.Context(SSL.TLS_CLIENT_METHOD), name)


def verification_fault(connection: SSL.Connection) -> str | None:
    """Why the peer's certificate is not trusted, after a handshake that failed for it; None: that was not it."""
    found = connection.get_app_data()
    return found[0] if found else None


def verify_name(connection: SSL.Connection, name: str) -> None:
    """Hold the peer's certificate against the name that it must be for, by service-identity.

    @raise BadCertificate: it is for other names.
    """
    try:
        if ip_literal(name) is None:
            verify_hostname(connection, name)
        else:
            verify_ip_address(connection, name)
    except (VerificationError, CertificateError, x509.UnsupportedGeneralNameType, ValueError) as error:
        raise BadCertificate(f"its certificate is not for {name}; {certificate_names_text(connection)}") from error


def certificate_names_text(connection: SSL.Connection) -> str:
    """The names that the peer's certificate is for, in words."""
    certificate = connection.get_peer_certificate()
    found = () if certificate is None else certificate_names(certificate.to_cryptography())
    if not found:
        return "it names no host"
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    return bounded(f"it names {', '.join(found[:MAX_NAMES])}{more}")


def openssl_reasons(error: SSL.Error) -> str:
    """OpenSSL's reasons in one line: ``tlsv1 alert unknown ca``."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [entry[-1] for entry in queue if entry and entry[-1]]
    return ", ".join(dict.fromkeys(reasons)) or "the TLS connection failed"


def _client_half(context: SSL.Context, name: str | None) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    if name is not None and ip_literal(name) is None:  # RFC 6066, section 3: literals are not sent
        connection.set_tlsext_host_name(name.encode("ascii"))
    connection.set_connect_state()
    return connection


def _note_fault(connection: SSL.Connection, certificate: Any, number: int, depth: int, good: int) -> bool:
    if not good:
        fault = _FAULTS.get(number, f"OpenSSL's verification error {number}")
        whose = "" if depth == 0 else f" (of the certificate {depth} above it)"
        connection.get_app_data().append(f"its certificate is not trusted: {fault}{whose}")
    return bool(good)


def _harden(context: SSL.Context) -> None:
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)


def _show(context: SSL.Context, shown: Certified) -> None:
    _use(context, shown)
    for above in shown.chain[1:]:
        context.add_extra_chain_cert(above)


def _use(context: SSL.Context, shown: Certified) -> None:
    try:
        context.use_certificate(shown.chain[0])
        context.use_privatekey(shown.key)
    except SSL.Error as error:
        raise BadPem(
            f"{shown.place}: OpenSSL rejects its certificate: {openssl_reasons(error)}; issue a new one"
        ) from error
