"""Why a talk with a cluster could not go on: a closed set of kinds, and the one exception of this room. Pure."""

from __future__ import annotations

import enum


class FailureKind(enum.IntEnum):
    """What went wrong; the number is the exit status of ``sniproxyctl lookup``, the name in lower case its JSON."""

    NAME_NOT_RESOLVED = 10
    """The host that is to be dialled has no address: the proxy's, or without a proxy the broker's."""
    UNREACHABLE = 11
    """Nobody takes the TCP connection."""
    NO_ROUTE = 12
    """The TLS alert unrecognized_name: the proxy has no route for the server name, or for a hello without one."""
    TLS_REFUSED = 13
    """Another TLS alert."""
    CLOSED = 14
    """Closed without an alert, in the handshake or later: a broker that is down, or its plaintext port."""
    TLS_MISMATCH = 15
    """One side speaks TLS, the other one does not."""
    CERTIFICATE_NAME = 16
    """The certificate is not good for the name that was asked for."""
    CERTIFICATE_UNTRUSTED = 17
    """Nobody trusted vouches for the certificate."""
    CERTIFICATE_EXPIRED = 18
    """The certificate, or one of its chain, is not valid today."""
    AUTHENTICATION = 19
    """The broker does not accept who the client says it is."""
    AUTHORIZATION = 20
    """The broker knows the client, and forbids it."""
    NOT_FOUND = 21
    """There is no such topic, namespace or tenant."""
    NOT_READY = 22
    """The broker cannot answer now."""
    NO_TLS_URL = 23
    """A lookup's answer has no URL that can be used."""
    REDIRECTS = 24
    """Redirects in a circle, or too many."""
    REFUSED = 25
    """Any other error of the broker's."""
    TIMEOUT = 26
    """Connected, and then no answer in time."""
    NOT_PULSAR = 27
    """The peer says what Pulsar does not."""


class Stage(enum.Enum):
    """How far a connection had come; the value is for people."""

    HANDSHAKE = "in the TLS handshake"
    LOGIN = "before CONNECTED"
    TALK = "after CONNECTED"


class ClientError(Exception):
    """The talk cannot go on.

    @ivar kind: what it is. @ivar reason: where and why. @ivar cure: what to do; empty: nothing is known.
    """

    def __init__(self, kind: FailureKind, reason: str, cure: str = "") -> None:
        super().__init__(f"{reason}; {cure}" if cure else reason)
        self.kind = kind
        self.reason = reason
        self.cure = cure


TalkFailed = ClientError
"""Deprecated: the old name of L{ClientError}."""
