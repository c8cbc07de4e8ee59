"""OpenSSL contexts: the proxy's server side towards clients, and its verifying client side towards brokers.

Contexts are pyOpenSSL's. None changes after its first connection.
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
"""Maximum names of a certificate in a message."""

# The common ones of OpenSSL's x509_vfy.h. Others are shown by number.
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
    """The peer's certificate is not valid for the expected name. The message gives the reason."""


def check_usable(certificates: Iterable[Certified]) -> None:
    """Check that OpenSSL accepts the certificates. @raise BadPem: it rejects one, usually for a short key."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    for shown in certificates:
        _use(context, shown)


def server_context(shown: Certified) -> SSL.Context:
    """The server side for one certificate: TLS 1.2 and 1.3, without renegotiation and ALPN.

    @raise BadPem: see L{check_usable}.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    _harden(context)
    _show(context, shown)
    return context


class BrokerTLS:
    """The client side towards brokers. Certificates must be trusted and valid for the requested name.

    @param trust: the trusted certificates, of authorities or of brokers.
    @param shown: the proxy's client certificate. None: none is sent.
    @raise BadPem: see L{check_usable}.
    """

    def __init__(self, trust: Sequence[x509.Certificate], shown: Certified | None = None) -> None:
        context = self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        _harden(context)
        store = context.get_cert_store()
        assert store is not None
        for certificate in trust:
            store.add_cert(crypto.X509.from_cryptography(certificate))
        # A trusted certificate ends a chain even if it is not a root.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        context.set_verify(SSL.VERIFY_PEER, _note_fault)
        if shown is not None:
            _show(context, shown)

    def connection(self, name: str) -> SSL.Connection:
        """A TLS client connection without a socket that sends this server name.

        After the handshake, call L{verify_name} before sending data.
        """
        connection = _client_half(self._context, name)
        connection.set_app_data([])
        return connection


def unverified_connection(name: str | None) -> SSL.Connection:
    """A TLS client connection that accepts any certificate. Use it only to inspect a target; never send data on it.

    @param name: the server name to send. None: none is sent.
    """
    return _client_half(SSL.Context(SSL.TLS_CLIENT_METHOD), name)


def verification_fault(connection: SSL.Connection) -> str | None:
    """The reason why the peer's certificate is not trusted, after a failed handshake. None: the handshake failed
    otherwise."""
    found = connection.get_app_data()
    return found[0] if found else None


def verify_name(connection: SSL.Connection, name: str) -> None:
    """Check with service-identity that the peer's certificate is valid for a name.

    @raise BadCertificate: it is valid only for other names.
    """
    try:
        if ip_literal(name) is None:
            verify_hostname(connection, name)
        else:
            verify_ip_address(connection, name)
    except (VerificationError, CertificateError, x509.UnsupportedGeneralNameType, ValueError) as error:
        raise BadCertificate(f"its certificate does not cover {name}; {certificate_names_text(connection)}") from error


def certificate_names_text(connection: SSL.Connection) -> str:
    """The names in the peer's certificate, for a message."""
    certificate = connection.get_peer_certificate()
    found = () if certificate is None else certificate_names(certificate.to_cryptography())
    if not found:
        return "it names no host"
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    return bounded(f"it names {', '.join(found[:MAX_NAMES])}{more}")


def openssl_reasons(error: SSL.Error) -> str:
    """OpenSSL's reasons on one line: ``tlsv1 alert unknown ca``."""
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
