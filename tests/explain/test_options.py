"""Tests for sniproxy.explain.options."""

from __future__ import annotations

import argparse
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.explain.options import add_explain


class OptionTests(SynchronousTestCase):
    """The command line."""

    def parse(self, *arguments: str) -> argparse.Namespace:
        top = argparse.ArgumentParser()
        add_explain(top.add_subparsers())
        return top.parse_args(["explain", *arguments])

    def test_defaults(self) -> None:
        """A name and a configuration are all that is needed; names to cover repeat."""
        options = self.parse("a.test", "--config", "x.toml", "--also", "b", "--also", "c")
        self.assertEqual(("a.test", "x.toml", ["b", "c"]), (options.name, options.config, options.also))
        self.assertEqual((None, False, False, False), (options.listener, options.connect, options.all, options.json))

    def test_no_configuration(self) -> None:
        """Without a configuration it is wrong usage."""
        self.patch(sys, "stderr", StringIO())
        self.assertEqual(2, self.assertRaises(SystemExit, self.parse, "a.test").code)

    def test_statuses(self) -> None:
        """The help says what the exit statuses mean."""
        said = StringIO()
        self.patch(sys, "stdout", said)
        self.assertRaises(SystemExit, self.parse, "--help")
        self.assertIn("Exit status: 0", said.getvalue())
