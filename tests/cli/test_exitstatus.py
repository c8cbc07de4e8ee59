"""Tests for sniproxy.cli.exitstatus: --help and the manual name the same numbers."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import sniproxy
from sniproxy.cli.exitstatus import INCOMPLETE, INTERRUPTED
from sniproxy.client.failures import FailureKind
from sniproxy.ctl import parser

DOCS = Path(sniproxy.__file__).parent.parent / "docs"
CAPTURE = {0, 1, 2, INCOMPLETE, INTERRUPTED}
"""Exit statuses of the commands that read a capture. argparse has 2."""


class DocumentedTests(SynchronousTestCase):
    """What operators read."""

    def help(self, command: str) -> str:
        """The help of a command, in one line."""
        return " ".join(parser()[1][command].format_help().split())

    def test_captures(self) -> None:
        """The help of inspect and topics, and the manual, list exactly the exit statuses of these commands."""
        for command in ("inspect", "topics"):
            statuses = self.help(command).rpartition("Exit status: ")[2]
            self.assertEqual(CAPTURE, {int(number) for number in re.findall(r"(?:^|; )(\d+): ", statuses)}, command)
            self.assertIn(f"{INCOMPLETE}: some packets were skipped", statuses)
        table = (DOCS / "howto" / "inspect.md").read_text().partition("| exit status of ")[2].partition("\n\n")[0]
        self.assertEqual(CAPTURE, {int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)})

    def test_lookup(self) -> None:
        """The help of lookup and the manual have the exit status after Ctrl-C; no kind of failure has the same."""
        self.assertIn(f"; {INTERRUPTED}: Ctrl-C;", self.help("lookup"))
        self.assertIn(f"; {INTERRUPTED}: Ctrl-C;", (DOCS / "reference" / "sniproxyctl.md").read_text())
        self.assertEqual(set(), CAPTURE & {int(kind) for kind in FailureKind})

    def test_interrupted(self) -> None:
        """The exit status after Ctrl-C is the one that shells report: 128 and the number of the signal."""
        self.assertEqual(128 + signal.SIGINT, INTERRUPTED)
