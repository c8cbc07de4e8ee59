"""Tests for sniproxy.cli.lookupoptions."""

from __future__ import annotations

import argparse
import sys
from io import StringIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.lookupoptions import add_lookup
from sniproxy.client.failures import FailureKind
from tests.support import programs


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser()
    add_lookup(top.add_subparsers())
    return top


class LookupOptionsTests(SynchronousTestCase):
    """add_lookup: the command line."""

    def parse(self, *arguments: str) -> Any:
        return parser().parse_args(["lookup", *arguments])

    def test_defaults(self) -> None:
        """Only a topic and a service URL are required."""
        options = self.parse("t", "--service-url", "u")
        self.assertEqual((options.topic, options.service_url, options.timeout), ("t", "u", 10.0))
        for name in ("proxy_service_url", "proxy_protocol", "trust", "certificate", "key", "token"):
            self.assertIsNone(getattr(options, name))
        self.assertEqual((options.listener, options.json), ("", False))

    def test_timeout(self) -> None:
        """A timeout may have a fraction, and is a day at most."""
        for text, seconds in (("0.5", 0.5), ("86400", 86_400.0)):
            self.assertEqual(seconds, self.parse("t", "--service-url", "u", "--timeout", text).timeout)

    def test_refused(self) -> None:
        """A missing service URL and an invalid timeout are wrong usage; --token cannot be abbreviated."""
        said = StringIO()
        self.patch(sys, "stderr", said)
        for arguments in (
            ["t"],
            ["t", "--service-url", "u", "--timeout", "0"],
            ["t", "--service-url", "u", "--timeout", "nan"],
            ["t", "--service-url", "u", "--timeout", "86401"],
            ["t", "--service-url", "u", "--timeout", "x"],
            ["t", "--service-url", "u", "--tok", "x"],
        ):
            self.assertEqual(self.assertRaises(SystemExit, self.parse, *arguments).code, 2, arguments)
        self.assertIn("invalid timeout 'x'", said.getvalue())

    def test_statuses(self) -> None:
        """The help names the exit status of each kind of failure."""
        said = StringIO()
        self.patch(sys, "stdout", said)
        self.assertRaises(SystemExit, self.parse, "--help")
        for kind in FailureKind:
            self.assertIn(f"  {int(kind)}  {kind.name.lower()}\n", said.getvalue())

    def test_light(self) -> None:
        """Importing the options loads neither the reactor nor TLS."""
        program = (
            "import sys, sniproxy.ctl\nbad = {'twisted.internet.reactor', 'OpenSSL', 'sniproxy.cli.lookup'}\n"
            "print(sorted(bad & set(sys.modules)))"
        )
        ran = programs.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        self.assertEqual(ran.stdout, "[]\n", ran.stderr)
