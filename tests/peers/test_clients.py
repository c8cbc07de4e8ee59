"""Tests for tests.peers.clients."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import clients
from tests.peers.needs import require


class RunTests(SynchronousTestCase):
    """A shell in place of a client."""

    def test_reports_and_log(self) -> None:
        """Reports are separated from other output."""
        require("setpriv")
        script = """echo 'WARN {"retry": 1}'; echo '{"topic": "t", "sent": 2}'; echo trouble >&2; exit 3"""
        outcome = clients.run(["sh", "-c", script])
        self.assertEqual((outcome.reports, outcome.status), ([{"topic": "t", "sent": 2}], 3))
        self.assertEqual(outcome.log, 'WARN {"retry": 1}\ntrouble\n')

    def test_hosts(self) -> None:
        """All names in a private /etc/hosts are loopback."""
        file = Path(self.mktemp())
        clients.write_hosts(file, ["a.test", "b.test"])
        self.assertEqual(file.read_text(), "127.0.0.1 localhost a.test b.test\n")
