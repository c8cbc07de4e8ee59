"""Tests for L{sniproxy.migrate.haproxy.sections}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.sections import is_configuration, read_sections
from sniproxy.migrate.model import MigrateError, Notes, Place
from tests.support.haproxyconfig import notes, section, source

TEXT = """\
defaults
  mode tcp
  no option x
frontend a  # a comment
  option x
  mode http
defaults base from missing
  timeout client 5s
defaults more from base
  option x
backend b from more
  no option x
  disabled
listen c
peers p
"""


class SectionTests(SynchronousTestCase):
    """Sections and their defaults."""

    def setUp(self) -> None:
        self.report = Notes()
        self.sections = read_sections([source(TEXT)], self.report)
        self.by_name = {one.name: one for one in self.sections}

    def test_inheritance(self) -> None:
        """A section has the lines of the defaults before it, or of those that it names."""
        self.assertEqual([line.key for line in self.by_name["a"].lines], ["mode", "no", "option", "mode"])
        self.assertEqual(self.by_name["a"].own, 2)
        self.assertEqual([line.words[0] for line in self.by_name["b"].lines], ["timeout", "option", "no", "disabled"])
        self.assertEqual([line.key for line in self.by_name["c"].lines], ["timeout", "option"])
        self.assertEqual(self.by_name["p"].lines, ())
        self.assertEqual(notes(self.report), ["! 7 there is no defaults section missing"])

    def test_values(self) -> None:
        """The last line of a setting counts."""
        a, b = self.by_name["a"], self.by_name["b"]
        self.assertTrue(a.is_http and a.has("option", "x") and not a.is_disabled)
        self.assertTrue(b.is_disabled and not b.is_http and not b.has("option", "x"))
        self.assertIsNone(b.last("mode"))
        self.assertFalse(b.has("option", "y"))
        self.assertEqual(a.place, Place("haproxy.cfg", 4, "frontend a"))

    def test_files(self) -> None:
        """Several files are read as one; line numbers are those of each."""
        found = read_sections([source("frontend a\n"), source("\r\nmode tcp\r\n", "more.cfg")], Notes())
        self.assertEqual([line.place for line in found[0].lines], [Place("more.cfg", 2, "mode")])

    def test_refused(self) -> None:
        """A line outside of sections and one that cannot be split name file and line."""
        for text, expected in (("mode tcp\n", "haproxy.cfg:1: mode: "), ("global\n a '\n", "haproxy.cfg:2: a quote ")):
            error = self.assertRaises(MigrateError, read_sections, [source(text)], Notes())
            self.assertIn(expected, str(error))

    def test_unknown(self) -> None:
        """Environment variables and conditions on lines are reported."""
        report = Notes()
        section('bind "$IP:1"\n.if defined(X)\n.endif', "frontend", report)
        self.assertEqual([note.decides for note in report.notes], [True, True, True])
        self.assertIn("IP is unknown", report.notes[0].text)

    def test_environment(self) -> None:
        """Variables that the file sets are known from the next line on."""
        report = Notes()
        text = 'setenv IP 10.0.0.1\nbind "$IP:1"\nsetenv A "$IP"\nsetenv B\n{} IP\nbind "$A $IP"'
        for word, shown, unknown in (("unsetenv", "10.0.0.1 $IP", ["IP"]), ("resetenv", "$A 10.0.0.1", ["A"])):
            report = Notes()
            found = section(text.format(word), "global", report)
            self.assertEqual([line.words[1] for line in found.find("bind")], ["10.0.0.1:1", shown])
            self.assertEqual([note.text.split()[3] for note in report.notes], unknown)

    def test_configurations(self) -> None:
        """A file with a section is a configuration; maps and lists are not."""
        for text, expected in (
            ("global\n", True),
            (" listen x\n", True),
            ("global.test b1\n", False),
            ("a b\n", False),
        ):
            self.assertEqual(is_configuration(source(text)), expected, text)
