"""Reads a ClientHello from the TLS records of a stream (RFC 8446, section 5.1). Pure.

L{sniproxy.tls.hellomessage} parses the message in the records.
"""

from __future__ import annotations

import struct

from sniproxy.tls.alerts import Alert
from sniproxy.tls.hellomessage import ClientHello, HelloError, parse_hello
from sniproxy.tls.nottls import MAX_PREFIX_BYTES, diagnose

__all__ = (
    "MAX_HANDSHAKE_BYTES", "MAX_RECORDS", "ClientHello", "ClientHelloReader", "HelloError", "HelloTooLong", "NotTLS",
    "read_whole_hello",
)  # fmt: skip

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
_record_header = struct.Struct(">BBBH").unpack_from


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
                found = read_whole_hello(data, self._limit)
                if found is not None:
                    return found
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
                    return parse_hello(bytes(self._handshake))
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


def read_whole_hello(data: bytes, limit: int = MAX_HANDSHAKE_BYTES) -> ClientHello | None:
    """The hello if it is complete in the first record, as nearly all are. This takes no L{ClientHelloReader}.

    @param limit: as for the reader. @return: None: it is not, or its record is malformed; the reader finds out which.
    @raise HelloError: the hello is malformed.
    """
    if len(data) < 9 or data[0] != _HANDSHAKE or data[1] != 3 or data[5] != _CLIENT_HELLO:
        return None
    length = data[3] << 8 | data[4]
    whole = 4 + int.from_bytes(data[6:9], "big")
    if length != whole or length > _MAX_FRAGMENT_BYTES or length > limit or len(data) < 5 + length:
        return None
    return parse_hello(data[5 : 5 + length])
