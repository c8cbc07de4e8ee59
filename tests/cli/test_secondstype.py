"""Tests for sniproxy.cli.secondstype."""

from __future__ import annotations

import argparse
import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.secondstype import seconds_type


class SecondsTests(SynchronousTestCase):
    """seconds_type."""

    def test_bounds(self) -> None:
        """Both bounds are valid, with or without a fraction."""
        for minimum, maximum, texts in ((0.1, 3600, ("0.1", "2", "3600", " 7e1 ")), (90, 86_400, ("90", "86400.0"))):
            for text in texts:
                self.assertEqual(float(text), seconds_type("interval", minimum, maximum)(text))

    def test_wrong(self) -> None:
        """All else is an error that names the value and the bounds, in full."""
        for wrong in ("0", "-1", "86401", "nan", "inf", "-inf", "x", "", "1_", "0x5"):
            with self.assertRaises(argparse.ArgumentTypeError) as caught:
                seconds_type("timeout", 0.1, 86_400)(wrong)
            self.assertEqual(
                f"invalid timeout {wrong!r}; write a number of seconds from 0.1 to 86400", str(caught.exception)
            )

    @given(st.text())
    def test_any(self, text: str) -> None:
        """Any text is a finite number within the bounds, or the one error."""
        try:
            value = seconds_type("timeout", 1, 10)(text)
        except argparse.ArgumentTypeError:
            return
        self.assertTrue(math.isfinite(value) and 1 <= value <= 10)
