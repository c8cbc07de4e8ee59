"""Tests for L{sniproxy.migrate.haproxy.matching}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.matching import ADDRESSES, EVERY_NAME, METHODS, Subject, name_patterns
from sniproxy.migrate.model import ANY, Notes, Place
from sniproxy.routing.patterns import matches
from tests.support.haproxyconfig import notes

HERE = Place("haproxy.cfg", 3)
LOWER = Subject("lower")


class MatchingTests(SynchronousTestCase):
    """Match methods as patterns."""

    def patterns(self, method: str, text: str, subject: Subject = LOWER) -> list[str]:
        """The patterns of a match; the report is in C{report}."""
        self.report = Notes()
        return name_patterns(subject, method, text, HERE, self.report)

    def test_methods(self) -> None:
        """Each method has its patterns."""
        for method, text, expected in (
            ("str", "a.test", ["a.test"]),
            ("dir", "a.test", ["a.test"]),
            ("end", ".w.test", ["*.w.test"]),
            ("end", "w.test", [r"~.*w\.test"]),
            ("end", "", [ANY]),
            ("beg", "in-", ["~in-.*"]),
            ("beg", "", [ANY]),
            ("sub", "x.y", [r"~.*x\.y.*"]),
            ("sub", "", [ANY]),
            ("dom", ".eu.", ["eu", "*.eu", r"~eu\..+", r"~.+\.eu\..+"]),
            ("dom", ".", []),
            ("len", "3", ["~.{3}"]),
            ("len", "3:5", ["~.{3,5}"]),
            ("reg", r"^a\.test$", ["a.test"]),
            ("reg", EVERY_NAME, [ANY]),
            ("reg", ADDRESSES, []),
        ):
            self.assertEqual(self.patterns(method, text), expected, (method, text))
            self.assertEqual(self.report.notes, [])

    def test_domains(self) -> None:
        """A domain matches whole labels, at each end and between."""
        found = self.patterns("dom", "a.b")
        for name, expected in (
            ("a.b", 1),
            ("x.a.b", 1),
            ("a.b.x", 1),
            ("x.a.b.x", 1),
            ("xa.b", 0),
            ("a.bx", 0),
            ("a", 0),
        ):
            self.assertEqual(any(matches(one, name) for one in found), bool(expected), name)

    def test_case(self) -> None:
        """Capitals never match behind a converter; without -i they are reported as different."""
        self.assertEqual(self.patterns("str", "A.test"), [])
        self.assertIn("matches no name after the converter lower", notes(self.report)[0])
        self.assertEqual(self.patterns("str", "A.test", Subject()), ["a.test"])
        self.assertIn("~ 3 A.test matches in any case here", notes(self.report)[0])
        self.assertEqual(self.patterns("str", "A.test", Subject(ignores_case=True)), ["a.test"])
        self.assertEqual(self.patterns("str", "A.TEST", Subject("upper")), ["a.test"])
        self.assertEqual(self.report.notes, [])

    def test_no_names(self) -> None:
        """A text that no server name has is no route."""
        for method, text in (
            ("str", "*.w.test"),
            ("str", "a.test."),
            ("str", "a:1"),
            ("end", "*.w"),
            ("sub", "é"),
            ("str", ""),
            ("len", "x"),
        ):
            self.assertEqual(self.patterns(method, text), [])
            self.assertIn("no route", notes(self.report)[0])

    def test_first_label(self) -> None:
        """A pattern of the first label matches any names with that label."""
        label = Subject("lower", first_label=True)
        for method, text, name, expected in (
            ("str", "a", "a.w.test", True),
            ("str", "a", "a", True),
            ("str", "a", "b.a", False),
            ("beg", "in-", "in-1.test", True),
            ("sub", "x", "a.x", False),
            ("end", "", "anything", True),
        ):
            found = self.patterns(method, text, label)
            self.assertEqual(any(one == ANY or matches(one, name) for one in found), expected, (method, name))
        self.assertEqual(self.patterns("reg", "a", label), [])
        self.assertTrue(self.report.notes[0].decides)

    def test_left_out(self) -> None:
        """An expression that the proxy refuses is reported, because it decides where names go."""
        for method, text in (("reg", "a("), ("reg", "(a+)+.*.*"), ("end", "a" * 300 + ".")):
            self.patterns(method, text)
        self.patterns("reg", "(a+)+.*.*")
        self.assertTrue(self.report.notes[0].decides)

    @given(st.sampled_from(METHODS), st.text(max_size=20), st.booleans(), st.sampled_from((None, "lower", "upper")))
    def test_whole(self, method: str, text: str, label: bool, case: str | None) -> None:
        """Every text gives valid patterns."""
        for pattern in name_patterns(Subject(case, first_label=label), method, text, HERE, Notes()):
            self.assertTrue(pattern == ANY or matches(pattern, "a.test") in (True, False))
