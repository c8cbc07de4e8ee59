"""Parses PEM text into certificates and keys (RFC 7468). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)

_DER = re.compile(rb"\x30[\x80-\x84]")
_KEY_STORE = bytes.fromhex("feedfeed")

# Raised by cryptography for missing and malformed extensions.
_UNREADABLE = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError)

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
"""The key types that TLS certificates use."""


class BadPem(ValueError):
    """A PEM file cannot be read or used. The message has the file, the fault and the cure, never the content."""


@attrs.frozen
class Certified:
    """A certificate with its key.

    @ivar chain: the certificate, followed by its intermediate certificates in the file's order.
    @ivar place: the certificate's file, for messages.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = attrs.field(repr=False)
    place: str


def certificates(place: str, text: bytes) -> list[x509.Certificate]:
    """All certificates in a text, in order. Other blocks are skipped.

    @raise BadPem: a certificate is malformed.
    """
    found = []
    for match in _blocks(place, text):
        if match[1] in (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"):
            try:
                found.append(x509.load_pem_x509_certificate(match[0]))
            except ValueError as error:
                raise BadPem(f"{place}: unreadable certificate; export it as PEM again") from error
    return found


def keys(place: str, text: bytes) -> list[PrivateKey]:
    """All private keys in a text. @raise BadPem: a key is malformed or encrypted."""
    found = []
    for match in _blocks(place, text):
        if not match[1].endswith(b"PRIVATE KEY"):
            continue
        try:
            # Validation takes 50 ms for an RSA key and protects against foreign keys. These are the operator's.
            key = load_pem_private_key(match[0], None, unsafe_skip_rsa_key_validation=True)
        except TypeError as error:
            cure = "the proxy cannot ask for a passphrase: decrypt it, for example with: openssl pkey -in FILE"
            raise BadPem(f"{place}: encrypted private key; {cure}") from error
        except Exception as error:  # UnsupportedAlgorithm is no ValueError
            raise BadPem(f"{place}: unreadable private key; export it as PEM (PKCS#8) again") from error
        if not isinstance(key, PrivateKey):
            raise BadPem(f"{place}: unsupported key type for TLS; use RSA or ECDSA")
        found.append(key)
    return found


def certified(files: Iterable[tuple[str, bytes]]) -> list[Certified]:
    """The certificates that have a key in any of the files.

    The first certificate in a file is the end entity's; the others are its intermediate certificates.

    @param files: pairs of a place and a text.
    @raise BadPem: a block is malformed, or the certificate of a server or client has no key, which would otherwise be
        noticed only when a client requests it. Authorities' and self-signed certificates may be without keys.
    """
    texts = list(files)
    by_public = {_public(key.public_key()): key for place, text in texts for key in keys(place, text)}
    found = []
    for place, text in texts:
        chain = certificates(place, text)
        if not chain:
            continue
        key = by_public.get(_public(chain[0].public_key()))
        if key is not None:
            found.append(Certified(tuple(chain), key, place))
        elif not _is_authority(chain[0]) and chain[0].issuer != chain[0].subject:
            raise BadPem(f"{place}: no private key for its certificate; add the key to this file or folder")
    return found


def certificate_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names and IP addresses that a certificate is valid for, in lower case; wildcards as ``*.example.com``.

    Only subject alternative names count (RFC 9525, section 6.3), not the common name.
    """
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNREADABLE:
        return ()
    hosts = [name.lower().removesuffix(".") for name in alternatives.get_values_for_type(x509.DNSName)]
    return (*hosts, *map(str, alternatives.get_values_for_type(x509.IPAddress)))


def _blocks(place: str, text: bytes) -> list[re.Match[bytes]]:
    """Split a text into PEM blocks.

    @raise BadPem: the text is empty, not PEM, or has a block without an end, as a file does while it is being written.
    """
    if not text.strip():
        raise BadPem(f"{place}: empty file; write to a temporary file and rename it")
    if text.startswith(_KEY_STORE):
        cure = "export its certificates as PEM, for example with: keytool -exportcert -rfc"
        raise BadPem(f"{place}: Java key store, not PEM; {cure}")
    if _DER.match(text):
        cure = "convert it, for example with: openssl x509 -inform DER -in FILE, or openssl pkcs12 -in FILE"
        raise BadPem(f"{place}: binary file (DER or PKCS #12), not PEM; {cure}")
    found = list(_BLOCK.finditer(text))
    if len(found) != text.count(b"-----BEGIN "):
        raise BadPem(f"{place}: a PEM block has no end line; write to a temporary file and rename it")
    return found


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except _UNREADABLE:
        return False
