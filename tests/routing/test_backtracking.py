"""Tests for sniproxy.routing.backtracking."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.routing.backtracking import why_unbounded


class WhyUnboundedTests(SynchronousTestCase):
    """why_unbounded: expressions with unbounded backtracking."""

    def test_in_a_repeat(self) -> None:
        """Alternatives, options and repeats inside a repeat that match the same characters."""
        for text in (
            "(a+)+",
            "(?:a*)*b",
            "([a-z0-9]+-?)*",
            "([a-z]+-?)+x",
            "(a+?)+?",
            r"(?:[a-z0-9]|[a-z0-9]-)+[0-9]\.pulsar\.test",
            r"(?:[a-z0-9]|[a-z0-9][a-z0-9-])+\.pulsar\.test",
            "(?:a|ba?)+c",
            "(a?){40}a{40}",
            r"(?:(?:eu|e)-?)+x",
            "(?>(?:a|a)+c)",
            "(?=(a+)+b)a",
        ):
            self.assertIn("a repeat holds", why_unbounded(text) or "", text)

    def test_several(self) -> None:
        """Three and more repeats, or many choices, that match the same characters."""
        for text in (
            r".*-.*-.*\.pulsar\.test",
            r"(.*)-(.*)-(.*)\.(.*)\.pulsar\.test",
            r".*-broker-.*\.eu\..*\.test",
            r"([a-z0-9-]+)-([a-z0-9-]+)-([a-z0-9-]+)-([0-9]+)\.(.+)\.test",
            "a*a*a*a*b",
            "a?" * 30 + "a" * 30,
            "(?:a|a)" * 30 + "b",
            "(?:a|a)" * 17 + "b",
            "(?:a|a).*.*b",
            ".*[a-z0-9-]*[a-z]+",
            r"\w*[a-z0-9-]*(?:\d)*",
            ".+.*(?=[a-z]+)a",
            "(?:x|.*.*[a-z]+)",
            ".*.*[a-z]++",
            "(?:ab|ac)" * 2 + "(.+)x.{1,200}y.{1,200}z",
        ):
            self.assertIn("several repeats", why_unbounded(text) or "", text)

    def test_good(self) -> None:
        """Expressions that the next character decides, or with few repeats, are accepted."""
        for text in (
            r"broker-([0-9]+)\.eu\.pulsar\.test",
            r"broker-([0-9]+)\.(eu|us)?\.?example\.com",
            r"(.+)-(.+)\.pulsar\.test",
            r"([a-z0-9]+)-([a-z0-9]+)-([0-9]+)\.([^.]+)\.(.+)\.test",
            r"(?:[a-z]+\.)+test",
            r"(?:(?:eu|us)\.)*test",
            r"[^-]+-[^-]+-[^.]+\.test",
            "(?:[a-z]+-?)++",
            "[a-z-]+",
            ".*",
            "[a-z]{1,63}",
            "(a++b)+",
            "(?>a+)+",
            "(a|b)+",
            r"[^.]*\.[^.]*\.[^.]*\.[^.]*",
            r"(?!x)(\d+)\.(\D+)",
            r"(?!.*--)(.+)-(.+)\.test",
            r".*-[a-z]+",
            "",
        ):
            self.assertIsNone(why_unbounded(text), text)
