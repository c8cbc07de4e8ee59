"""Tests for sniproxy.migrate.envoy.matchers; tests/peers/test_import_envoy.py compares them with the real Envoy."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.envoy.matchers import Unreadable, matches_of
from sniproxy.migrate.model import ANY, NAMELESS, SourceFile
from sniproxy.migrate.yamlnodes import documents
from tests.support.envoyconfig import as_json

NAME = {"typed_config": {"@type": "type.googleapis.com/x.network.v3.ServerNameInput"}}
PORT = {"typed_config": {"@type": "type.googleapis.com/x.network.v3.DestinationPortInput"}}


def to(name: str) -> dict[str, Any]:
    """What leads to a chain."""
    return {"action": {"name": "x", "typed_config": {"value": name}}}


def when(name: str, **value: Any) -> dict[str, Any]:
    """A matcher of a text."""
    return {"predicate": {"single_predicate": {"input": NAME, "value_match": value}}, "on_match": to(name)}


def read(matcher: dict[str, Any], port: int = 443) -> list[tuple[str, str]]:
    """The patterns and chains of a matcher."""
    (node,) = documents(SourceFile("envoy.yaml", as_json(matcher)))
    return [(one.pattern, one.chain) for one in matches_of(node, port)]


class MatcherTests(SynchronousTestCase):
    """What Envoy can do with server names."""

    def test_list(self) -> None:
        """Each form of a text, in order."""
        for value, expected in (
            ({"exact": "a.test"}, "a.test"), ({"suffix": ".w.test"}, "*.w.test"), ({"suffix": "w.test"}, r"~.*w\.test"),
            ({"prefix": "b-"}, r"~b\-.*"), ({"contains": "x"}, "~.*x.*"),
            ({"safe_regex": {"regex": r"(?i)b-[0-9]+\z"}}, r"~b-[0-9]+\Z"), ({"safe_regex": {"regex": ".+"}}, ANY),
        ):  # fmt: skip
            self.assertEqual([(expected, "one")], read({"matcher_list": {"matchers": [when("one", **value)]}}))
        matchers = [when("one", suffix=".test"), when("two", exact="a.test")]
        self.assertEqual([("*.test", "one"), ("a.test", "two")], read({"matcher_list": {"matchers": matchers}}))

    def test_or(self) -> None:
        """Any of several predicates."""
        either = {"or_matcher": {"predicate": [when("", exact=name)["predicate"] for name in ("a", "b")]}}
        found = read({"matcher_list": {"matchers": [{"predicate": either, "on_match": to("one")}]}})
        self.assertEqual([("a", "one"), ("b", "one")], found)

    def test_trees(self) -> None:
        """Exact names, the longest prefix, the most specific domain."""
        names = {"b.test": to("b"), "a.test": to("a")}
        found = read({"matcher_tree": {"input": NAME, "exact_match_map": {"map": names}}, "on_no_match": to("last")})
        self.assertEqual([("b.test", "b"), ("a.test", "a"), (ANY, "last"), (NAMELESS, "last")], found)
        prefixes = {"b": to("1"), "b-1": to("2")}
        found = read({"matcher_tree": {"input": NAME, "prefix_match_map": {"map": prefixes}}})
        self.assertEqual([(r"~b\-1.*", "2"), ("~b.*", "1")], found)
        domains = [
            {"domains": ["*", "*.test"], "on_match": to("1")},
            {"domains": ["*.w.test", "a.test"], "on_match": to("2")},
            {"domains": ["ignored"]},
        ]
        found = read({"matcher_tree": {"input": NAME, "custom_match": {"typed_config": {"domain_matchers": domains}}}})
        self.assertEqual([("a.test", "2"), ("*.w.test", "2"), ("*.test", "1"), (ANY, "1")], found)

    def test_ignored_case(self) -> None:
        """A text whose case is ignored matches in lower case."""
        found = read({"matcher_list": {"matchers": [when("one", exact="A.test", ignore_case=True)]}})
        self.assertEqual([("a.test", "one")], found)

    def test_ports(self) -> None:
        """The part for the listener's port, or what follows no match."""
        inner = {"matcher": {"matcher_list": {"matchers": [when("one", exact="a.test")]}}}
        tree = {"matcher_tree": {"input": PORT, "exact_match_map": {"map": {"443": inner}}}, "on_no_match": to("last")}
        self.assertEqual([("a.test", "one")], read(tree))
        self.assertEqual([(ANY, "last"), (NAMELESS, "last")], read(tree, 444))

    def test_what_cannot_be_read(self) -> None:
        """Each part is named."""
        deep: dict[str, Any] = {"on_no_match": to("x")}
        for _ in range(25):
            deep = {"on_no_match": {"matcher": deep}}
        both: dict[str, Any] = {"and_matcher": {"predicate": []}}
        nested = {**when("", exact="a"), "on_match": {"matcher": {"on_no_match": to("x")}}}
        for matcher, why in (
            ({"matcher_list": {"matchers": [{"predicate": both, "on_match": to("x")}]}}, "not about the server name"),
            ({"matcher_list": {"matchers": [{"on_match": to("x")}]}}, "without a predicate"),
            ({"matcher_list": {"matchers": [when("x", safe_regex={"regex": r"\pN"})]}}, "Python's syntax lacks"),
            ({"matcher_list": {"matchers": [when("x", other=1)]}}, "no text"),
            ({"matcher_list": {"matchers": [nested]}}, "more than the name of a filter chain"),
            ({"on_no_match": {"action": {}}}, "more than the name of a filter chain"),
            ({"matcher_tree": {"input": {"typed_config": {"@type": "x.SourceIPInput"}}}}, "the input is SourceIPInput"),
            ({"matcher_tree": {"exact_match_map": {}}}, "the input is unknown"),
            (deep, "too many matchers"),
            # Envoy reads the server name in lower case, and compares it with the text as it is written.
            ({"matcher_list": {"matchers": [when("x", suffix=".A.test")]}}, ".A.test: no server name matches"),
            ({"matcher_tree": {"input": NAME, "exact_match_map": {"map": {"A.test": to("a")}}}}, "A.test: no server"),
            ({"matcher_tree": {"input": NAME, "prefix_match_map": {"map": {"A": to("a")}}}}, "A: no server"),
        ):
            with self.assertRaises(Unreadable) as raised:
                read(matcher)
            self.assertIn(why, str(raised.exception))
