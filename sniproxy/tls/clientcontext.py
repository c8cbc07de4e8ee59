"""TLS settings for Twisted's clients: trust and client certificates from PEM files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from sniproxy.tls import pem
from sniproxy.tls.contexts import openssl_reasons
from sniproxy.tls.pem import BadPem as BadPem
from sniproxy.tls.pem import Certified, PrivateKey, keys
from sniproxy.tls.pemfiles import place_of, read_file, trusted
from sniproxy.util.text import bounded

TrustRoot = Any
"""The result of ``twisted.internet.ssl.trustRootFromCertificates``. Twisted's own name for the type is private."""


@attrs.frozen
class ClientCertificate:
    """A client's certificate, its key and its intermediate certificates. The key is left out of the repr."""

    own: ssl.PrivateCertificate = attrs.field(repr=False)
    chain: tuple[crypto.X509, ...] = ()


def trust_root(path: str | Path, what: str = "trust") -> TrustRoot:
    """Trust only the certificates in a PEM file or folder.

    @param what: the option that names the path, for messages.
    @raise BadPem: see L{sniproxy.tls.pemfiles.trusted}.
    """
    return twisted_trust_root(trusted(path, what))


def trust_text(path: str | Path, what: str = "trust") -> str:
    """The certificates of L{trust_root} as PEM, for Python's C{ssl} module. @raise BadPem: see there."""
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in trusted(path, what))


def client_certificate(
    path: str | Path, key: str | Path | None = None, what: str = "certificate", key_what: str = "key"
) -> ClientCertificate:
    """Read a client certificate, its intermediate certificates and its unencrypted key.

    @param key: the key's file. None: the key is in the certificate's file.
    @param what: the option that names the path, for messages. @param key_what: the same for the key.
    @raise BadPem: the certificate or the key is missing, or they do not match.
    """
    path = Path(path)
    chain = pem.certificates(place_of(what, path), read_file(path, what))
    if not chain:
        raise BadPem(f"{place_of(what, path)}: no PEM certificate found; name the client's certificate")
    place, file = (what, path) if key is None else (key_what, Path(key))
    text = read_file(file, place)
    found: list[PrivateKey] = []
    with suppress(BadPem):
        found = keys(place, text)
    for one in found:
        if one.public_key() == chain[0].public_key():
            return twisted_certificate(Certified(tuple(chain), one, str(path)))
    raise BadPem(
        f"{place_of(place, file)}: no key found that matches the certificate; "
        "name a PEM file with the certificate's private key, without a password"
    )


def twisted_trust_root(certificates: Iterable[x509.Certificate]) -> TrustRoot:
    """Twisted's form of a set of trusted certificates. No other certificate is trusted."""
    return ssl.trustRootFromCertificates([ssl.Certificate(_old(one)) for one in certificates])


def twisted_certificate(own: Certified) -> ClientCertificate:
    """Twisted's form of a certificate with its key."""
    first, *above = map(_old, own.chain)
    pair = ssl.KeyPair(crypto.PKey.from_cryptography_key(own.key))
    return ClientCertificate(
        ssl.PrivateCertificate.fromCertificateAndKeyPair(ssl.Certificate(first), pair), tuple(above)
    )


def client_tls(host: str, trust: TrustRoot | None, certificate: ClientCertificate | None) -> Any:
    """Settings for one TLS client connection: TLS 1.2 or newer, with the peer's certificate verified for the host.

    @param trust: the trusted certificates, roots or not. None: the platform's authorities.
    @param certificate: the client certificate. None: none is sent.
    @return: an C{IOpenSSLClientConnectionCreator}.
    @raise UnicodeError: the host is not valid in a certificate.
    """
    more: dict[str, Any] = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_2}
    if certificate is not None:
        more["extraCertChain"] = list(certificate.chain)
    own = None if certificate is None else certificate.own
    creator = ssl.optionsForClientTLS(host, trust, own, extraCertificateOptions=more)
    return creator if trust is None else _Trusting(creator)


@implementer(IOpenSSLClientConnectionCreator)
class _Trusting:
    """Accepts a trusted certificate that is not a root as the end of a chain, which Twisted's trust roots cannot
    express."""

    def __init__(self, creator: IOpenSSLClientConnectionCreator) -> None:
        self._creator = creator

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        store = connection.get_context().get_cert_store()
        assert store is not None
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        return connection


def tls_fault(error: SSL.Error) -> str:
    """Say why TLS failed, with the cure if the peer's certificate is not trusted."""
    reasons = bounded(openssl_reasons(error), 120)
    if "certificate verify failed" not in reasons:
        return f"TLS failed: {reasons}"
    return f"its certificate is not trusted ({reasons}); add its authority to trust, or renew the certificate"


def printable_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names and IP addresses in a certificate, each bounded and printable."""
    return tuple(map(bounded, pem.certificate_names(certificate)))


def _old(certificate: x509.Certificate) -> crypto.X509:
    """pyOpenSSL's form of a certificate, which Twisted uses."""
    return crypto.X509.from_cryptography(certificate)
