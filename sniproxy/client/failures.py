"""The exception of the client, and the closed set of its kinds. Pure."""

from __future__ import annotations

import enum


class FailureKind(enum.IntEnum):
    """The kind of a failure: the exit status of ``sniproxyctl lookup``; its JSON has the name in lower case."""

    NAME_NOT_RESOLVED = 10
    """The host to dial, of the proxy or of the broker, has no address."""
    UNREACHABLE = 11
    """The TCP connection failed."""
    NO_ROUTE = 12
    """TLS alert unrecognized_name: the proxy has no route for the server name, or for a ClientHello without one."""
    TLS_REFUSED = 13
    """Another TLS alert."""
    CLOSED = 14
    """The connection was closed without an alert: the broker is down, or the port is plaintext."""
    TLS_MISMATCH = 15
    """One side uses TLS, the other does not."""
    CERTIFICATE_NAME = 16
    """The certificate does not cover the requested name."""
    CERTIFICATE_UNTRUSTED = 17
    """No trusted CA has issued the certificate."""
    CERTIFICATE_EXPIRED = 18
    """The certificate, or one in its chain, has expired or is not valid yet."""
    AUTHENTICATION = 19
    """The broker does not accept the credentials."""
    AUTHORIZATION = 20
    """The client lacks the permission."""
    NOT_FOUND = 21
    """The topic, namespace or tenant does not exist."""
    NOT_READY = 22
    """The broker cannot answer now."""
    NO_TLS_URL = 23
    """The answer to a lookup has no usable URL."""
    REDIRECTS = 24
    """A redirect loop, or too many redirects."""
    REFUSED = 25
    """Any other error of the broker."""
    TIMEOUT = 26
    """The broker did not answer in time."""
    NOT_PULSAR = 27
    """The peer does not speak the Pulsar protocol."""
    UNSUPPORTED = 28
    """The broker does not support what the topic needs: scalable topics came with Pulsar 5."""


class Stage(enum.Enum):
    """The stage that a connection reached; the value is its text in messages."""

    HANDSHAKE = "in the TLS handshake"
    LOGIN = "before CONNECTED"
    TALK = "after CONNECTED"


class ClientError(Exception):
    """A connection, login, lookup or request failed.

    @ivar kind: the kind. @ivar reason: the peer and the reason. @ivar cure: the cure; empty if unknown.
    """

    def __init__(self, kind: FailureKind, reason: str, cure: str = "") -> None:
        super().__init__(f"{reason}; {cure}" if cure else reason)
        self.kind = kind
        self.reason = reason
        self.cure = cure


TalkFailed = ClientError
"""Deprecated: the old name of L{ClientError}."""
