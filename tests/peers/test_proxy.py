"""Tests for tests.peers.proxy; all other tests here use a running proxy."""

from __future__ import annotations

import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import proxy


class ProxyTests(SynchronousTestCase):
    """Without a process."""

    def test_configuration(self) -> None:
        """The TOML has the listener, all routes, and the log."""
        text = proxy.configuration({"a.test": ["127.0.0.1:1", "127.0.0.1:2"]}, 0, Path("/tmp/a log"))
        self.assertEqual(
            tomllib.loads(text),
            {
                "listener": [{"endpoint": "tcp:0:interface=127.0.0.1", "name": "public"}],
                "route": [{"server_name": "a.test", "target": ["127.0.0.1:1", "127.0.0.1:2"]}],
                "access_log": {"path": "/tmp/a log"},
            },
        )

    def test_bridges(self) -> None:
        """The TOML of bridges has the log and no listener."""
        span = proxy.Span("vip.test:6651", "pulsar+ssl://127.0.0.1:1", Path("/tmp/ca"), more='inspect = "pulsar"')
        self.assertEqual(
            tomllib.loads(proxy.bridges([span], Path("/tmp/a log"))),
            {
                "bridge": [
                    {
                        "endpoint": "tcp:0:interface=127.0.0.1",
                        "name": "bridge-0",
                        "service_url": "pulsar+ssl://vip.test:6651",
                        "proxy_service_url": "pulsar+ssl://127.0.0.1:1",
                        "proxy_protocol": "SNI",
                        "trust": "/tmp/ca",
                        "inspect": "pulsar",
                    }
                ],
                "access_log": {"path": "/tmp/a log"},
            },
        )

    def test_listening(self) -> None:
        """The ports are those in the log, once all are there."""
        line = "2026-01-01T00:00:00+0000 [sniproxy.service#info] listener {}: listening on 127.0.0.1:{}"
        lines = ["starting up", line.format("public", 43211)]
        self.assertEqual(proxy._listening(lines, 1), [43211])
        self.assertIsNone(proxy._listening(lines, 2))
        self.assertEqual(proxy._listening([*lines, line.format("other", 1)], 2), [43211, 1])
        self.assertIsNone(proxy._listening(["starting up"], 1))
