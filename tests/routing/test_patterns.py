"""Tests for sniproxy.routing.patterns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.routing.patterns import capture_count, captured, expression, matches, route_pattern
from sniproxy.util.names import BadName, pattern

BROKER = r"~broker-([0-9]+)\.(eu|us)?\.?example\.com"


class MatchesTests(SynchronousTestCase):
    """matches: a pattern and a name, as text."""

    def test_kinds(self) -> None:
        """A name matches itself, a wildcard the names below it, an expression the whole name."""
        for text, name, expected in (
            ("a.test", "a.test", True),
            ("a.test", "b.a.test", False),
            ("*.a.test", "c.b.a.test", True),
            ("*.a.test", "a.test", False),
            ("*.a.test", "ba.test", False),
            ("~a[0-9]", "a1", True),
            ("~a[0-9]", "a12", False),
        ):
            self.assertEqual(expected, matches(text, name), (text, name))


class RoutePatternTests(SynchronousTestCase):
    """route_pattern: valid values of server_name."""

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadName, route_pattern, text))

    def test_names(self) -> None:
        """Names and wildcards are normalised; an expression stays as written."""
        for text in ("A.Test.", "*.W.test", "[::1]"):
            self.assertEqual(pattern(text), route_pattern(text))
        self.assertEqual(BROKER, route_pattern(BROKER))
        self.assertRaises(BadName, route_pattern, "a b")

    def test_bad_expression(self) -> None:
        """An expression that Python cannot compile, or with too many groups, is refused."""
        for text in ("~(", "~[z-a]", "~a**", "~(?P<x", "~a{99999999999999999999}", r"~\1"):
            self.assertIn("invalid regular expression", self.refused(text))
        self.assertIn("10 groups; at most 9", self.refused("~" + "(a)" * 10))
        route_pattern("~" + "(a)" * 9 + "(?:b)")
        self.assertIn("backtrack without bound", self.refused("~(a+)+x"))

    @given(st.text(max_size=12))
    def test_nothing_else_is_raised(self, text: str) -> None:
        """Any text after the tilde is an expression or gives BadName."""
        try:
            route_pattern("~" + text)
        except BadName:
            return
        expression("~" + text)


class CapturedTests(SynchronousTestCase):
    """captured: the parts of a name that a pattern captures."""

    def test_star(self) -> None:
        """A star captures all labels that it matches, as one part."""
        self.assertEqual((1, ("a.b",)), (capture_count("*.w.test"), captured("*.w.test", "a.b.w.test")))

    def test_groups(self) -> None:
        """An expression captures its groups; an unmatched group is empty. Case is ignored."""
        self.assertEqual(2, capture_count(BROKER))
        self.assertEqual(("12", "eu"), captured(BROKER, "broker-12.eu.example.com"))
        self.assertEqual(("7", ""), captured(BROKER, "broker-7.example.com"))
        self.assertEqual(("a",), captured("~([A-Z]).TEST", "a.test"))

    def test_none(self) -> None:
        """A plain name, and a route without a name, capture nothing."""
        for exact, name in (("a.test", "a.test"), ("default", "x.test"), ("no_server_name", None), (BROKER, None)):
            self.assertEqual((), captured(exact, name))
        self.assertEqual(0, capture_count("a.test"))
