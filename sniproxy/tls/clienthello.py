"""ClientHello parser: finds the server name that a TLS client requests. Pure.

Sources: RFC 8446 (TLS 1.3; sections 4.1.2, 4.2, 5.1), RFC 5246 (TLS 1.2; 7.4.1.2), RFC 6066 (server_name; section 3),
RFC 7301 (ALPN), RFC 8701 (GREASE: unknown values pass), RFC 9849 (ECH: only the outer name is read).

The parser is strict: it reads the same name as the TLS stack behind the proxy, or fails. A malformed hello is an error
and never looks like a hello without a name. The parser checks structure only and accepts any version, cipher suite or
extension.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import attrs

from sniproxy.tls.alerts import Alert
from sniproxy.tls.nottls import MAX_PREFIX_BYTES, diagnose
from sniproxy.util.names import BadName, sent_name, server_name
from sniproxy.util.text import quoted

MAX_HANDSHAKE_BYTES = 131_400
"""Maximum size of a handshake message, including its 4-byte header.

A ClientHello with all fields at their maximum length (RFC 8446, section 4.1.2) has this size. OpenSSL has the same
limit. Post-quantum hellos have 1.5 to 8 kB.
"""

MAX_RECORDS = 16_384
"""Maximum records in one hello: 16 KiB in 1-byte records, 131,400 bytes in 9-byte records.

Clients send one or a few. A record costs about 0.5 us of CPU time, so a hello costs at most about 10 ms.
"""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_TYPES = {20: "change_cipher_spec", 21: "alert", 22: "handshake", 23: "application_data", 24: "heartbeat"}
_MAX_FRAGMENT_BYTES = 1 << 14
_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43
_READ = frozenset((_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS))
_TLS13 = 0x0304
_two_numbers = struct.Struct(">HH").unpack_from
_record_header = struct.Struct(">BBBH").unpack_from


@attrs.frozen
class ClientHello:
    """The fields of a ClientHello that the proxy uses.

    @ivar server_name: normalised (L{sniproxy.util.names}). None: no ``server_name`` extension, or no host name in it.
    @ivar alpn: the offered protocols, in order; bytes outside ASCII as backslash escapes.
    @ivar legacy_version: 0x0303 for TLS 1.2 and 1.3.
    @ivar offers_tls13: whether ``supported_versions`` lists TLS 1.3.
    @ivar random: 32 bytes, unique to each hello (RFC 8446, section 4.1.2). Not compared.
    """

    server_name: str | None
    alpn: tuple[str, ...]
    legacy_version: int
    offers_tls13: bool
    random: bytes = attrs.field(default=b"", eq=False, repr=False)


class HelloError(Exception):
    """The bytes are not a valid ClientHello. The message gives the reason.

    @ivar alert: the alert for the client. None: close without an alert.
    @ivar legacy_version: the hello's version, if it was read.
    """

    def __init__(self, reason: str, alert: Alert | None = None, legacy_version: int = 0x0303) -> None:
        super().__init__(reason)
        self.alert = alert
        self.legacy_version = legacy_version


class NotTLS(HelloError):
    """The client speaks another protocol and would not understand an alert."""


class HelloTooLong(HelloError):
    """The hello is longer than the parser's limit or has too many records.

    The alert is ``illegal_parameter``, as OpenSSL and BoringSSL send for an oversized handshake message. RFC 8446 has
    no alert for this case: ``record_overflow`` is for the length of one record.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason, Alert.ILLEGAL_PARAMETER)


class ClientHelloReader:
    """Reads one ClientHello from a stream, however TCP and the TLS records split it.

    Work is linear in the number of bytes for any split. The reader keeps only the handshake; the caller keeps the bytes
    as received.

    @param limit: maximum bytes of the handshake message, including its header.
    """

    __slots__ = ("_handshake", "_head", "_header", "_left", "_limit", "_records", "_whole")

    def __init__(self, limit: int = MAX_HANDSHAKE_BYTES) -> None:
        self._limit = limit
        self._head = bytearray()  # the first bytes, until they are known to be TLS
        self._header = bytearray()  # of the record that begins
        self._handshake = bytearray()
        self._left = 0  # bytes of the current record that have not arrived
        self._records = 0
        self._whole = 0  # length of the handshake message; 0: unknown

    @property
    def kept(self) -> int:
        """Bytes of the handshake held in memory."""
        return len(self._handshake)

    def feed(self, data: bytes) -> ClientHello | None:
        """Parse the next bytes of the stream. Bytes behind the hello's last record, such as early data, are ignored.

        @return: the complete hello. None: more bytes are needed.
        @raise HelloError: the bytes are not a valid ClientHello; do not feed the reader again.
        """
        if not self._records:
            if not self._head:
                whole = _in_one_record(data, self._limit)
                if whole is not None:
                    return _parse(whole)
            self._head += data[: MAX_PREFIX_BYTES - len(self._head)]
            if self._head and self._head[0] not in _RECORD_TYPES:
                what = diagnose(bytes(self._head))
                if what is None:
                    return None
                raise NotTLS(what)
        at, end = 0, len(data)
        while at < end:
            if not self._left and not self._header and end - at > 5 and self._records:
                # Fast path for a complete header behind another record, for hellos of thousands of small records.
                kind, major, _, length = _record_header(data, at)
                fits = 0 < length <= _MAX_FRAGMENT_BYTES
                if kind == _HANDSHAKE and major == 3 and fits and self._records < MAX_RECORDS:
                    self._records += 1
                    self._left = length
                    at += 5
            if not self._left:
                taken = min(5 - len(self._header), end - at)
                self._header += data[at : at + taken]
                at += taken
                try:
                    if not self._begin_record():
                        return None
                except HelloError as error:
                    if len(self._handshake) >= 6:  # its version has arrived
                        error.legacy_version = self._handshake[4] << 8 | self._handshake[5]
                    raise
            taken = min(self._left, end - at)
            if taken:
                self._handshake += data[at : at + taken]
                at += taken
                self._left -= taken
                if (not self._whole or len(self._handshake) + self._left >= self._whole) and self._complete():
                    return _parse(bytes(self._handshake))
        return None

    def _begin_record(self) -> bool:
        """Check the part of the record header that has arrived. @return: it is whole, and its length is in C{_left}."""
        header = self._header
        kind = header[0]
        if len(header) > 1 and header[1] != 3:
            if not self._records:
                raise NotTLS(f"the first bytes look like a TLS record of version {header[1]}.x; only 3.x exists")
            raise HelloError(f"received a TLS record of version {header[1]}.x; only 3.x exists", Alert.DECODE_ERROR)
        if kind != _HANDSHAKE and len(header) > 1:
            where = "between fragments of the hello" if self._records else "before the hello"
            name = _RECORD_TYPES.get(kind, "unknown")
            raise HelloError(f"received a TLS record of type {name} ({kind}) {where}", Alert.UNEXPECTED_MESSAGE)
        if len(header) < 5:
            return False
        length = header[3] << 8 | header[4]
        if not length:
            raise HelloError("empty handshake record", Alert.UNEXPECTED_MESSAGE)
        if length > _MAX_FRAGMENT_BYTES:
            raise HelloError(
                f"a TLS record has {length} bytes; at most {_MAX_FRAGMENT_BYTES} are allowed", Alert.RECORD_OVERFLOW
            )
        if self._records == MAX_RECORDS:
            raise HelloTooLong(f"the hello has more than {MAX_RECORDS} records")
        self._left = length
        self._records += 1
        header.clear()
        return True

    def _complete(self) -> bool:
        handshake = self._handshake
        if handshake[0] != _CLIENT_HELLO:
            raise HelloError(
                f"a handshake message of type {handshake[0]} where a ClientHello was expected", Alert.UNEXPECTED_MESSAGE
            )
        if not self._whole:
            if len(handshake) < 4:
                return False
            self._whole = 4 + int.from_bytes(handshake[1:4], "big")
            if self._whole > self._limit:
                raise HelloTooLong(f"the hello announces {self._whole} bytes; the limit is {self._limit}")
        if len(handshake) + self._left > self._whole:
            raise HelloError("extra bytes follow the hello in its record", Alert.DECODE_ERROR)
        return len(handshake) == self._whole


def _in_one_record(data: bytes, limit: int) -> bytes | None:
    """The hello if it is complete in the first record, as nearly all are.

    @return: None: it is not, or it is malformed; the reader finds out which.
    """
    if len(data) < 9 or data[0] != _HANDSHAKE or data[1] != 3 or data[5] != _CLIENT_HELLO:
        return None
    length = data[3] << 8 | data[4]
    whole = 4 + int.from_bytes(data[6:9], "big")
    if length != whole or length > _MAX_FRAGMENT_BYTES or length > limit or len(data) < 5 + length:
        return None
    return data[5 : 5 + length]


def _parse(message: bytes) -> ClientHello:
    """Parse a complete ClientHello message, including its 4-byte header."""
    legacy_version = 0x0303
    try:
        if len(message) < 4 + 2 + 32 + 1:
            raise HelloError("the hello is too short for its fixed fields", Alert.DECODE_ERROR)
        legacy_version = message[4] << 8 | message[5]
        end = len(message)
        at = 4 + 2 + 32
        session_id = message[at]
        at += 1 + session_id
        if session_id > 32:
            raise HelloError(f"the session id has {session_id} bytes; at most 32 are allowed", Alert.DECODE_ERROR)
        if at + 2 > end:
            raise _lie("session id")
        ciphers = message[at] << 8 | message[at + 1]
        at += 2 + ciphers
        if not ciphers or ciphers & 1:
            raise HelloError(f"the list of cipher suites has {ciphers} bytes", Alert.DECODE_ERROR)
        if at + 1 > end:
            raise _lie("list of cipher suites")
        compressions = message[at]
        at += 1 + compressions
        if not compressions:
            raise HelloError("the list of compression methods is empty", Alert.DECODE_ERROR)
        if at > end:
            raise _lie("list of compression methods")
        if at == end:  # TLS 1.2 and older: no extensions at all
            return ClientHello(None, (), legacy_version, False, message[6:38])
        if at + 2 > end or at + 2 + (message[at] << 8 | message[at + 1]) != end:
            raise _lie("list of extensions")
        return _extensions(message, at + 2, end, legacy_version)
    except HelloError as error:
        error.legacy_version = legacy_version
        raise


def _extensions(message: bytes, at: int, end: int, legacy_version: int) -> ClientHello:
    name: str | None = None
    alpn: tuple[str, ...] = ()
    offers_tls13 = False
    seen: set[int] = set()
    while at < end:
        if at + 4 > end:
            raise _lie("list of extensions")
        kind, length = _two_numbers(message, at)
        at += 4 + length
        if at > end:
            raise _lie(f"extension {kind}")
        if kind in seen:
            raise HelloError(f"duplicate extension {kind}", Alert.ILLEGAL_PARAMETER)
        seen.add(kind)
        if kind in _READ:
            body = message[at - length : at]
            if kind == _SERVER_NAME:
                name = (_known_name if length <= _REMEMBERED else _server_name)(body)
            elif kind == _ALPN:
                alpn = _alpn(body)
            else:
                offers_tls13 = _known_versions(body)
    return ClientHello(name, alpn, legacy_version, offers_tls13, message[6:38])


def _server_name(body: bytes) -> str | None:
    """RFC 6066, section 3. Entries with a name type other than host_name are skipped by their 16-bit length."""
    end = len(body)
    if end < 2 or 2 + (body[0] << 8 | body[1]) != end:
        raise _lie("server_name extension")
    if end == 2:
        raise HelloError("the server_name extension has an empty list", Alert.DECODE_ERROR)
    name: str | None = None
    at = 2
    while at < end:
        if at + 3 > end:
            raise _lie("server_name list")
        kind, start = body[at], at + 3
        at = start + (body[at + 1] << 8 | body[at + 2])
        if at > end:
            raise _lie("server name")
        if kind != 0:
            continue
        # latin-1 maps each byte to one character, so the error can show it.
        written = body[start:at].decode("latin-1")
        if name is not None:
            raise HelloError(f"the hello has two host names: {name} and {quoted(written)}", Alert.ILLEGAL_PARAMETER)
        if at == start:
            raise HelloError("the server name is empty", Alert.DECODE_ERROR)
        try:
            name = server_name(written if written.isascii() else sent_name(body[start:at]))
        except BadName as error:
            raise HelloError(f"bad server name {quoted(written)}: {error}", Alert.ILLEGAL_PARAMETER) from error
    return name


def _alpn(body: bytes) -> tuple[str, ...]:
    """RFC 7301, section 3.1."""
    end = len(body)
    if end < 4 or 2 + (body[0] << 8 | body[1]) != end:
        raise _lie("ALPN extension")
    protocols = []
    at = 2
    while at < end:
        start = at + 1
        at = start + body[at]
        if at == start or at > end:
            raise _lie("ALPN list")
        protocols.append(body[start:at].decode("ascii", "backslashreplace"))
    return tuple(protocols)


def _supported_versions(body: bytes) -> bool:
    """RFC 8446, section 4.2.1. Draft versions and GREASE values do not count as TLS 1.3."""
    if len(body) < 3 or 1 + body[0] != len(body) or body[0] & 1:
        raise _lie("supported_versions extension")
    return any(body[at] << 8 | body[at + 1] == _TLS13 for at in range(1, len(body), 2))


# Clients repeat names and version lists, so short ones are cached.
_REMEMBERED = 300
_known_name = lru_cache(maxsize=1024)(_server_name)
_known_versions = lru_cache(maxsize=64)(_supported_versions)


def _lie(what: str) -> HelloError:
    return HelloError(f"the {what} does not fit its length", Alert.DECODE_ERROR)
