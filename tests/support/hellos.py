"""Builds ClientHellos by hand, so that tests can make any part wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

SERVER_NAME, SUPPORTED_GROUPS, SIGNATURE_ALGORITHMS, ALPN = 0, 10, 13, 16
PRE_SHARED_KEY, EARLY_DATA, SUPPORTED_VERSIONS, PSK_MODES, KEY_SHARE = 41, 42, 43, 45, 51
ENCRYPTED_CLIENT_HELLO = 0xFE0D
GREASE = 0x0A0A

HANDSHAKE, CHANGE_CIPHER_SPEC, ALERT, APPLICATION_DATA = 22, 20, 21, 23
MAX_IN_RECORD = 1 << 14

NAME = "broker-1.pulsar.test"


def vector(body: bytes, width: int) -> bytes:
    """The body, preceded by its length in C{width} bytes."""
    return len(body).to_bytes(width, "big") + body


def extension(kind: int, body: bytes = b"") -> bytes:
    """One extension."""
    return kind.to_bytes(2, "big") + vector(body, 2)


def names(*entries: tuple[int, bytes]) -> bytes:
    """A server_name extension. @param entries: pairs of a name type and a name."""
    return extension(SERVER_NAME, vector(b"".join(bytes((kind,)) + vector(name, 2) for kind, name in entries), 2))


def server_name(name: str | bytes) -> bytes:
    """A server_name extension with one host name. Text is encoded as Latin-1, so that it can have any byte."""
    return names((0, name.encode("latin-1") if isinstance(name, str) else name))


def alpn(*protocols: bytes) -> bytes:
    """An ALPN extension."""
    return extension(ALPN, vector(b"".join(vector(protocol, 1) for protocol in protocols), 2))


def supported_versions(*versions: int) -> bytes:
    """A supported_versions extension."""
    return extension(SUPPORTED_VERSIONS, vector(b"".join(version.to_bytes(2, "big") for version in versions), 1))


def padding(size: int) -> bytes:
    """A padding extension (RFC 7685). @param size: bytes of the whole extension, at least 4."""
    return extension(21, bytes(size - 4))


TLS13 = (
    supported_versions(0x0304, 0x0303),
    extension(SUPPORTED_GROUPS, vector(b"\x00\x1d", 2)),
    extension(SIGNATURE_ALGORITHMS, vector(b"\x04\x03\x08\x04", 2)),
    extension(KEY_SHARE, vector(b"\x00\x1d" + vector(bytes(range(1, 33)), 2), 2)),
)
"""The extensions of a client that offers TLS 1.3 with X25519."""


def message(
    name: str | bytes | None = NAME,
    *,
    extensions: Iterable[bytes] = TLS13,
    block: bytes | None = None,
    legacy_version: int = 0x0303,
    session_id: bytes = bytes(32),
    ciphers: bytes = b"\x13\x01\x13\x02\xc0\x2b\xc0\x2f\x00\xff",
    compressions: bytes = b"\x00",
) -> bytes:
    """A ClientHello message with its 4-byte header.

    @param name: of the server_name extension, which comes first. None: no such extension.
    @param extensions: the other extensions.
    @param block: replaces the list of extensions and its length. Empty: the message ends after the compressions.
    """
    if block is None:
        first = () if name is None else (server_name(name),)
        block = vector(b"".join((*first, *extensions)), 2)
    body = legacy_version.to_bytes(2, "big") + bytes(range(32))
    body += vector(session_id, 1) + vector(ciphers, 2) + vector(compressions, 1) + block
    return b"\x01" + vector(body, 3)


def record(fragment: bytes, *, kind: int = HANDSHAKE, version: int = 0x0301) -> bytes:
    """One TLS record of any size."""
    return bytes((kind,)) + version.to_bytes(2, "big") + vector(fragment, 2)


def records(handshake: bytes, sizes: Sequence[int] = (MAX_IN_RECORD,), *, version: int = 0x0301) -> bytes:
    """A message in records of these sizes. The last size repeats until the message ends."""
    out, at, number = [], 0, 0
    while at < len(handshake):
        size = sizes[min(number, len(sizes) - 1)]
        out.append(record(handshake[at : at + size], version=version))
        at += size
        number += 1
    return b"".join(out)


def hello(
    name: str | bytes | None = NAME,
    *,
    extensions: Iterable[bytes] = TLS13,
    block: bytes | None = None,
    legacy_version: int = 0x0303,
    session_id: bytes = bytes(32),
    record_size: int = MAX_IN_RECORD,
    record_version: int = 0x0301,
) -> bytes:
    """A ClientHello in TLS records. The parameters are those of L{message} and L{record}."""
    handshake = message(name, extensions=extensions, block=block, legacy_version=legacy_version, session_id=session_id)
    return records(handshake, (record_size,), version=record_version)


def hello_of_size(size: int, name: str = NAME) -> bytes:
    """A ClientHello message of C{size} bytes with its 4-byte header: at least 200, at most 131,400.

    The list of extensions has at most 65,535 bytes. A longer hello has more cipher suites and compression methods.
    """
    if size <= 65_600:
        return message(name, extensions=(*TLS13, padding(size - len(message(name)))))
    ciphers, compressions = b"\x13\x01" * min((size - 60_000) // 2, 32_767), bytes(255)
    short = len(message(name, ciphers=ciphers, compressions=compressions))
    return message(name, ciphers=ciphers, compressions=compressions, extensions=(*TLS13, padding(size - short)))


def recorded(client: str) -> bytes:
    """A real client's hello, from tests/data/hellos. @param client: a file name such as C{java-pulsar-vip}."""
    return bytes.fromhex((Path(__file__).parent.parent / "data" / "hellos" / f"{client}.hex").read_text())
