"""Tests for sniproxy.cli.conversation.options."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl


class OptionsTests(SynchronousTestCase):
    """The options of ``record`` and ``replay``."""

    def test_defaults(self) -> None:
        """Nothing secret is kept, and nothing waits without a bound."""
        options = ctl.parse(["record", "x.pcap"])
        self.assertEqual((False, False, False), (options.payloads, options.properties, options.credentials))
        self.assertEqual((100_000, 64 << 20, None), (options.max_frames, options.max_bytes, options.seconds))
        options = ctl.parse(["replay", "--as", "broker", "a", "b"])
        self.assertEqual((["a", "b"], 10.0, 300.0, None), (options.files, options.timeout, options.wait, options.times))

    def test_values(self) -> None:
        """Options repeat; a factor may be 0."""
        options = ctl.parse(["record", "x", "--topic", "a", "--topic", "b", "--connection", "2", "--seconds", "0.5"])
        self.assertEqual((["a", "b"], [2], 0.5), (options.topic, options.connection, options.seconds))
        self.assertEqual(0.0, ctl.parse(["replay", "--as", "client", "a", "--times", "0"]).times)

    def test_warning(self) -> None:
        """The help warns of kept credentials."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertRaises(SystemExit, ctl.parse, ["record", "--help"])
        self.assertIn("WARNING", out.getvalue())

    def test_usage(self) -> None:
        """Numbers that are none, too small or too large are wrong usage."""
        for words in (
            ["record", "x", "--max-frames", "0"],
            ["record", "x", "--connection", "²"],
            ["record", "x", "--max-bytes", "9" * 13],
            ["record", "x", "--seconds", "0"],
            ["record", "x", "--seconds", "nan"],
            ["replay", "--as", "broker", "x", "--timeout", "inf"],
            ["replay", "--as", "broker", "x", "--times", "-1"],
            ["replay", "--as", "proxy", "x"],
            ["replay", "x"],
            ["replay", "--as", "broker"],
        ):
            error = io.StringIO()
            self.patch(sys, "stderr", error)
            raised = self.assertRaises(SystemExit, ctl.parse, words)
            self.assertEqual(2, raised.code, words)
