"""Tests for sniproxy.server.workers.entrance."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers.entrance import prepare


class PrepareTests(SynchronousTestCase):
    """prepare: sockets that systemd passed."""

    def test_passed(self) -> None:
        """The process may use passed sockets; without any the environment stays unchanged."""
        environment = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
        prepare(environment, 4711)
        self.assertEqual({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "LISTEN_PID": "4711"}, environment)
        environment = {}
        prepare(environment, 4711)
        self.assertEqual({}, environment)
