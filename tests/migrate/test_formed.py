"""Tests for sniproxy.migrate.formed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import PolicyTable
from sniproxy.migrate.formed import PRIVATE, formed_policy
from sniproxy.migrate.model import Kind, Notes, Place


class FormedTests(SynchronousTestCase):
    """The policy of targets that names form."""

    def test_policy(self) -> None:
        """Private networks and the targets' ports are allowed, and reported; it does not decide."""
        for ports, allowed in (([6652, 6651], [6651, 6652]), ([], None)):
            report = Notes()
            found = formed_policy(ports, Place("f", 3), report)
            self.assertEqual(PolicyTable(allow_cidrs=list(PRIVATE), allow_ports=allowed), found)
            [note] = report.notes
            self.assertEqual((Kind.DIFFERENT, 3, False), (note.kind, note.place.line, note.decides))
            self.assertIn("names form targets", note.text)
