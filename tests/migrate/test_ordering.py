"""Tests for sniproxy.migrate.ordering."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import ANY, NAMELESS, Kind, Notes, Place, Rule
from sniproxy.migrate.ordering import Ordered, as_expression, literal_tail, ordered
from sniproxy.routing.patterns import matches
from sniproxy.routing.table import RouteTable

LABELS = ("a", "b", "ab", "x1")
SUFFIXES = ("a.test", "b.a.test", "test", "b.test")

EXACT = st.builds("{}.{}".format, st.sampled_from(LABELS), st.sampled_from(SUFFIXES))
WILDCARD = st.sampled_from(SUFFIXES).map("*.{}".format)
EXPRESSION = st.sampled_from(
    (r"~(a|b)\..*", r"~[ab]+\.test", r"~.*\.a\.test", r"~x\d\..+", r"~.+", r"~a.*", r"~(.+)\.a\.test", "~ab.a.test")
)
LISTENER = st.sampled_from((None, "one", "two"))


def rules_of(patterns: Sequence[tuple[str, str | None]]) -> list[Rule]:
    """Rules with a target of their own each."""
    return [
        Rule(pattern, Place("f", number + 1), (f"t{number}.test:1",), listener)
        for number, (pattern, listener) in enumerate(patterns)
    ]


def first_match(rules: Sequence[Rule], name: str | None, listener: str) -> str | None:
    """The target of the first rule that matches, as the original would find it."""
    for rule in rules:
        if rule.listener not in (None, listener):
            continue
        if name is None:
            if rule.pattern == NAMELESS:
                return rule.targets[0]
        elif rule.pattern == ANY or (rule.pattern != NAMELESS and matches(rule.pattern, name)):
            return rule.targets[0]
    return None


def ours(found: Ordered, name: str | None, listener: str) -> str | None:
    """The target by our own route table."""
    if name is None:
        own = [rule for rule in found.nameless if rule.listener == listener]
        general = [rule for rule in found.nameless if rule.listener is None]
        chosen = next(iter(own + general), None)
    else:
        named = RouteTable(_Named(rule) for rule in found.routes).match(name, listener)
        chosen = found.default if named is None else named.rule
    return None if chosen is None else chosen.targets[0]


class _Named:
    """A rule as the route table needs it."""

    def __init__(self, rule: Rule) -> None:
        self.server_name, self.listener, self.rule = rule.pattern, rule.listener, rule


class OrderingTests(SynchronousTestCase):
    """First-match rules become routes that lead every name to the same target."""

    def check(self, rules: Sequence[Rule], names: Sequence[str | None]) -> Ordered:
        """Compare both ways for all names on both listeners. Keys of routes are unique."""
        found = ordered(rules, ("one", "two"), Notes())
        keys = [(rule.pattern, rule.listener) for rule in found.routes]
        self.assertEqual(len(keys), len(set(keys)))
        for listener in ("one", "two"):
            for name in names:
                self.assertEqual(
                    first_match(rules, name, listener), ours(found, name, listener), (name, listener, found)
                )
        return found

    @given(
        st.lists(
            st.tuples(EXACT | WILDCARD | EXPRESSION | st.sampled_from((ANY, NAMELESS)), LISTENER),
            max_size=8,
        )
    )
    def test_same_targets(self, patterns: list[tuple[str, str | None]]) -> None:
        """Whatever the patterns, their order and their listeners."""
        names = [f"{label}.{suffix}" for label in LABELS for suffix in SUFFIXES] + ["test", "a.test", "zz"]
        self.check(rules_of(patterns), [*names, None])

    def test_hidden_exact(self) -> None:
        """A wildcard before an exact name wins; the exact name is reported and not written."""
        rules, report = rules_of([("*.a.test", None), ("x.a.test", None)]), Notes()
        found = ordered(rules, ["one"], report)
        self.assertEqual(["*.a.test"], [rule.pattern for rule in found.routes])
        self.assertEqual([(Kind.DIFFERENT, 2)], [(note.kind, note.place.line) for note in report.notes])
        self.assertIn("*.a.test (f:1) matches these names first", report.notes[0].text)

    def test_repeated(self) -> None:
        """A repeated rule with the same target needs no note."""
        rules, report = rules_of([("a.test", None)]), Notes()
        ordered([*rules, *rules], ["one"], report)
        self.assertEqual([], report.notes)

    def test_expression_first(self) -> None:
        """A wildcard after an expression that may match its names becomes an expression; a disjoint one does not."""
        rules = rules_of([(r"~b\d+\.a\.test", None), ("*.a.test", None), ("*.other.test", None)])
        found = self.check(rules, ["b1.a.test", "c.a.test", "x.other.test"])
        self.assertEqual(
            [r"~b\d+\.a\.test", r"~(.+)\.a\.test", "*.other.test"], [rule.pattern for rule in found.routes]
        )

    def test_default_of_each(self) -> None:
        """Listeners with different defaults get expressions of their own, after all others."""
        rules = rules_of([(ANY, "one"), (NAMELESS, "one"), (ANY, "two"), (r"~x.*", None)])
        found = self.check(rules, ["x.test", "y.test", None])
        self.assertIsNone(found.default)
        self.assertEqual(["one"], [rule.listener for rule in found.nameless])

    def test_invalid(self) -> None:
        """What cannot be a route is left out, and decides."""
        report = Notes()
        place = Place("f", 7, "k")
        rules = [
            Rule("bad name", place, ("t.test:1",)),
            Rule("a.test", place, ("t.test:0",)),
            Rule("b.test", place, ("{1}.test:1",)),
            Rule("~(a+)+b", place, ("t.test:1",)),
            Rule(NAMELESS, place, ("{server_name}:1",)),
        ]
        found = ordered(rules, ["one"], report)
        self.assertEqual(([], []), (found.routes, found.nameless))
        self.assertEqual([(Kind.LEFT_OUT, True)] * 5, [(note.kind, note.decides) for note in report.notes])

    def test_refusal(self) -> None:
        """A rule without targets is kept: it refuses names before a wildcard."""
        rules = [Rule("a.b.test", Place("f")), Rule("*.b.test", Place("f"), ("t.test:1",))]
        self.assertEqual(["a.b.test", "*.b.test"], [one.pattern for one in ordered(rules, ["one"], Notes()).routes])


class ExpressionTests(SynchronousTestCase):
    """Texts of expressions."""

    def test_as_expression(self) -> None:
        """A wildcard has its capture, an exact name none."""
        self.assertEqual(r"~(.+)\.a\-b\.test", as_expression("*.a-b.test"))
        self.assertEqual(r"~a\.test", as_expression("a.test"))

    def test_literal_tail(self) -> None:
        """The text that all matched names end with."""
        for text, tail in (
            (r".*\.a\.test", ".a.test"),
            (r"b\d+\.test", ".test"),
            (r"b\d", ""),
            (r"a|b", ""),
            (r"a.test", "test"),
            (r"ab+", ""),
            (r"(?:x)y", ""),
        ):
            self.assertEqual(tail, literal_tail(text), text)
