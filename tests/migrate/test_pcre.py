"""Tests for expressions that are searched in a name."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.pcre import BadExpression, Searched, searched, top_level, with_group
from sniproxy.routing.patterns import captured, matches, route_pattern

NAME = st.text("abx.1-", min_size=1, max_size=8)
ATOMS = st.sampled_from(
    [
        "a",
        "b",
        r"\.",
        ".",
        ".*",
        ".+",
        "[ab]",
        "[^.]+",
        r"\d",
        "(a)",
        "(.*)",
        "(.+)",
        "(?:a|b)",
        "(b|x)?",
        "^",
        "$",
        "|",
    ]
)
EXPRESSIONS = st.lists(ATOMS, max_size=6).map("".join)


class PatternTests(SynchronousTestCase):
    """Expressions that people write."""

    def check(self, text: str, pattern: str, **keys: bool) -> None:
        self.assertEqual(searched(text, **keys).pattern, pattern)

    def test_anchored_names_are_exact(self) -> None:
        """An anchored expression for one name is that name."""
        self.check(r"^a\.test$", "a.test")
        self.check(r"\Aa-b_c\.test\z", "a-b_c.test")
        self.check(r"^10\.0\.0\.1$", "10.0.0.1")

    def test_names_below_are_wildcards(self) -> None:
        """An expression for all names below a name is a wildcard."""
        self.check(r"^.*\.d\.test$", "*.d.test")
        self.check(r".+\.d\.test$", "*.d.test")
        self.check(r"\.d\.test$", "*.d.test")
        self.check(r"\.1\.2\.3\.4$", r"~.*\.1\.2\.3\.4")
        self.check(r"^a\.$", r"~a\.")
        self.check(r"^a\.\.b$", r"~a\.\.b")

    def test_parts_of_names(self) -> None:
        """An expression without anchors is found inside of names."""
        self.check("a.test", "~.*a.test.*")
        self.check(r"^broker-\d+", r"~broker-\d+.*")
        self.check(r"b$|^a", "~.*b|a.*")
        self.check("", "~.*")
        self.check("^$", "~")

    def test_captures_are_those_of_the_leftmost_match(self) -> None:
        """The first place where an expression is found decides what its groups have."""
        found = searched(r"(b.)")
        self.assertEqual(captured(found.pattern, "abxabc"), ("bx",))
        found = searched(r"(b)$|(a)")
        self.assertEqual(captured(found.pattern, "xab"), ("", "a"))

    def test_named_groups(self) -> None:
        """Named groups are numbered."""
        self.assertEqual(
            searched(r"^(?<x>.+)-(?P<y>.+)-(?'z'.)$"),
            Searched("~(.+)-(.+)-(.)", 3, {"x": 1, "y": 2, "z": 3}, "(.+)-(.+)-(.)"),
        )

    def test_groups_that_are_not_needed(self) -> None:
        """Without captures, groups do not capture, and what may be there or not at an open end is dropped."""
        for text, pattern in (
            (r"(.*\.)?example\.com$", r"~.*example\.com"), (r"^(?<x>a|b)\.c$", r"~(?:a|b)\.c"), ("x(a)*b?", "~.*x.*"),
            ("^(a)?b(c)?$", "~(?:a)?b(?:c)?"), ("a*?b", "~.*a*?b.*"), ("ab??", "~.*ab??.*"), (".?b.?", "~.*.?b.?.*"),
            ("a?", "~.*"), ("?", None),
        ):  # fmt: skip
            if pattern is None:
                self.assertRaises(BadExpression, searched, text, captures=False)
            else:
                self.assertEqual(searched(text, captures=False), Searched(pattern, 0, {}, pattern[1:]))

    def test_case(self) -> None:
        """Letters in upper case match only where case is ignored, because names are in lower case here."""
        self.check(r"^A\.test$", "")
        self.check(r"^A\.test$", "a.test", ignore_case=True)
        self.check(r"(?i)^A\.test$", "a.test")
        for text in ("A.", r"\x41.", r"\QA\E.", "[[:upper:]]", "[A]"):
            self.assertFalse(matches(searched(text).pattern, "ab"), text)
            self.assertTrue(matches(searched(text, ignore_case=True).pattern, "ab"), text)
        self.assertTrue(matches(searched(r"^[^A]\D\x{62}").pattern, "a.b"))

    def test_other_syntax(self) -> None:
        """What Python writes in another way is translated."""
        self.check(r"^[[:digit:]]{2}-[[:alpha:]-]$", "~[0-9]{2}-[a-zA-Z-]", ignore_case=True)
        self.check(r"^a{x\h[\h]\Q.\E$", r"~a\{x[ \t][ \t]\.")
        self.check(r"^\Qa.b", r"~a\.b.*")
        self.check(r"^[]a[&&b]$", r"~[\]a\[\&\&b]")
        self.check(r"^(?#comment)[^]](?:a)(?i:b)$", r"~[^\]](?:a)(?i:b)")

    def test_what_has_no_equal(self) -> None:
        """What cannot be translated is an error that names it."""
        for text, why in (
            (r"\1", r"\\1 has no equal"), (r"\p{L}", r"\\p has"), ("(?|a)", r"\(\?\|a has"), ("(*FAIL)", r"\(\*FA has"),
            ("[[:x:]]", "x"), ("a\\", "backslash"), ("[a", "class"), ("(a", "not closed"), ("a)", "not open"),
            ("(?#", "comment"), ("a**", "multiple repeat"), ("[b-a]", "bad character range"),
        ):  # fmt: skip
            error = self.assertRaises(BadExpression, searched, text)
            self.assertRegex(str(error), why)


class SearchTests(SynchronousTestCase):
    """Any expression."""

    @given(EXPRESSIONS, NAME)
    def test_the_same_names_and_captures(self, text: str, name: str) -> None:
        """The pattern matches the names in which the expression is found, with the same captures."""
        try:
            original = re.search(text, name)
        except re.error:
            return
        found = searched(text)
        self.assertEqual(matches(found.pattern, name), original is not None, found)
        simpler = searched(text, captures=False)
        self.assertEqual(matches(simpler.pattern, name), original is not None, simpler)
        if original is not None and found.groups:
            self.assertEqual(captured(found.pattern, name), original.groups(""), found)

    @given(st.text(r"ab\[](){}?*+|^$.:<P>'=!-QEdx19", max_size=20) | st.text(max_size=12))
    def test_only_its_own_error(self, text: str) -> None:
        """Any text is an expression or a BadExpression."""
        for ignore_case in (False, True):
            try:
                found = searched(text, ignore_case=ignore_case)
            except BadExpression:
                continue
            matches(found.pattern, "a.test")


class PartTests(SynchronousTestCase):
    """Parts of expressions."""

    def test_parts_outside_of_groups(self) -> None:
        """A group is one part; so is a class."""
        self.assertEqual(top_level(r"^a(b|c)[:|]\.|:x"), ["^", "a", "(b|c)", "[:\\|]", "\\.", "|", ":", "x"])

    def test_group_with_one_text(self) -> None:
        """A group of an expression can have one text only, if the group matches it and does not repeat."""
        expression = r"x[(\]](?:a\()([^.]+)\.(b|c)(d)*"
        self.assertEqual(with_group(expression, 1, "a.b"), None)
        self.assertEqual(with_group(expression, 1, "a-b"), r"x[(\]](?:a\()(a\-b)\.(b|c)(d)*")
        self.assertEqual(with_group(expression, 2, "c"), r"x[(\]](?:a\()([^.]+)\.(c)(d)*")
        for number, text in ((2, "d"), (3, "d"), (4, "x")):
            self.assertIsNone(with_group(expression, number, text))
        self.assertIsNone(with_group("((a)b)", 2, "a"))


class BacktrackingTests(SynchronousTestCase):
    """Expressions that our configuration takes only in another form."""

    def test_what_follows_is_not_read_again(self) -> None:
        """Where a completed expression backtracks too much, it is a lookahead before the rest of the name."""
        for text, pattern in (
            ("a.*b", "~(?=.*a.*b).*"), ("(a).*(b)", "~(?=.*?(a).*(b)).*"),
        ):  # fmt: skip
            self.assertEqual(searched(text).pattern, pattern)
            route_pattern(pattern)
        self.assertEqual(captured(searched("(a.).*(b)").pattern, "xaybbz"), ("ay", "b"))
        self.assertEqual(searched("a.*b.*c").pattern, "~.*a.*b.*c.*")
        found = searched("foo$|bar|qux")
        self.assertEqual(found.pattern, r"~(?=.*foo\Z|.*bar|.*qux).*")
        for name, expected in (("a.foo", True), ("foo.a", False), ("a.bar.b", True), ("quxq", True)):
            self.assertEqual(matches(found.pattern, name), expected, name)
