"""Tests for sniproxy.events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Connection, Proxied, Result, packed_address, short_seconds


class ResultTests(SynchronousTestCase):
    """The closed set of results."""

    def test_closed_set(self) -> None:
        """The set of results does not change, because readers of access logs rely on it."""
        documented = (
            "ok no_route no_server_name no_certificate denied malformed_hello not_tls not_pulsar proxy_header "
            "hello_timeout client_gone resolver_failed connect_failed connect_timeout upstream_tls_failed tls_failed "
            "idle_timeout reset limit drained shutdown internal_error"
        )
        self.assertEqual([str(result) for result in Result], documented.split())


class ConnectionTests(SynchronousTestCase):
    """The record of a connection."""

    def test_fresh(self) -> None:
        """A new record has no values; without an end its result is internal_error."""
        fresh = Connection("id-1", 1.0, "public", "192.0.2.7:50123")
        self.assertEqual(
            (fresh.server_name, fresh.alpn, fresh.route, fresh.target, fresh.alert), (None, (), None, None, None)
        )
        self.assertEqual((fresh.received, fresh.bytes_up, fresh.bytes_down), (0, 0, 0))
        self.assertEqual((fresh.hello_s, fresh.resolve_s, fresh.connect_s, fresh.total_s), (None, None, None, 0.0))
        self.assertIs(fresh.result, Result.INTERNAL_ERROR)

    def test_other_authority(self) -> None:
        """The authority of a header, where it differs from the server name in more than case and a dot at the end."""
        for name, tlvs, other in (
            ("a.test", {"authority": "B.test"}, "B.test"),
            ("a.test", {"authority": "A.test."}, None),
            ("a.test", {}, None),
            (None, {"authority": "a.test"}, None),
        ):
            proxied = Proxied("10.0.0.9:1", tlvs)
            record = Connection("id-1", 1.0, "public", "192.0.2.7:50123", server_name=name, proxied=proxied)
            self.assertEqual(other, record.other_authority)
        self.assertIsNone(Connection("id-1", 1.0, "public", "192.0.2.7:50123", server_name="a.test").other_authority)

    def test_upstream(self) -> None:
        """The proxy's own address and port, IPv4 and IPv6, from one number."""
        fresh = Connection("id-1", 1.0, "public", "192.0.2.7:50123")
        self.assertEqual((None, None), (fresh.upstream_local, fresh.upstream_port))
        for host, port, text in (
            ("192.0.2.9", 50123, "192.0.2.9:50123"),
            ("0.0.0.0", 1, "0.0.0.0:1"),
            ("::1", 65535, "[::1]:65535"),
            ("2001:db8::9", 7, "[2001:db8::9]:7"),
        ):
            fresh.upstream = packed_address(host, port)
            self.assertEqual((text, port), (fresh.upstream_local, fresh.upstream_port))

    def test_short(self) -> None:
        """Short durations are whole microseconds, and equal ones are one object."""
        self.assertEqual(0.000123, short_seconds(0.0001234))
        self.assertIs(short_seconds(0.0001234), short_seconds(0.0001232))
        self.assertEqual(0.0, short_seconds(0.0))
        for seconds in (0.001, 0.0012345678, 3.25):
            self.assertIs(seconds, short_seconds(seconds))
