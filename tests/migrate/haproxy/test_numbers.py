"""Tests for L{sniproxy.migrate.haproxy.numbers}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.numbers import matches_number, seconds


class NumberTests(SynchronousTestCase):
    """Numbers and times."""

    def test_matches(self) -> None:
        """Numbers match themselves, ranges and comparisons."""
        for patterns, text, expected in (
            (["1"], "1", True),
            (["2", "1"], "1", True),
            (["1:3"], "3", True),
            (["4:"], "3", False),
            ([":4"], "3", True),
            (["gt", "0"], "1", True),
            (["ge", "2"], "1", False),
            (["lt", "2"], "1", True),
            (["le", "0"], "1", False),
            (["eq", "1"], "1", True),
            (["3.10"], "3.9", False),
            (["gt", "3.1"], "3.3", True),
            (["x"], "1", None),
            (["1:x"], "1", None),
            ([], "1", False),
        ):
            self.assertIs(matches_number(patterns, text), expected, (patterns, text))

    def test_seconds(self) -> None:
        """A time without a unit is in milliseconds."""
        for text, expected in (
            ("5s", 5.0),
            ("1500", 1.5),
            ("2m", 120.0),
            ("1h", 3600.0),
            ("1d", 86400.0),
            ("1us", 1e-6),
        ):
            self.assertAlmostEqual(seconds(text) or -1.0, expected)
        self.assertIsNone(seconds("soon"))
        self.assertEqual(seconds("5", "s"), 5.0)
