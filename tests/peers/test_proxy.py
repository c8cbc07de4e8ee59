"""How the proxy under test is configured and waited for; that it works is what all other tests here show."""

from __future__ import annotations

import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import proxy


class ProxyTests(SynchronousTestCase):
    """Without a process."""

    def test_configuration(self) -> None:
        """It is TOML with the listener, all routes, and the log."""
        text = proxy.configuration({"a.test": ["127.0.0.1:1", "127.0.0.1:2"]}, 0, Path("/tmp/a log"))
        self.assertEqual(
            tomllib.loads(text),
            {
                "listener": [{"endpoint": "tcp:0:interface=127.0.0.1", "name": "public"}],
                "route": [{"server_name": "a.test", "target": ["127.0.0.1:1", "127.0.0.1:2"]}],
                "access_log": {"path": "/tmp/a log"},
            },
        )

    def test_listening(self) -> None:
        """The port is the one that the proxy says it got."""
        line = "2026-01-01T00:00:00+0000 [sniproxy.service#info] listener public: listening on 127.0.0.1:43211"
        self.assertEqual(proxy._listening(["starting up", line]), 43211)
        self.assertIsNone(proxy._listening(["starting up"]))
