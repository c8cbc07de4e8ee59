"""Certificates of PEM files, for TLS clients: whom to trust, and who one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto
from twisted.internet import ssl

from sniproxy.text import bounded

TrustRoot = Any
"""What ``twisted.internet.ssl.trustRootFromCertificates`` makes; Twisted's own name for it is private."""

_BEGIN = b"-----BEGIN CERTIFICATE-----"


class BadPem(ValueError):
    """A file or folder without the certificates that it should have; the message names it and the cure."""


@attrs.frozen
class ClientCertificate:
    """What a client shows in TLS: its certificate and key, and the certificates of those who vouch for it.

    The key does not show when this is printed.
    """

    own: ssl.PrivateCertificate = attrs.field(repr=False)
    chain: tuple[crypto.X509, ...] = ()


def trust_root(path: str | Path, what: str = "trust") -> TrustRoot:
    """Trust those authorities, and no others, whose certificates are in a PEM file, or in the ``*.pem`` of a folder.

    @param what: what a message calls the path.
    @raise BadPem: there is none.
    """
    path = Path(path)
    files = sorted(path.glob("*.pem")) if path.is_dir() else [path]
    found = [certificate for file in files for certificate in _certificates(file, what)]
    if not found:
        kind = "no *.pem file with a certificate" if path.is_dir() else "no PEM certificate"
        raise BadPem(f"{_shown(what, path)}: {kind} in it; name the authority's certificate, as in ca.pem")
    return ssl.trustRootFromCertificates([ssl.Certificate(certificate) for certificate in found])


def client_certificate(
    path: str | Path, key: str | Path | None = None, what: str = "certificate", key_what: str = "key"
) -> ClientCertificate:
    """Read a certificate, those of its chain behind it, and its key without a password.

    @param key: the key's file. None: it is in the same one.
    @raise BadPem: one of them is missing, or they do not belong together.
    """
    path = Path(path)
    certificates = _certificates(path, what)
    if not certificates:
        raise BadPem(f"{_shown(what, path)}: no PEM certificate in it; name the client's certificate")
    first, *chain = certificates
    place, file = (what, path) if key is None else (key_what, Path(key))
    try:
        pair = ssl.KeyPair.load(_read(file, place), crypto.FILETYPE_PEM)
        own = ssl.PrivateCertificate.fromCertificateAndKeyPair(ssl.Certificate(first), pair)
    except BadPem:
        raise
    except Exception as error:
        # pyOpenSSL, cryptography and Twisted each have errors of their own for what is no key, and for another's key.
        raise BadPem(
            f"{_shown(place, file)}: no key in it that fits the certificate; "
            "name a PEM file with the certificate's private key, without a password"
        ) from error
    return ClientCertificate(own, tuple(chain))


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names and IP addresses that a certificate is good for (RFC 6125; the common name does not count)."""
    try:
        extension: Any = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    hosts = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return tuple(bounded(str(name)) for name in (*hosts, *addresses))


def _certificates(file: Path, what: str) -> list[crypto.X509]:
    text = _read(file, what)
    if _BEGIN not in text:
        return []
    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise BadPem(f"{_shown(what, file)}: a PEM certificate in it cannot be read; copy the file anew") from error
    return [crypto.load_certificate(crypto.FILETYPE_PEM, one.public_bytes(Encoding.PEM)) for one in found]


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadPem(
            f"{_shown(what, file)}: cannot be read: {error.strerror}; name a PEM file that you may read"
        ) from error


def _shown(what: str, path: Path) -> str:
    return f"{what} {bounded(str(path))!r}"
