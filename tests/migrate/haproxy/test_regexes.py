"""Tests for L{sniproxy.migrate.haproxy.regexes}."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.regexes import BadExpression, whole_name_patterns
from sniproxy.routing.patterns import matches

NAMES = (
    "a.test",
    "ab.test",
    "b.a.test",
    "broker-1.a.test",
    "broker-12.eu",
    "xbroker-1",
    "test",
    "a",
    "a.tests",
    "x.ab",
)


class ExpressionTests(SynchronousTestCase):
    """Expressions that match a part of a name."""

    def test_forms(self) -> None:
        """Simple expressions become names and wildcards, others match the whole name."""
        for text, expected in (
            (r"^a\.test$", ["a.test"]),
            (r"^a\.test$|^b\.test$", ["a.test", "b.test"]),
            (r"^.*\.w\.test$", ["*.w.test"]),
            (r"^(.+)\.w\.test$", ["*.w.test"]),
            (r"\.w\.test$", ["*.w.test"]),
            (r"^broker-([0-9]+)", ["~broker-(?:[0-9]+).*"]),
            (r".*w\.test.*", [r"~.*w\.test.*"]),
            (r"a\$", [r"~.*a\$.*"]),
            (r"a\\$", [r"~.*a\\"]),
            (r"^(?<n>a|b)[(|]c\.$", [r"~(?:a|b)[(|]c\."]),
            (r"(?i)\Aa\Z", ["a"]),
            (r"^[[:digit:]]+[]x]$", ["~[0-9]+[]x]"]),
            (r"^[^]|]$", ["~[^]|]"]),
            (r"^[(?P<a>]$", ["~[(?P<a>]"]),
            (r"x\.*", [r"~.*x\.*.*"]),
        ):
            self.assertEqual(whole_name_patterns(text), expected, text)

    def test_same_names(self) -> None:
        """The patterns match the names in which the expression is found."""
        for text in (
            r"a\.test",
            r"^a",
            r"t$",
            r"^broker-[0-9]+\.",
            r"^a|eu$",
            r"(^a|b)\.",
            r"x.?b",
            r"^.*\.a\.test$",
            "",
        ):
            patterns = whole_name_patterns(text)
            for name in NAMES:
                expected = re.search(text, name) is not None
                self.assertEqual(any(matches(one, name) for one in patterns), expected, (text, name, patterns))

    def test_refused(self) -> None:
        """What Python does not have is an error."""
        for text in ("a(", r"(?x)a", r"\Qa\E", "[a"):
            self.assertRaises(BadExpression, whole_name_patterns, text)

    @given(st.text(alphabet="ab.[](|)?*+^$\\d{}:<>P-", max_size=12))
    def test_whole(self, text: str) -> None:
        """No text raises anything else."""
        try:
            whole_name_patterns(text)
        except BadExpression:
            pass
