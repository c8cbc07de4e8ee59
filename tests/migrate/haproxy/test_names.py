"""Tests for L{sniproxy.migrate.haproxy.names}."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy import names as module
from sniproxy.migrate.haproxy.names import Names, TooLong, difference, intersection, written
from sniproxy.migrate.model import ANY, Place
from sniproxy.routing.patterns import matches

HERE = Place("haproxy.cfg", 7)
TRIED = ("a.test", "a.w.test", "b.w.test", "a.b.w.test", "w.test", "in-a.w.test", "in-a.test", "x")


def of(*texts: str) -> Names:
    """A condition that one of these patterns matches."""
    return Names(tuple((text, Place("", number)) for number, text in enumerate(texts)))


def found(*conditions: Names) -> list[str]:
    """The patterns for which all conditions hold."""
    members: list[tuple[str, Place]] = [(ANY, HERE)]
    for one in conditions:
        members = intersection(members, one.members)
    return [written(pattern) for pattern, _ in members]


class NamesTests(SynchronousTestCase):
    """Sets of names."""

    def test_one(self) -> None:
        """Without a condition all names are meant; a pattern keeps its place."""
        self.assertEqual(found(), [ANY])
        self.assertEqual(intersection([(ANY, HERE)], of("a", "b").members), [("a", Place("", 0)), ("b", Place("", 1))])
        self.assertTrue((~of("a")).negated)

    def test_difference(self) -> None:
        """Patterns whose names are all in the other set go; others stay."""
        for one, other, expected in (
            (["a", "b"], ["b", "c"], ["a"]),
            (["a.w.test", "x"], ["*.w.test"], ["x"]),
            (["*.b.w.test", "*.w.test"], ["*.b.w.test"], ["*.w.test"]),
            (["*.b.w.test", "~a.*"], ["*.w.test", "~a.*"], []),
            (["~a.*", ANY], ["~b.*", "x"], ["~a.*", ANY]),
            (["x", "~a", "*.w", ANY], [ANY], []),
            (["~a.*\n~b.*", "~a.*"], ["~b.*"], ["~a.*"]),
        ):
            left = [pattern for pattern, _ in difference(of(*one).members, of(*other).members)]
            self.assertEqual(left, expected, (one, other))

    def test_parts(self) -> None:
        """A part is in an expression once, and a pattern with all parts of another is none of its own."""
        self.assertEqual(found(of("~a.*"), of("~.*b"), of("~a.*", "~.*b")), ["~(?=.*b$)a.*"])
        self.assertEqual(found(of("~a.*"), of("~.*b"), of("~.*c.*")), ["~(?=.*b$)(?=.*c.*$)a.*"])
        self.assertEqual(found(of("~a.*", "*.w"), of("~a.*", "~.*b.*")), ["~a.*", r"~.*b.*(?<=.\.w)"])

    def test_both(self) -> None:
        """The intersection has the names that both have, in the simplest form."""
        for one, other, expected in (
            (["a.test", "b.test"], ["b.test", "c.test"], ["b.test"]),
            (["a.w.test", "a.test"], ["*.w.test"], ["a.w.test"]),
            (["*.w.test"], ["a.w.test", "a.test"], ["a.w.test"]),
            (["*.w.test"], ["*.b.w.test"], ["*.b.w.test"]),
            (["*.b.w.test"], ["*.w.test"], ["*.b.w.test"]),
            (["*.w.test"], ["*.x.test"], []),
            (["*.w.test"], ["~in-.*"], [r"~in-.*(?<=.\.w\.test)"]),
            (["~in-.*|x"], ["*.w.test"], [r"~(?:in-.*|x)(?<=.\.w\.test)"]),
            (["~in-.*"], ["~.*a.*"], ["~(?=.*a.*$)in-.*"]),
            ([r"~in-.*\.test"], ["*.w"], []),
            (["~in-.*"], ["~in-.*"], ["~in-.*"]),
            (["~in-.*", "*.w.test"], [ANY], ["~in-.*", "*.w.test"]),
            ([ANY, "x"], ["*.w.test"], ["*.w.test"]),
            (["*.w.test", ANY], [ANY], ["*.w.test", ANY]),
        ):
            self.assertEqual(found(of(*one), of(*other)), expected, (one, other))

    def test_meaning(self) -> None:
        """A name is in the intersection if it is in both sets."""
        sets = (of("a.w.test", "x"), of("*.w.test"), of("*.b.w.test", "in-a.test"), of("~in-.*"), of("~.*b.*"))
        for one, other in product(sets, sets):
            both = found(one, other)
            for name in TRIED:
                expected = all(any(matches(text, name) for text, _ in each.members) for each in (one, other))
                self.assertEqual(any(matches(text, name) for text in both), expected, (one, other, name))

    def test_bound(self) -> None:
        """Expressions that would be too long or too many are an error."""
        self.patch(module, "MAX_EXPRESSION_CHARS", 20)
        self.assertRaises(TooLong, found, of("~aaaaaaaa.*"), of("~.*bbbbbbbb"))
        self.patch(module, "MAX_PAIRS", 3)
        self.assertRaises(TooLong, found, of("~a", "~b"), of("~c", "~d"))
