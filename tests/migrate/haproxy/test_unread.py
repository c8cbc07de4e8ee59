"""Tests for L{sniproxy.migrate.haproxy.unread}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.unread import report_unread
from sniproxy.migrate.model import Notes
from tests.support.haproxyconfig import notes, section


class UnreadTests(SynchronousTestCase):
    """What is not read is reported."""

    def report(self, lines: str, kind: str = "frontend") -> list[str]:
        """The notes of a section."""
        report = Notes()
        report_unread(section(lines, kind), report)
        return notes(report)

    def test_quiet(self) -> None:
        """Lines that are read elsewhere, or that mean nothing here, are no notes."""
        text = "bind :1\nlog global\noption tcplog\nno option redispatch\nssl-default-bind-options x\ntune.bufsize 1"
        self.assertEqual(self.report(text), [])

    def test_reported(self) -> None:
        """Others are, with a cure if there is one."""
        for line, expected in (
            ("nbthread 4", "- 2 nbthread 4: see workers"),
            ("option forwarded", "- 2 option forwarded: has no counterpart"),
            ("stick-table type ip", "- 2 stick-table type: see max_connections_per_client"),
            ("unheard of", "- 2 unheard of: has no counterpart"),
            ("no", "- 2 : has no counterpart"),
        ):
            self.assertTrue(self.report(line)[0].startswith(expected), line)

    def test_sections(self) -> None:
        """A section of another kind is one note."""
        self.assertEqual(self.report("peer a 10.0.0.1:1", "peers"), ["- 1 the section has no counterpart"])
