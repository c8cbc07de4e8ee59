"""Recognises protocols by the first bytes of a stream, so that a refusal can name what was received. Pure."""

from __future__ import annotations

from enum import Enum, auto


class Protocol(Enum):
    """What a stream's first bytes identify."""

    TLS = auto()
    TLS_ALERT = auto()
    SSLV2 = auto()
    HTTP = auto()
    HTTP_RESPONSE = auto()
    PROXY_V1 = auto()
    PROXY_V2 = auto()
    SSH = auto()
    SOCKS5 = auto()
    PULSAR = auto()


_HTTP_METHODS = (b"GET ", b"PUT ", b"HEAD", b"POST ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PRI * HTTP/2")
_SIGNATURES: tuple[tuple[bytes, Protocol], ...] = (
    (b"\x16\x03", Protocol.TLS),
    (b"\x15\x03", Protocol.TLS_ALERT),
    (b"PROXY ", Protocol.PROXY_V1),
    (b"\r\n\r\n\x00\r\nQUI", Protocol.PROXY_V2),
    *((method, Protocol.HTTP) for method in _HTTP_METHODS),
    (b"HTTP/", Protocol.HTTP_RESPONSE),
    (b"SSH-", Protocol.SSH),
    (b"\x05", Protocol.SOCKS5),
)
_PULSAR_CONNECT = {0: 0, 1: 0, 4: 0, 5: 0, 8: 0x08, 9: 0x02}
"""Bytes of a plaintext CONNECT by offset: two sizes under 64 KiB, then the command's type (field 1) 2."""

SECOND_HEADER = (
    "received a second PROXY protocol header behind the first: the sender passes on the one that it got; let it read "
    "that one (accept-proxy), or turn off its own send-proxy"
)
"""The reason if the text of L{diagnose} is one of L{HEADER_FAULTS}, and a header was read before."""

PLAINTEXT_PULSAR = "received plaintext Pulsar; this port expects TLS: use a pulsar+ssl:// service URL"
"""The text of L{diagnose} for a Pulsar client without TLS."""

_PROXY = (
    "received a PROXY protocol header (v{}), and this listener reads none: turn off send-proxy in the load balancer, "
    'or write proxy_protocol = "required"'
)
HEADER_FAULTS = frozenset({_PROXY.format(1), _PROXY.format(2)})
"""The texts of L{diagnose} for a PROXY protocol header."""

_FAULTS = {
    Protocol.PROXY_V1: _PROXY.format(1),
    Protocol.PROXY_V2: _PROXY.format(2),
    Protocol.HTTP: "received plaintext HTTP; this port expects TLS",
    Protocol.SSH: "received SSH",
    Protocol.SOCKS5: "received SOCKS 5",
    Protocol.PULSAR: PLAINTEXT_PULSAR,
    Protocol.SSLV2: "received an SSLv2 hello, which has no server name: the client must send a TLS hello with one",
}
_UNKNOWN = "the first bytes are not TLS"

MAX_PREFIX_BYTES = 12
"""Bytes that are enough to identify each protocol."""


def protocol_of(head: bytes) -> Protocol | None:
    """The protocol that a stream's first bytes identify. None: unknown, or too few bytes."""
    for signature, protocol in _SIGNATURES:
        if head.startswith(signature):
            return protocol
    if len(head) >= 10 and _may_be_pulsar(head):
        return Protocol.PULSAR
    # A two-byte length with its high bit set, then message type 1 (RFC 6101, appendix E).
    return Protocol.SSLV2 if len(head) >= 3 and head[0] & 0x80 and head[2] == 1 else None


def diagnose(head: bytes) -> str | None:
    """Describe for the log what a client sent instead of TLS.

    @param head: the first 1 to L{MAX_PREFIX_BYTES} bytes of a stream that is not TLS.
    @return: None while more bytes could change the answer. How the bytes are split does not matter.
    """
    protocol = protocol_of(head)
    if protocol in _FAULTS:
        return _FAULTS[protocol]
    return None if len(head) < MAX_PREFIX_BYTES and _may_become_known(head) else _UNKNOWN


def _may_become_known(head: bytes) -> bool:
    if any(signature.startswith(head) for signature, protocol in _SIGNATURES if protocol in _FAULTS):
        return True
    return (len(head) < 10 and _may_be_pulsar(head)) or (len(head) < 3 and bool(head[0] & 0x80))


def _may_be_pulsar(head: bytes) -> bool:
    return all(head[at] == byte for at, byte in _PULSAR_CONNECT.items() if at < len(head))
