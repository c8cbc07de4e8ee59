"""Tests for sniproxy.tls.alerts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.alerts import Alert, alert_name, fatal_alert


class AlertTests(SynchronousTestCase):
    """The alert descriptions and their record."""

    def test_name(self) -> None:
        """Every description has its name: those that the proxy sends, others, and unknown ones their number."""
        for number, name in (
            (112, "unrecognized_name"),
            (0, "close_notify"),
            (116, "certificate_required"),
            (200, "200"),
        ):
            self.assertEqual(name, alert_name(number))

    def test_numbers_and_names(self) -> None:
        """Each alert has its number and name from RFC 8446, section 6 (and RFC 5246)."""
        self.assertEqual(
            {alert.title: int(alert) for alert in Alert},
            {
                "unexpected_message": 10,
                "record_overflow": 22,
                "handshake_failure": 40,
                "illegal_parameter": 47,
                "access_denied": 49,
                "decode_error": 50,
                "internal_error": 80,
                "missing_extension": 109,
                "unrecognized_name": 112,
            },
        )

    def test_record(self) -> None:
        """The alert is one record of version 3.3 with level fatal."""
        for alert in Alert:
            self.assertEqual(fatal_alert(alert), bytes((21, 3, 3, 0, 2, 2, alert)))

    def test_version(self) -> None:
        """The record has the hello's version when that is lower than 3.3, and is 3.0 at least."""
        for said, version in (
            (0x0300, 0x0300),
            (0x0301, 0x0301),
            (0x0302, 0x0302),
            (0x0303, 0x0303),
            (0x0304, 0x0303),
            (0xFFFF, 0x0303),
            (0x0002, 0x0300),
            (0x0000, 0x0300),
        ):
            self.assertEqual(fatal_alert(Alert.DECODE_ERROR, said)[1:3], version.to_bytes(2, "big"))
