"""Tests for sniproxy.config.diagnostics.advice."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.advice import operator_warnings
from sniproxy.config.parser import parse


class AdviceTests(SynchronousTestCase):
    """operator_warnings."""

    def test_all_kinds(self) -> None:
        """Warnings come from the configuration, from a service name without a route, and from files."""
        path = Path(self.mktemp())
        text = (
            '[[listener]]\nendpoint = "tcp:4443"\n[timeouts]\nidle = 1\n'
            '[[route]]\nserver_name = "b-1.test"\ntarget = "10.0.0.1:6651"\n'
            '[[route]]\nserver_name = "b-2.test"\ntarget = "10.0.0.2:6651"\n'
        )
        path.write_text(text)
        path.chmod(0o666)
        found = operator_warnings(parse(text, str(path)))
        for part in ("timeouts.idle = 1", "no route seems to match the service name", "the configuration"):
            self.assertTrue(any(part in one for one in found), (part, found))
