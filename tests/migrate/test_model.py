"""Tests for sniproxy.migrate.model."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Kind, Note, Notes, Place, Rule, SourceFile


class PlaceTests(SynchronousTestCase):
    """Where something was read."""

    def test_text(self) -> None:
        """File, line and key, as far as they are known."""
        self.assertEqual("a.cfg:7 bind", str(Place("a.cfg", 7, "bind")))
        self.assertEqual("a.cfg bind", str(Place("a.cfg", 0, "bind")))
        self.assertEqual("a.cfg:7", str(Place("a.cfg", 7)))

    def test_base(self) -> None:
        """A file's name without its folders."""
        self.assertEqual("sni.yaml", SourceFile("/etc/trafficserver/sni.yaml", "").base)
        self.assertEqual("sni.yaml", SourceFile("sni.yaml", "").base)


class NotesTests(SynchronousTestCase):
    """The report."""

    def test_kinds(self) -> None:
        """Each method adds a note of its kind, in order."""
        report, place = Notes(), Place("f", 1)
        report.taken(place, "a")
        report.different(place, "b")
        report.left_out(place, "c", decides=True)
        expected = [
            Note(Kind.TAKEN, place, "a"), Note(Kind.DIFFERENT, place, "b"), Note(Kind.LEFT_OUT, place, "c", True),
        ]  # fmt: skip
        self.assertEqual(expected, report.notes)


class RuleTests(SynchronousTestCase):
    """Names and where they go."""

    def test_same_destination(self) -> None:
        """Pattern, listener and place do not count, all other keys do."""
        rule = Rule("a.test", Place("f", 1), ("t:1",), "one")
        self.assertTrue(rule.same_destination(Rule("b.test", Place("g", 2), ("t:1",), "two")))
        for other in (Rule("a.test", Place("f"), ("u:1",)), Rule("a.test", Place("f"), ("t:1",), send_proxy="v2")):
            self.assertFalse(rule.same_destination(other))
