"""Tests for sniproxy.config.dump."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.dump import dump_configuration
from sniproxy.config.parser import parse
from tests.support.fullconfig import SECRET, TEXT


class InForceTests(SynchronousTestCase):
    """The configuration in /status."""

    def document(self, most: int = 100) -> dict[str, Any]:
        self.said = json.dumps(dump_configuration(parse(TEXT, "test.toml"), most))
        found: dict[str, Any] = json.loads(self.said)
        return found

    def test_listeners(self) -> None:
        """Each listener has its mode, and its destination if it needs no route."""
        public, ends, tap, bridge = self.document()["listeners"]
        self.assertEqual(
            {
                "name": "public",
                "endpoint": "tcp:4443:backlog=1024",
                "inspect": False,
                "mode": "tls",
                "deferred_accept": False,
                "proxy_protocol": None,
                "proxy_protocol_from": [],
            },
            public,
        )
        trusted = ("ends_tls", True, "certs", "ca.pem")
        self.assertEqual(trusted, tuple(ends[key] for key in ("mode", "inspect", "certificates", "upstream_trust")))
        self.assertEqual(("plaintext", ["127.0.0.1:6640"]), (tap["mode"], tap["targets"]))
        self.assertEqual(
            ("bridge", "pulsar+ssl://vip.test:6651", "proxy.test:4443", ["*.pulsar.test:6651"]),
            tuple(bridge[key] for key in ("mode", "service_url", "proxy", "allow")),
        )

    def test_routes(self) -> None:
        """Each route has its targets as written, or its resolvers, and its balance."""
        found = self.document()
        self.assertEqual(
            [
                {
                    "server_name": "a.test",
                    "listener": "public",
                    "targets": ["10.0.0.7:6651", "10.0.0.8:6651 weight=2"],
                    "resolvers": [],
                    "balance": "least_connections",
                    "max_connections": 9,
                    "only_from": None,
                    "send_proxy": None,
                    "target_source": None,
                },
                {
                    "server_name": "*.b.test",
                    "listener": None,
                    "targets": ["{1}.inside.test:6651"],
                    "resolvers": [],
                    "balance": "round_robin",
                    "max_connections": None,
                    "only_from": None,
                    "send_proxy": None,
                    "target_source": None,
                },
                {
                    "server_name": "c.test",
                    "listener": None,
                    "targets": [],
                    "resolvers": ["one", "two"],
                    "balance": "round_robin",
                    "max_connections": None,
                    "only_from": None,
                    "send_proxy": None,
                    "target_source": None,
                },
            ],
            found["routes"],
        )
        self.assertEqual(
            (3, ["one"], None), (found["route_count"], found["default"]["resolvers"], found["no_server_name"])
        )

    def test_values(self) -> None:
        """Configured values and defaults are shown."""
        found = self.document()
        expected = {"hello": 3, "connect": 10, "idle": 300, "half_closed": 60, "drain": 30, "upgrade_drain": 14400}
        self.assertEqual(expected, found["timeouts"])
        policy = {"allow_cidrs": ["10.0.0.0/8"], "allow_ports": [6651, 6652], "allow_names": None}
        self.assertEqual(policy, found["policy"])
        limits = found["limits"]
        self.assertEqual(
            (5, 5, ["10.1.0.0/16"], None),
            tuple(limits[key] for key in ("rate_per_client", "burst_per_client", "exempt", "max_connections")),
        )
        self.assertEqual({"check": "tcp", "interval": 5, "rise": 2, "fall": 3, "eject": 0}, found["health"])
        self.assertEqual(
            ("-", {"path": "-", "reveal": True, "follow": [], "commands": []}),
            (found["access_log"], found["inspect_log"]),
        )
        self.assertEqual("tcp:9090:interface=127.0.0.1:backlog=1024", found["admin"])
        keys = ("reload_on_change", "workers", "relay", "relay_threads")
        self.assertEqual((True, 1, "auto", 1), tuple(found[key] for key in keys))

    def test_no_secrets(self) -> None:
        """Options of resolvers are not shown."""
        self.document()
        self.assertNotIn(SECRET, self.said)

    def test_bounded(self) -> None:
        """Of many routes, listeners and targets the first are shown."""
        configuration = parse(TEXT, "test.toml")
        many = replace(configuration, routes=configuration.routes * 40_000)
        found = dump_configuration(many, 1)
        self.assertEqual((120_000, 1, 1), (found["route_count"], len(found["routes"]), len(found["listeners"])))
        self.assertEqual(["10.0.0.7:6651"], found["routes"][0]["targets"])
        self.assertEqual([6651], found["policy"]["allow_ports"])
