"""Protocols that are not TLS, told from their first bytes, so that a refusal can name what came instead. Pure."""

from __future__ import annotations

_HTTP = "received plaintext HTTP; this port expects TLS"
_PROXY = "received a PROXY protocol header (v{}), which is not supported: turn off send-proxy in the load balancer"
_HTTP_METHODS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT ")
_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"PROXY ", _PROXY.format(1)),
    (b"\r\n\r\n\x00\r\nQUIT\n", _PROXY.format(2)),
    *((method, _HTTP) for method in _HTTP_METHODS),
    (b"PRI * HTTP/2", _HTTP),
    (b"SSH-", "received SSH"),
    (b"\x05", "received SOCKS 5"),
)
PLAINTEXT_PULSAR = "received plaintext Pulsar; this port expects TLS: use a pulsar+ssl:// service URL"
"""What L{diagnose} says of a client that forgot TLS."""

_SSLV2 = "received an SSLv2 hello, which has no server name: the client must send a TLS hello with one"
_UNKNOWN = "the first bytes are not TLS"
MAX_PREFIX_BYTES = 12
"""So many first bytes settle what a stream is."""


def diagnose(head: bytes) -> str | None:
    """What the first bytes of a stream that is not TLS are, in words for the log.

    @param head: the first 1 to L{MAX_PREFIX_BYTES} bytes.
    @return: None while more bytes could still tell; the answer is the same however the bytes are cut.
    """
    undecided = False
    for prefix, what in _PREFIXES:
        if head.startswith(prefix):
            return what
        undecided = undecided or prefix.startswith(head)
    for told in (_pulsar(head), _sslv2(head)):
        if told:
            return told
        undecided = undecided or told is None
    return None if undecided and len(head) < MAX_PREFIX_BYTES else _UNKNOWN


def _pulsar(head: bytes) -> str | None:
    """A plaintext Pulsar CONNECT: two sizes under 64 KiB, then the command's type (field 1) 2. None: not yet known."""
    want = {0: 0, 1: 0, 4: 0, 5: 0, 8: 0x08, 9: 0x02}
    if any(head[at] != byte for at, byte in want.items() if at < len(head)):
        return ""
    if len(head) < 10:
        return None
    return PLAINTEXT_PULSAR


def _sslv2(head: bytes) -> str | None:
    """An SSLv2 ClientHello: a two-byte length with its high bit set, then message type 1 (RFC 6101, appendix E)."""
    if not head[0] & 0x80:
        return ""
    if len(head) < 3:
        return None
    return _SSLV2 if head[2] == 1 else ""
