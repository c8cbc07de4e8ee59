"""Tests for sniproxy.migrate.ats."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate import ats
from sniproxy.migrate.formats import Format
from sniproxy.migrate.model import SourceFile
from sniproxy.migrate.readers import read


class ReadTests(SynchronousTestCase):
    """The reader of the format."""

    def test_read(self) -> None:
        """The format's reader is the package's."""
        files = [SourceFile("sni.yaml", "sni:\n- fqdn: a.test\n  tunnel_route: b:1\n")]
        self.assertEqual(ats.read(files), read(Format.ATS, files))
