"""Tests for sniproxy.cli.captureoptions."""

from __future__ import annotations

import argparse
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.captureoptions import add_inspect, add_topics


class OptionTests(SynchronousTestCase):
    """The command lines of inspect and topics."""

    def parse(self, *arguments: str) -> argparse.Namespace:
        commands = (top := argparse.ArgumentParser()).add_subparsers()
        add_inspect(commands)
        add_topics(commands)
        return top.parse_args(arguments)

    def test_lists(self) -> None:
        """Ports, patterns and commands repeat; ports and commands may be lists."""
        options = self.parse("inspect", "f", "--port", "1,2", "--port", "3", "--commands", "a, b,", "--commands", "c")
        self.assertEqual(([1, 2, 3], ["a", "b", "c"], []), (options.port, options.commands, options.follow))
        options = self.parse("inspect", "f", "--follow", "x,y", "--follow", "z")
        self.assertEqual(([], [], ["x,y", "z"]), (options.port, options.commands, options.follow))

    def test_bad_ports(self) -> None:
        """Ports that are no numbers, or out of range, are wrong usage."""
        said = StringIO()
        self.patch(sys, "stderr", said)
        for ports in ("x", "1,,2", "0", "65536", "-"):
            self.assertEqual(2, self.assertRaises(SystemExit, self.parse, "inspect", "f", "--port", ports).code)
            self.assertIn(f"invalid ports '{ports}'; write numbers from 1 to 65535", said.getvalue())

    def test_topics(self) -> None:
        """topics takes one capture, or endpoints."""
        options = self.parse("topics", "u", "v", "w", "--csv")
        self.assertEqual(("u", ["v", "w"], True, False), (options.file, options.others, options.csv, options.fold))

    def test_commands(self) -> None:
        """The help of inspect has all commands."""
        said = StringIO()
        self.patch(sys, "stdout", said)
        self.assertRaises(SystemExit, self.parse, "inspect", "--help")
        self.assertIn("WATCH_TOPIC_UPDATE.", said.getvalue())
