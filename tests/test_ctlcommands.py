"""Tests for sniproxy.ctlcommands."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl


class CommandTests(SynchronousTestCase):
    """The commands beside captures."""

    def test_there(self) -> None:
        """Each is in the help."""
        said = ctl.parser()[0].format_help()
        for command in ("lookup", "explain", "status", "drain"):
            self.assertIn(f"\n    {command} ", said)

    def test_light(self) -> None:
        """None loads Twisted before it runs."""
        program = "import sys, sniproxy.ctl; sniproxy.ctl.parser(); print('twisted' in sys.modules)"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual("False\n", ran.stdout)
