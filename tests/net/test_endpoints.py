"""Tests for sniproxy.net.endpoints."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.endpoints import BadEndpoint, Endpoint, parse_endpoint


class ParseEndpointTests(SynchronousTestCase):
    """parse_endpoint: reads endpoint strings."""

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadEndpoint, parse_endpoint, text))

    def test_ipv6_colons(self) -> None:
        """The error for unescaped colons in an IPv6 address says how to escape them."""
        self.assertIn("escape the colons", self.refused("tcp6:4443:interface=::1"))

    def test_tcp(self) -> None:
        """Host and port of TCP endpoints are read, positional or named."""
        for text, kind, host, port in (
            ("tcp:4443", "tcp", "0.0.0.0", 4443),
            ("tcp:port=4443", "tcp", "0.0.0.0", 4443),
            ("tcp:0:interface=127.0.0.1", "tcp", "127.0.0.1", 0),
            ("tcp:4443:127.0.0.1", "tcp", "127.0.0.1", 4443),
            (" TCP:4443 ", "tcp", "0.0.0.0", 4443),
            ("tcp:interface=127.0.0.1:port=65535", "tcp", "127.0.0.1", 65535),
            ("tcp6:4443", "tcp6", "::", 4443),
            (r"tcp6:4443:interface=\:\:1", "tcp6", "::1", 4443),
            (r"tcp:4443:interface=2001\:db8\:\:7", "tcp", "2001:db8::7", 4443),
        ):
            read = parse_endpoint(text)
            self.assertEqual((read.kind, read.host, read.port), (kind, host, port), text)
            self.assertEqual(read.text, f"{text.strip()}:backlog=1024")

    def test_own_backlog(self) -> None:
        """A configured backlog is kept."""
        for text in ("tcp:4443:backlog=7", "tcp:4443:127.0.0.1:7", "tcp6:4443:backlog=7", "unix:/run/s:backlog=7"):
            self.assertEqual(parse_endpoint(text).text, text)

    def test_bad_backlog(self) -> None:
        """A backlog that is not a number is refused."""
        for text in ("tcp:4443:backlog=x", "tcp:4443:backlog=", "tcp:4443:backlog=0", "tcp:4443:127.0.0.1:x"):
            self.assertIn("bad backlog", self.refused(text))

    def test_others(self) -> None:
        """Other kinds are left to Twisted; UNIX sockets get the backlog, too."""
        self.assertEqual(
            parse_endpoint("unix:/run/sniproxy"), Endpoint("unix:/run/sniproxy:backlog=1024", "unix", None, None)
        )
        text = "systemd:domain=INET:index=0"
        self.assertEqual(parse_endpoint(text), Endpoint(text, "systemd", None, None))

    def test_not_plain(self) -> None:
        """Endpoints that terminate TLS, read PROXY headers or do not accept are refused, with the cure."""
        for text in (
            "ssl:4443:privateKey=k.pem",
            "tls:4443",
            "haproxy:tcp:4443",
            "stdio:",
            "SSL:4443",
            "HAProxy:tcp:4443",
        ):
            self.assertIn("tcp:", self.refused(text))

    def test_bare_number(self) -> None:
        """A bare port number is refused, with the cure."""
        self.assertEqual(self.refused("4443"), "write tcp:4443")

    def test_no_endpoint(self) -> None:
        """Text that is no endpoint string is refused with an example."""
        for text in ("", "tcp", "localhost", "unix"):
            self.assertIn("as in tcp:4443:interface=127.0.0.1", self.refused(text))

    def test_ports(self) -> None:
        """A port is a number from 0 to 65535."""
        for port in ("", "x", "-1", "65536", "99999", "0000000099999", "1e3", "\u0661", "9" * 5000):
            self.assertIn("bad port", self.refused(f"tcp:{port}"))
        self.assertIn("bad port", self.refused("tcp:interface=127.0.0.1"))

    def test_unknown_keys(self) -> None:
        """The error for an unknown key of a TCP endpoint names it."""
        self.assertIn("'iface'", self.refused("tcp:4443:iface=127.0.0.1"))

    def test_twisted_agrees(self) -> None:
        """Twisted reads the parsed endpoint as the same address, port and backlog."""
        for text, kind in (
            ("tcp:4443", TCP4ServerEndpoint),
            ("tcp:0:interface=127.0.0.1", TCP4ServerEndpoint),
            ("tcp:4443:127.0.0.1:7", TCP4ServerEndpoint),
            (r"tcp6:4443:interface=\:\:1", TCP6ServerEndpoint),
        ):
            ours = parse_endpoint(text)
            theirs = serverFromString(MemoryReactor(), ours.text)
            self.assertIsInstance(theirs, kind)
            self.assertEqual(theirs._port, ours.port)
            self.assertIn(theirs._interface, (ours.host, ""))
            self.assertIn(theirs._backlog, (7, 1024))

    def test_private(self) -> None:
        """By default only its owner can use a unix socket."""
        for text, theirs in (
            ("unix:/run/s", 0o600),
            ("unix:address=/run/s", 0o600),
            ("unix:/run/s:mode=660", 0o660),
            ("unix:/run/s:660", 0o660),
            ("unix:/run/s:lockfile=0", 0o600),
        ):
            ours = parse_endpoint(text).private()
            endpoint = serverFromString(MemoryReactor(), ours.text)
            self.assertEqual(("/run/s", theirs), (endpoint._address, endpoint._mode), text)
        tcp = parse_endpoint("tcp:9090")
        self.assertIs(tcp, tcp.private())
