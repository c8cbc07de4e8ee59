"""TLS alerts (RFC 8446, section 6): those sent to refused clients, and the names of all. Pure."""

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


_OTHERS = {
    0: "close_notify", 20: "bad_record_mac", 42: "bad_certificate", 43: "unsupported_certificate",
    44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown", 48: "unknown_ca",
    51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 86: "inappropriate_fallback",
    90: "user_canceled", 110: "unsupported_extension", 113: "bad_certificate_status_response",
    115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol",
}  # fmt: skip
"""Descriptions that only others send."""


_SENT = frozenset(Alert)


def alert_name(description: int) -> str:
    """The RFC's name of an alert description; the number if it is unknown."""
    return Alert(description).title if description in _SENT else _OTHERS.get(description, str(description))


def fatal_alert(alert: Alert, legacy_version: int = 0x0303) -> bytes:
    """A TLS record with one fatal alert.

    The level is always fatal: Java closes the connection on a warning ``unrecognized_name``, and other clients ignore
    it.

    @param legacy_version: the hello's version. The record gets the same version, limited to 3.0 to 3.3.
    """
    version = max(0x0300, min(0x0303, legacy_version))
    return bytes((21, version >> 8, version & 0xFF, 0, 2, 2, alert))
