"""TLS alerts, sent to refused clients (RFC 8446, section 6). Pure."""

from __future__ import annotations

from enum import IntEnum


class Alert(IntEnum):
    """Alert descriptions that the proxy sends. `title` is the RFC's spelling."""

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
    """A TLS record with one fatal alert.

    The level is always fatal: Java closes the connection on a warning ``unrecognized_name``, and other clients ignore
    it.

    @param legacy_version: the hello's version. The record gets the same version, limited to 3.0 to 3.3.
    """
    version = max(0x0300, min(0x0303, legacy_version))
    return bytes((21, version >> 8, version & 0xFF, 0, 2, 2, alert))
