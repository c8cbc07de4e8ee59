"""Tests for sniproxy.cli.reloadoptions."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl


class OptionsTests(SynchronousTestCase):
    """The options of ``reload``."""

    def test_options(self) -> None:
        """The file and the process; both are required, and a process has an id."""
        options = ctl.parse(["reload", "--config", "x.toml", "--pid", "7"])
        self.assertEqual(("x.toml", 7), (options.config, options.pid))
        for words in (["--config", "x"], ["--pid", "7"], ["--config", "x", "--pid", "1"], ["-c", "x", "--pid", "a"]):
            error = io.StringIO()
            self.patch(sys, "stderr", error)
            self.assertRaises(SystemExit, ctl.parse, ["reload", *words])
            self.assertIn("usage: sniproxyctl reload", error.getvalue())
