"""Tests for sniproxy.migrate.export.precedence."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.export.precedence import EXACT, chosen, rank
from sniproxy.migrate.model import ANY, NAMELESS


class PrecedenceTests(SynchronousTestCase):
    """The routes of a listener, and their order."""

    def test_chosen(self) -> None:
        """A listener's own route replaces the one for all, before or after it, at the place of the pattern's first."""
        routes = [("~b", "one"), ("a", None), ("c", "two"), ("~b", None), ("a", "two"), (NAMELESS, "two")]
        self.assertEqual([0, 1], chosen(routes, "one"))
        self.assertEqual([3, 4, 2, 5], chosen(routes, "two"))
        self.assertEqual([3, 1], chosen(routes, "three"))

    def test_rank(self) -> None:
        """Exact names, longer wildcards, shorter ones, expressions, all names, no name."""
        patterns = [NAMELESS, ANY, "~x", "*.test", "*.b.test", "a.test"]
        self.assertEqual(patterns[::-1], sorted(patterns, key=rank))
        self.assertEqual(EXACT, rank("a.test"))
