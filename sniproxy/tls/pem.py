"""PEM text in, certificates and keys out (RFC 7468). Pure. Files are read elsewhere."""

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

# What cryptography says of an extension that is not there, or is not as it should be.
_UNREADABLE = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError)

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
"""The kinds of keys that TLS certificates have today."""


class BadPem(ValueError):
    """A PEM file cannot be read or used; the message names the file, the fault and the cure, never what is in it."""


@attrs.frozen
class Certified:
    """A certificate with its key.

    @ivar chain: its own certificate first, then those above it, as they stand in its file.
    @ivar place: the file that it stands in, for messages.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = attrs.field(repr=False)
    place: str


def certificates(place: str, text: bytes) -> list[x509.Certificate]:
    """All certificates in a file's text, in their order; other blocks are passed over.

    @raise BadPem: one cannot be read.
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
    """All private keys in a file's text. @raise BadPem: one cannot be read, or is encrypted."""
    found = []
    for match in _blocks(place, text):
        if not match[1].endswith(b"PRIVATE KEY"):
            continue
        try:
            # Of an RSA key the validation takes 50 ms, in which a proxy that reads a folder again does nothing else.
            # It guards against keys of others; these are the operator's.
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
    """The certificates whose keys are there, too, whatever file either is in.

    In each file the first certificate is somebody's own, and those behind it are the ones above it.

    @param files: pairs of a place and a text.
    @raise BadPem: something cannot be read; or a server's or client's certificate comes without its key, which would
        be seen only when it is asked for. (An authority's, or a self-signed one, may stand there without.)
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
    """The host names and IP addresses that a certificate is for, in lower case; wildcards as ``*.example.com``.

    Only the subject's alternative names count (RFC 9525, section 6.3), never its common name.
    """
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNREADABLE:
        return ()
    hosts = [name.lower().removesuffix(".") for name in alternatives.get_values_for_type(x509.DNSName)]
    return (*hosts, *map(str, alternatives.get_values_for_type(x509.IPAddress)))


def _blocks(place: str, text: bytes) -> list[re.Match[bytes]]:
    """@raise BadPem: there is no text, it is no PEM, or a block has no end: the file is still being written."""
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
