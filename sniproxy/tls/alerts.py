"""TLS alerts: how a refusal is told to a TLS client (RFC 8446, section 6). Pure."""

from __future__ import annotations

from enum import IntEnum


class Alert(IntEnum):
    """The alert descriptions that this proxy sends. `title` is the RFC's spelling."""

    UNEXPECTED_MESSAGE = 10
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    ILLEGAL_PARAMETER = 47
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    INTERNAL_ERROR = 80
    MISSING_EXTENSION = 109
    UNRECOGNIZED_NAME = 112

    @property
    def title(self) -> str:
        """The RFC's name, as in the access log: ``unrecognized_name``."""
        return self.name.lower()


def fatal_alert(alert: Alert, legacy_version: int = 0x0303) -> bytes:
    """One TLS record with one fatal alert.

    Always fatal: Java's stack ends the connection on a warning ``unrecognized_name`` too, others ignore it.

    @param legacy_version: what the hello said; the record has this version, at most 3.3 and at least 3.0.
    """
    version = max(0x0300, min(0x0303, legacy_version))
    return bytes((21, version >> 8, version & 0xFF, 0, 2, 2, alert))
