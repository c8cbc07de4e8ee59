"""Tests for sniproxy.cli.upgradeoptions."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli.upgradeoptions import DEFAULT_TIMEOUT_S, MIN_TIMEOUT_S
from sniproxy.server.upgrade.old import ANSWER_TIMEOUT_S, START_TIMEOUT_S
from sniproxy.server.workers.upgrade import REPLACE_TIMEOUT_S


class OptionsTests(SynchronousTestCase):
    """The options of ``upgrade``."""

    def test_options(self) -> None:
        """A file or an endpoint, and a bounded timeout."""
        options = ctl.parse(["upgrade", "-c", "x.toml"])
        self.assertEqual(("x.toml", None, None), (options.config, options.admin, options.timeout))
        options = ctl.parse(["upgrade", "--admin", "unix:/run/a.sock", "--timeout", "300"])
        self.assertEqual((None, "unix:/run/a.sock", 300.0), (options.config, options.admin, options.timeout))

    def test_timeout(self) -> None:
        """The command waits longer than the proxy waits for a new process that hangs."""
        self.assertGreater(MIN_TIMEOUT_S, START_TIMEOUT_S + ANSWER_TIMEOUT_S)
        self.assertGreaterEqual(DEFAULT_TIMEOUT_S, REPLACE_TIMEOUT_S)

    def test_usage(self) -> None:
        """Neither or both, and a timeout that is none or too short, are wrong usage."""
        one = ["--admin", "unix:/a"]
        for words in ([], ["-c", "x", *one], *([*one, "--timeout", text] for text in ("1", "x", "nan", "1e9"))):
            error = io.StringIO()
            self.patch(sys, "stderr", error)
            self.assertRaises(SystemExit, ctl.parse, ["upgrade", *words])
            self.assertIn("usage: sniproxyctl upgrade", error.getvalue())
