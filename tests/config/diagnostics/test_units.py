"""Tests for sniproxy.config.diagnostics.units."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.units import flag, number


class UnitsTests(SynchronousTestCase):
    """Numbers and flags in the notation of other programs."""

    def test_number(self) -> None:
        """Times become seconds, sizes become bytes; a plain number stays; other texts give None."""
        for text, key, expected in (
            ("5m", "idle", "300"), ("10s", "connect", "10"), ("1h", "idle", "3600"), ("500ms", "hello", "0.5"),
            ("64MiB", "max_buffered", "67108864"), ("1 GB", "max_buffered", "1000000000"), ("10k", "rise", "10000"),
            ("10/s", "rate_per_client", "10"), ("7", "idle", "7"), ("x", "idle", None), ("5 apples", "idle", None),
            ("", "idle", None),
        ):  # fmt: skip
            self.assertEqual(expected, number(text, key), text)

    def test_flag(self) -> None:
        """Words for true and false are recognised."""
        self.assertEqual(["true", "false", None], [flag("Yes"), flag("off"), flag("2")])
