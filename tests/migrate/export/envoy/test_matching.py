"""Tests for sniproxy.migrate.export.envoy.matching; tests/peers/test_import_envoy.py runs them on the real Envoy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import DefaultTable
from sniproxy.migrate.export.envoy.matching import REFUSED, matcher, needs_matcher, re2
from sniproxy.migrate.export.fronts import Leading
from sniproxy.migrate.model import ANY, NAMELESS, Place


class MatcherTests(SynchronousTestCase):
    """C{filter_chain_matcher}."""

    def test_need(self) -> None:
        """Expressions need it, and other names that are not treated as hellos without a name."""
        for patterns, same, expected in ((["a"], True, False), (["a"], False, True), (["a", "~b"], True, True)):
            leading = [Leading(pattern, Place(""), DefaultTable()) for pattern in patterns]
            self.assertEqual(expected, needs_matcher(leading, same))

    def test_expressions(self) -> None:
        """RE2 has what Python has, without lookaround, back references, atomic groups and possessive repeats."""
        self.assertEqual(r"(?i)broker-(\d+)\.test\z", re2(r"~broker-(\d+)\.test\Z"))
        self.assertEqual(r"(?i)(?:a|b)[+]+(?P<x>c)\\1", re2(r"~(?:a|b)[+]+(?P<x>c)\\1"))
        for pattern in (
            r"~(?=a)b", "~(?!a)b", "~(?<=a)b", "~(?<!a)b", r"~(a)\1", "~a++", "~a*+", "~(?>a)b", "~(?P<x>a)(?P=x)",
            "~(a)?(?(1)b|c)", "~a{2}+",
        ):  # fmt: skip
            self.assertIsNone(re2(pattern), pattern)

    def test_all_parts(self) -> None:
        """Exact names in a map, then a list in the order of precedence, then hellos without a name."""
        chains = [("a.test", "1"), ("*.w.test", "2"), ("~b.*", "3"), (ANY, "4"), (NAMELESS, "5")]
        found = matcher(chains)
        self.assertEqual(["a.test"], list(found["matcher_tree"]["exact_match_map"]["map"]))
        inner = found["on_no_match"]["matcher"]
        values = [one["predicate"]["single_predicate"]["value_match"] for one in inner["matcher_list"]["matchers"]]
        self.assertEqual([{"suffix": ".w.test"}, regex("(?i)b.*"), regex(".+")], values)
        self.assertEqual("5", inner["on_no_match"]["action"]["name"])

    def test_some_parts(self) -> None:
        """Parts that would be empty are left out."""
        self.assertEqual({}, matcher([]))
        self.assertNotIn("on_no_match", matcher([("a.test", "1")]))
        self.assertEqual(["matcher_list"], list(matcher([(ANY, "1")])))
        found = matcher([("*.test", "1"), (ANY, "2"), (NAMELESS, "3")])
        self.assertEqual(["matcher_list", "on_no_match"], list(found))

    def test_only_hellos_without_a_name(self) -> None:
        """Other names get the chain that refuses."""
        found = matcher([("a.test", "1"), (NAMELESS, "2")])
        inner = found["on_no_match"]["matcher"]
        self.assertEqual(REFUSED, inner["matcher_list"]["matchers"][0]["on_match"]["action"]["name"])


def regex(expression: str) -> dict[str, object]:
    """A match by an expression."""
    return {"safe_regex": {"google_re2": {}, "regex": expression}}
