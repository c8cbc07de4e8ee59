"""Tests for lists of cases."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import ANY, NAMELESS, Place
from sniproxy.migrate.nginx import cases as module
from sniproxy.migrate.nginx.cases import (
    PORT,
    SERVER_NAME,
    Case,
    TooManyCases,
    Value,
    always,
    both,
    constant,
    covers,
    filled,
    first,
    plus,
    product,
)  # fmt: skip
from sniproxy.routing.patterns import captured, matches

HERE = Place("n.conf", 1)
NAMES = st.sampled_from(["a.test", "b.test", "x.a.test", "x.y.test", "test", "a.b", "q.b.test"])
PATTERNS = st.sampled_from(
    ["a.test", "x.a.test", "*.test", "*.a.test", "*.b", r"~(.)\.test", r"~(.+)\.a\.test", "~[a-q]+.*", ANY, NAMELESS]
)
VALUES: st.SearchStrategy[Value] = st.sampled_from([("one",), (SERVER_NAME,), ("two", PORT), (1,), ("x", 1)])


def listed(pairs: list[tuple[str, Value]]) -> list[Case]:
    """Cases that cover all names; a pattern without groups has no group in its value."""
    made = [
        Case(pattern, value if pattern.startswith("~(") or 1 not in value else ("g",), HERE) for pattern, value in pairs
    ]
    return [*made, *always(("rest",), HERE)]


LISTS = st.lists(st.tuples(PATTERNS, VALUES), max_size=5).map(listed)


class CaseTests(SynchronousTestCase):
    """Values and patterns."""

    def test_values(self) -> None:
        """Texts join; the port is known; the name and groups are filled in for one name."""
        value = plus(("a",), ("", "b", PORT), (SERVER_NAME, 1))
        self.assertEqual(value, ("ab", PORT, SERVER_NAME, 1))
        self.assertIsNone(constant(value, 443))
        self.assertEqual(constant(("ab", PORT), 443), "ab443")
        self.assertEqual(filled((SERVER_NAME, "-", 1, 2, PORT), r"~(.)\.test", "x.test"), ("x.test-x", PORT))
        self.assertEqual(filled((1,), "*.test", "x.test"), ())

    def test_too_many(self) -> None:
        """The combinations of lists have a bound."""
        self.patch(module, "MAX_CASES", 10)
        many = [Case(rf"~.{number}", (), HERE) for number in range(4)]
        self.assertRaises(TooManyCases, list, product(many, many))

    def test_groups_of_both(self) -> None:
        """Groups of the second list are numbered behind those of the first."""
        one, other = ([Case(pattern, (1, "-"), HERE), *always((), HERE)] for pattern in (r"~(.)a.*", "~.*(b.)"))
        self.assertEqual(first(list(product(one, other)), "xabc").value, ("x-bc-",))

    def test_first_needs_a_case(self) -> None:
        """A list that does not cover all names is a mistake."""
        self.assertRaises(AssertionError, first, [], "a")

    def test_more_specific_place(self) -> None:
        """A case of two lists has the place of the one that decides more."""
        there = Place("n.conf", 2)
        (_, named, rest) = product(
            always((), HERE), [Case(NAMELESS, (), there), Case("a", (), there), Case(ANY, (), there)]
        )
        self.assertEqual((named.place, rest.place), (there, HERE))

    @given(PATTERNS, PATTERNS, NAMES | st.none())
    def test_both(self, one: str, other: str, name: str | None) -> None:
        """The common pattern of two has exactly the names of both, and the groups of the second after the first's."""
        pattern, by = both(one, other)
        expected = covers(one, name) and covers(other, name)
        self.assertEqual(pattern is not None and covers(pattern, name), expected)
        if pattern is not None and expected and name is not None and other.startswith("~") and pattern.startswith("~"):
            self.assertEqual(captured(pattern, name)[by:], captured(other, name))
            self.assertEqual(re.compile(pattern[1:]).groups, by + re.compile(other[1:]).groups)
            self.assertTrue(matches(pattern, name))

    @given(LISTS, LISTS, NAMES | st.none())
    def test_product(self, one: list[Case], other: list[Case], name: str | None) -> None:
        """The product of two lists has for each name the values of both."""
        expected = plus(first(one, name).value, first(other, name).value)
        self.assertEqual(first(list(product(one, other)), name).value, expected)
