"""The man pages, formatted by groff and read by mandoc."""

from __future__ import annotations

import subprocess

from twisted.trial.unittest import SynchronousTestCase

from docs.manpages import FOLDER, PAGES
from tests.peers.needs import require


class ManTests(SynchronousTestCase):
    """What formatters say of the pages."""

    def test_groff(self) -> None:
        """groff formats them without a warning, and they have their headings."""
        require("groff")
        for name in PAGES:
            ran = subprocess.run(
                ["groff", "-man", "-ww", "-Tascii", "-P-c", "-P-b", "-P-u", str(FOLDER / name)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            self.assertEqual("", ran.stderr)
            for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
                self.assertIn(f"\n{heading}\n", ran.stdout)

    def test_mandoc(self) -> None:
        """mandoc warns of nothing but the date that they do not have."""
        require("mandoc")
        for name in PAGES:
            command = ["mandoc", "-T", "lint", "-W", "warning", str(FOLDER / name)]
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            self.assertEqual([], [line for line in said.splitlines() if "missing date" not in line])
