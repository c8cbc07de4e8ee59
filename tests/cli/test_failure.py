"""Tests for sniproxy.cli.failure."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.failure import CommandFailed


class CommandFailedTests(SynchronousTestCase):
    """The report of a failed command."""

    def test_report(self) -> None:
        """Each line has the name of the program."""
        self.assertEqual("sniproxyctl: a: b", CommandFailed("a: b").report)
        self.assertEqual("sniproxyctl: a\nsniproxyctl: b", CommandFailed("a\nb").report)

    def test_status(self) -> None:
        """The exit status is 1, unless the command says another one."""
        self.assertEqual((1, 2), (CommandFailed("a").status, CommandFailed("a", 2).status))
