"""Tests for sniproxy.config.limits."""

from __future__ import annotations

from ipaddress import ip_network

from sniproxy.config.limits import Limits, describe_limits
from sniproxy.config.parser import parse
from tests.support.configerrors import ErrorCase
from tests.support.proxies import LISTENER


class LimitsTests(ErrorCase):
    """[limits], and the limits of routes."""

    def limits(self, text: str) -> Limits:
        return parse(f"{LISTENER}[limits]\n{text}", "x.toml").limits

    def test_default(self) -> None:
        """By default only the number of open files limits connections."""
        configuration = parse(LISTENER + '[default]\ntarget = "a"\n', "x.toml")
        self.assertEqual(Limits(None, None, None, None, None, 1, None, ()), configuration.limits)
        self.assertFalse(configuration.limits.by_client)
        assert configuration.default is not None
        self.assertIsNone(configuration.default.max_connections)

    def test_keys(self) -> None:
        """Each key sets its field."""
        limits = self.limits(
            "max_connections = 1\nmax_connections_per_client = 2\nmax_hellos = 3\nmax_hellos_per_client = 4\n"
            "rate_per_client = 0.5\nburst_per_client = 6\nmax_buffered = 1048576\n"
            'exempt_cidrs = ["10.0.0.0/8", "fd00::/8"]\nmax_connecting = 8\nmax_connecting_per_route = 9'
        )
        self.assertEqual(
            Limits(1, 2, 3, 4, 0.5, 6, 1 << 20, (ip_network("10.0.0.0/8"), ip_network("fd00::/8")), 8, 9), limits
        )
        self.assertIn("max_connecting 8, max_connecting_per_route 9", describe_limits(limits))

    def test_routes(self) -> None:
        """Routes and defaults have limits of their own."""
        text = '[[route]]\nserver_name = "a"\ntarget = "a"\nmax_connections = 7\n'
        text += '[default]\ntarget = "a"\nmax_connections = 8\n[no_server_name]\ntarget = "a"\nmax_connections = 9'
        read = parse(LISTENER + text, "x.toml")
        assert read.default is not None
        assert read.no_server_name is not None
        routes = (*read.routes, read.default, read.no_server_name)
        self.assertEqual([7, 8, 9], [one.max_connections for one in routes])

    def test_burst(self) -> None:
        """The default burst is the number of connections of a second, and at least one."""
        bursts = [self.limits(f"rate_per_client = {rate}").burst_per_client for rate in ("0.1", "20", "2.5")]
        self.assertEqual([1, 20, 3], bursts)

    def test_by_client(self) -> None:
        """by_client is true with any of the limits by client."""
        for key in ("max_connections_per_client", "max_hellos_per_client", "rate_per_client"):
            self.assertTrue(self.limits(f"{key} = 1").by_client, key)
        self.assertFalse(self.limits("max_connections = 1\nmax_hellos = 1").by_client)

    def test_client(self) -> None:
        """An IPv4 address is one client, an IPv6 /64 network is one, and a unix socket has none."""
        limits = Limits()
        for host, client in (
            ("192.0.2.7", "192.0.2.7"),
            ("[2001:db8:0:1:2:3:4:5]", "2001:db8:0:1::/64"),
            ("[fe80::1%eth0]", "fe80::/64"),
            ("[::ffff:192.0.2.7]", "192.0.2.7"),
            ("", None),
        ):
            self.assertEqual(client, limits.client(host))

    def test_exempt(self) -> None:
        """Addresses in exempt networks have no limits; addresses of the other IP version do."""
        limits = self.limits('max_connections_per_client = 1\nexempt_cidrs = ["10.0.0.0/8", "2001:db8::/128"]')
        self.assertEqual((None, None), (limits.client("10.1.2.3"), limits.client("[2001:db8::]")))
        self.assertIsNone(limits.client("[::ffff:10.1.2.3]"))
        self.assertEqual(("11.1.2.3", "2001:db8::/64"), (limits.client("11.1.2.3"), limits.client("[2001:db8::1]")))

    def test_describe(self) -> None:
        """Configured limits are described in one line."""
        self.assertEqual("none, capped by open files", describe_limits(Limits()))
        text = 'max_buffered = 2000000\nmax_connections = 9\nrate_per_client = 2.5\nexempt_cidrs = ["10.0.0.0/8"]'
        said = "max_connections 9, rate_per_client 2.5 (burst 3), max_buffered 2000000, exempt 10.0.0.0/8"
        self.assertEqual(said, describe_limits(self.limits(text)))

    def test_bad(self) -> None:
        """The error for an invalid value has its place and the cure."""
        for text, said in (
            (
                "[limits]\nmax_connections = 0",
                "limits.max_connections = 0: must be a number from 1 to 100000000; remove",
            ),
            ("[limits]\nmax_connections_per_client = -1", "limits.max_connections_per_client = -1"),
            ("[limits]\nmax_hellos = 100000001", "limits.max_hellos = 100000001"),
            ("[limits]\nmax_hellos_per_client = 0", "limits.max_hellos_per_client = 0"),
            ("[limits]\nmax_connecting = 0", "limits.max_connecting = 0"),
            ("[limits]\nmax_connecting_per_route = 0", "limits.max_connecting_per_route = 0"),
            (
                "[limits]\nrate_per_client = 0",
                "limits.rate_per_client = 0.0: must be a number of connections per second",
            ),
            ("[limits]\nrate_per_client = nan", "limits.rate_per_client = nan"),
            ("[limits]\nburst_per_client = 3", "limits.burst_per_client = 3: it requires rate_per_client"),
            ("[limits]\nrate_per_client = 1\nburst_per_client = 0", "limits.burst_per_client = 0: must be a number"),
            (
                "[limits]\nmax_buffered = 65536",
                "limits.max_buffered = 65536: must be a number of bytes, 1048576 or more",
            ),
            ('[limits]\nexempt_cidrs = ["10.0.0.7/8"]', 'limits.exempt_cidrs = "10.0.0.7/8": host bits are set'),
            (
                "[limits]\nmax_connection = 1",
                "limits.max_connection = 1: unknown key; did you mean max_connections?",
            ),
            ('[default]\ntarget = "a"\nmax_connections = 0', "default.max_connections = 0: must be a number from 1"),
            (
                '[[route]]\nserver_name = "a"\ntarget = "a"\nmax_connections = 0',
                "route[0].max_connections = 0: must be a number from 1",
            ),
        ):
            self.refused_at_end(text, said)
