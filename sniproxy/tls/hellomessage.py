"""Parses the ClientHello message: finds the server name that a TLS client requests. Pure.

Sources: RFC 8446 (TLS 1.3; sections 4.1.2 and 4.2), RFC 5246 (TLS 1.2; 7.4.1.2), RFC 6066 (server_name; section 3),
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
from sniproxy.tls.hellolayout import ALPN, SERVER_NAME, SUPPORTED_VERSIONS, LayoutCache
from sniproxy.util.names import BadName, sent_name, server_name
from sniproxy.util.text import quoted

MAX_CACHED_BYTES = 300
"""Extensions up to this length are cached: clients repeat names, protocols and version lists."""

_READ = frozenset((SERVER_NAME, ALPN, SUPPORTED_VERSIONS))
_TLS13 = 0x0304
_two_numbers = struct.Struct(">HH").unpack_from


@attrs.define
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


def parse_hello(message: bytes, layouts: LayoutCache | None = None) -> ClientHello:
    """Parse a complete ClientHello message, including its 4-byte header.

    Of a message with a known layout only the bodies of the three extensions are parsed. On an error in one, it is
    parsed in full, so the result is always that of L{parse_in_full}.

    @param layouts: the known layouts. None: those of this process.
    @raise HelloError: it is malformed.
    """
    known = _layouts if layouts is None else layouts
    layout = known.find(message)
    if layout is None:
        hello = parse_in_full(message)
        known.learn(message)
        return hello
    name, alpn, versions = layout
    try:
        return ClientHello(
            None if name is None else _known_name(message[name]),
            () if alpn is None else _known_alpn(message[alpn]),
            message[4] << 8 | message[5],
            versions is not None and _known_versions(message[versions]),
            message[6:38],
        )
    except HelloError:
        return parse_in_full(message)


_layouts = LayoutCache(MAX_CACHED_BYTES)


def parse_in_full(message: bytes) -> ClientHello:
    """As L{parse_hello}, without the known layouts."""
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
            if kind == SERVER_NAME:
                name = (_known_name if length <= MAX_CACHED_BYTES else _server_name)(body)
            elif kind == ALPN:
                alpn = (_known_alpn if length <= MAX_CACHED_BYTES else _alpn)(body)
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


_known_name = lru_cache(maxsize=1024)(_server_name)
_known_alpn = lru_cache(maxsize=64)(_alpn)
_known_versions = lru_cache(maxsize=64)(_supported_versions)


def _lie(what: str) -> HelloError:
    return HelloError(f"the {what} does not fit its length", Alert.DECODE_ERROR)
