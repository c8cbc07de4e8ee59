"""Tests for sniproxy.cli.subcommand."""

from __future__ import annotations

import argparse
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.subcommand import add_command


class AddTests(SynchronousTestCase):
    """add_command."""

    def setUp(self) -> None:
        self.top = argparse.ArgumentParser(prog="ctl")
        parser = add_command(self.top.add_subparsers(), "move", "move it", "Moves it far.", epilog="No way back.")
        parser.add_argument("--verbose", action="store_true")
        self.error = StringIO()
        self.patch(sys, "stderr", self.error)

    def test_help(self) -> None:
        """The list of commands has the summary; the command's own help has the description and the settings."""
        self.assertIn("move it", self.top.format_help())
        said = StringIO()
        self.patch(sys, "stdout", said)
        self.assertRaises(SystemExit, self.top.parse_args, ["move", "--help"])
        self.assertIn("Moves it far.", said.getvalue())
        self.assertIn("No way back.", said.getvalue())

    def test_no_abbreviation(self) -> None:
        """An option must be written in full."""
        self.assertTrue(self.top.parse_args(["move", "--verbose"]).verbose)
        error = self.assertRaises(SystemExit, self.top.parse_args, ["move", "--verb"])
        self.assertEqual(2, error.code)
        self.assertIn("unrecognized arguments: --verb", self.error.getvalue())

    def test_usage(self) -> None:
        """A command reports wrong usage as its parser does: the usage, the error, and exit status 2."""
        options = self.top.parse_args(["move"])
        error = self.assertRaises(SystemExit, options.usage, "nowhere to go")
        self.assertEqual(2, error.code)
        self.assertIn("ctl move: error: nowhere to go", self.error.getvalue())
