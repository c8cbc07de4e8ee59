"""Tests for sniproxy.cli.commands."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl


class CommandTests(SynchronousTestCase):
    """Commands that do not read captures."""

    def test_there(self) -> None:
        """Each command is in the help, with its purpose."""
        said = ctl.parser()[0].format_help()
        summary = " ".join(said.split("\n\n")[1].split())
        for what in ("captures", "look up topics", "explain the route of a server name", "proxies and drain them"):
            self.assertIn(what, summary)
        for command in ("lookup", "explain", "status", "drain"):
            self.assertIn(f"\n    {command} ", said)

    def test_light(self) -> None:
        """Registering the commands does not import Twisted."""
        program = "import sys, sniproxy.ctl; sniproxy.ctl.parser(); print('twisted' in sys.modules)"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual("False\n", ran.stdout)
