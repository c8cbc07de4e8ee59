"""Tests for sniproxy.migrate.export.termination."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.export.termination import folder_of, report_files, written_files
from sniproxy.migrate.model import Kind, Notes, Place


class FileTests(SynchronousTestCase):
    """The files of a listener."""

    def test_files(self) -> None:
        """Those that are written, in the order of their keys."""
        table = ListenerTable("x", certificates="/a.pem", upstream_certificate="/b.pem")
        self.assertEqual([("certificates", "/a.pem"), ("upstream_certificate", "/b.pem")], list(written_files(table)))
        self.assertEqual([], list(written_files(ListenerTable("x"))))

    def test_folders(self) -> None:
        """A path without an ending of a certificate's file is a folder."""
        self.assertIsNone(folder_of(ListenerTable("x", certificates="/a.pem", upstream_trust="/b.crt")))
        self.assertEqual("certificates", folder_of(ListenerTable("x", certificates="/certs/", upstream_trust="/b")))
        self.assertEqual("upstream_trust", folder_of(ListenerTable("x", certificates="/a.cer", upstream_trust="/b.d")))

    def test_report(self) -> None:
        """Which certificates count, and relative paths; nothing decides."""
        report = Notes()
        report_files(ListenerTable("x", certificates="/a.pem"), Place("x"), "nginx", report)
        self.assertEqual(1, len(report.notes))
        report_files(ListenerTable("x", certificates="/a.pem", upstream_trust="b.pem"), Place("x"), "nginx", report)
        self.assertEqual(
            "upstream_trust: b.pem: nginx looks for it in another folder", report.notes[-1].text.split(";")[0]
        )
        self.assertEqual(4, len(report.notes))
        self.assertEqual({Kind.DIFFERENT}, {note.kind for note in report.notes})
        self.assertFalse(any(note.decides for note in report.notes))
