"""Tests for sniproxy.cli.forms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.forms import age, compact, count, elapsed

numbers = st.floats(min_value=0, max_value=9e16)


class FormTests(SynchronousTestCase):
    """Numbers in short."""

    def test_compact(self) -> None:
        """A number has at most three or four digits and a unit."""
        for value, expected in (
            (None, "-"), (0, "0"), (0.04, "0.0"), (3, "3"), (3.14, "3.1"), (12.3, "12"), (9999, "9999"),
            (10_000, "10.0k"), (123_456, "123k"), (999_499, "999k"), (999_600, "1.0M"), (33_000_000, "33.0M"),
            (5e12, "5.0T"), (1e15, "1.0P"), (1e20, "huge"),
        ):  # fmt: skip
            self.assertEqual(expected, compact(value), value)

    def test_count(self) -> None:
        """A whole number has commas."""
        self.assertEqual(("-", "0", "4,812"), (count(None), count(0), count(4812)))

    def test_elapsed(self) -> None:
        """A time of work is in milliseconds or seconds."""
        for value, expected in (
            (None, "-"), (0.0004, "0.4ms"), (0.012, "12ms"), (0.9994, "999ms"), (1.24, "1.2s"), (30, "30s"),
        ):  # fmt: skip
            self.assertEqual(expected, elapsed(value), value)

    def test_age(self) -> None:
        """An age is in the largest unit of which there are two."""
        for value, expected in (
            (None, "-"), (-3, "0s"), (119, "119s"), (120, "2m"), (7199, "120m"), (7200, "2h"), (200_000, "2d"),
        ):  # fmt: skip
            self.assertEqual(expected, age(value), value)

    @given(numbers)
    def test_width(self, value: float) -> None:
        """No form is wider than its column."""
        self.assertLessEqual(len(compact(value)), 5)
        self.assertLessEqual(len(elapsed(min(value, 9999))), 6)
        self.assertLessEqual(len(age(min(value, 8e8))), 5)
