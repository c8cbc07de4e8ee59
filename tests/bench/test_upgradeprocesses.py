"""The processes of the upgrade's load (tests/bench/test_upgradeload.py runs them)."""

from __future__ import annotations

import ssl
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.upgradeprocesses import Files, all_opened


class FilesTests(SynchronousTestCase):
    """Certificates."""

    def test_make(self) -> None:
        """TLS takes the files."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = Files.make(folder)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key)
        ssl.create_default_context(cafile=files.authority)


class OpenedTests(SynchronousTestCase):
    """When a batch of tunnels is open."""

    def test_none(self) -> None:
        """No tunnels are all open."""
        self.assertTrue(all_opened([]))
