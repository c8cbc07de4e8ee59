"""The optional fields of a PROXY protocol header: type, length, value (section 2.2). Pure.

Names of fields, as the access log has them: ``alpn``, ``authority``, ``unique_id``, ``netns``, ``ssl_version``,
``ssl_cn``, ``ssl_cipher``, ``ssl_sig_alg``, ``ssl_key_alg``, ``ssl_group``, ``ssl_sig_scheme``, ``ssl_verified``, and
of cloud providers ``aws_vpce_id``, ``azure_link_id``, ``gcp_psc_id``. Other fields are named by their type, as
``0xe5``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sniproxy.proxyprotocol.header import HeaderError
from sniproxy.util.text import bounded

ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30
GCP, AWS, AZURE = 0xE0, 0xEA, 0xEE

MAX_UNIQUE_ID_BYTES = 128
"""Section 2.2.5."""

MAX_VALUE_CHARS = 255
"""Longest text of a field; the rest is left out."""

_TEXTS = {ALPN: "alpn", AUTHORITY: "authority", NETNS: "netns"}
_SSL_TEXTS = {
    0x21: "ssl_version",
    0x22: "ssl_cn",
    0x23: "ssl_cipher",
    0x24: "ssl_sig_alg",
    0x25: "ssl_key_alg",
    0x26: "ssl_group",
    0x27: "ssl_sig_scheme",
}
_ENDPOINTS = ("aws_vpce_id", "azure_link_id", "gcp_psc_id")

TLV_NAMES = frozenset({*_TEXTS.values(), *_SSL_TEXTS.values(), *_ENDPOINTS, "unique_id", "ssl_verified"})
"""Names of fields, without those that are named by their type."""

_SSL_ON, _SSL_CERT_CONN, _SSL_CERT_SESS = 1, 2, 4
_AWS_VPCE_ID, _AZURE_LINK_ID = 0x01, 0x01


def split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The fields of a block: type, offset of the value in the block, value. @raise HeaderError: it does not end with
    a field."""
    at = 0
    while at < len(data):
        if len(data) - at < 3:
            raise HeaderError(f"{len(data) - at} bytes follow the last field (TLV)")
        length = int.from_bytes(data[at + 1 : at + 3])
        value = data[at + 3 : at + 3 + length]
        if len(value) < length:
            raise HeaderError(f"the field (TLV) of type {data[at]:#04x} has {length} bytes, of which {len(value)} came")
        yield data[at], at + 3, value
        at += 3 + length


def named(fields: Iterator[tuple[int, int, bytes]]) -> Mapping[str, str]:
    """The fields by name; the last of two with one name. @raise HeaderError: a field is malformed."""
    found: dict[str, str] = {}
    for kind, _, value in fields:
        found.update(_named(kind, value))
    return found


def _named(kind: int, value: bytes) -> Mapping[str, str]:
    if kind in (CRC32C, NOOP):
        return {}
    if kind in _TEXTS:
        return {_TEXTS[kind]: _text(value)}
    if kind == SSL:
        return _ssl(value)
    if kind == UNIQUE_ID and len(value) > MAX_UNIQUE_ID_BYTES:
        raise HeaderError(f"the unique id has {len(value)} bytes; at most {MAX_UNIQUE_ID_BYTES} are allowed")
    if kind == UNIQUE_ID:
        return {"unique_id": _text(value)}
    if kind == AWS and value[:1] == bytes((_AWS_VPCE_ID,)):
        return {"aws_vpce_id": _text(value[1:])}
    if kind == AZURE and len(value) == 5 and value[0] == _AZURE_LINK_ID:
        return {"azure_link_id": str(int.from_bytes(value[1:], "little"))}
    if kind == GCP and len(value) == 8:
        return {"gcp_psc_id": str(int.from_bytes(value))}
    return {f"{kind:#04x}": bounded(value.hex(), MAX_VALUE_CHARS)}


def _ssl(value: bytes) -> Mapping[str, str]:
    """Section 2.2.6: what TLS the client spoke with the sender."""
    if len(value) < 5:
        raise HeaderError(f"the SSL field (TLV) has {len(value)} bytes; it begins with 5")
    if not value[0] & _SSL_ON:
        return {}
    found = {_SSL_TEXTS[kind]: _text(part) for kind, _, part in split(value[5:]) if kind in _SSL_TEXTS}
    if value[0] & (_SSL_CERT_CONN | _SSL_CERT_SESS):
        # A client certificate was presented; 0 means that the sender verified it.
        found["ssl_verified"] = "true" if not any(value[1:5]) else "false"
    return found


def _text(value: bytes) -> str:
    """Printable ASCII as it is, other bytes in hexadecimal."""
    text = value.decode("latin-1")
    return bounded(text if text.isascii() and text.isprintable() else value.hex(), MAX_VALUE_CHARS)


def crc32c(data: bytes) -> int:
    """CRC-32C of RFC 4960, appendix B."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _entry(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    return number


_TABLE = tuple(map(_entry, range(256)))
