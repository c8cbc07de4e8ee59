"""Tests for sniproxy.cli.watchoptions."""

from __future__ import annotations

import argparse
import io
from contextlib import redirect_stderr

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.watchoptions import WatchAction, interval_type


class SecondsTests(SynchronousTestCase):
    """An interval of the command line."""

    def test_bounds(self) -> None:
        """A number within bounds is taken; all else is an error with the cure."""
        self.assertEqual((0.1, 2.0, 3600.0), tuple(map(interval_type, ("0.1", "2", "3600"))))
        for wrong in ("0", "-1", "3601", "nan", "inf", "x", ""):
            with self.assertRaises(argparse.ArgumentTypeError) as caught:
                interval_type(wrong)
            self.assertIn("from 0.1 to 3600", str(caught.exception))


class WatchTests(SynchronousTestCase):
    """--watch [SECONDS]."""

    def parse(self, *words: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        parser.add_argument("urls", nargs="*", default=[])
        parser.add_argument("--watch", nargs="?", action=WatchAction)
        parser.set_defaults(also=[])
        return parser.parse_intermixed_args(words)

    def test_watch(self) -> None:
        """The interval is optional; a word that is no number is a URL."""
        for words, expected in (
            ([], (None, [], [])),
            (["a", "--watch"], (2.0, ["a"], [])),
            (["--watch", "0.5", "a"], (0.5, ["a"], [])),
            (["--watch=7"], (7.0, [], [])),
            (["--watch", "127.0.0.1:9090"], (2.0, [], ["http://127.0.0.1:9090"])),
            (["--watch", "unix:/a", "b"], (2.0, ["b"], ["unix:/a"])),
        ):
            found = self.parse(*words)
            self.assertEqual(expected, (found.watch, found.urls, found.also), words)

    def test_wrong(self) -> None:
        """A number out of bounds is wrong usage."""
        for wrong in ("0", "9999", "1.2.3"):
            with redirect_stderr(io.StringIO()) as error, self.assertRaises(SystemExit):
                self.parse("--watch", wrong)
            self.assertIn("argument --watch: invalid interval", error.getvalue())
