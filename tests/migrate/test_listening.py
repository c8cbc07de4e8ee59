"""Tests for addresses to listen on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.listening import Address, port_number, split_address
from sniproxy.net.endpoints import parse_endpoint


class ListeningTests(SynchronousTestCase):
    """Endpoints and addresses."""

    def test_endpoints(self) -> None:
        """Each address is an endpoint that our own parser reads."""
        for address, text in (
            (Address("0.0.0.0", 1), "tcp:1"), (Address("10.0.0.1", 2), "tcp:2:interface=10.0.0.1"),
            (Address("::", 3), "tcp6:3"), (Address("fd00::1", 4), "tcp6:4:interface=fd00\\:\\:1"),
            (Address("unix", path="/a:b\\c"), "unix:/a\\:b\\\\c"),
        ):  # fmt: skip
            self.assertEqual(address.endpoint, text)
            if address.port:
                self.assertEqual(parse_endpoint(text).host, address.host)

    def test_split(self) -> None:
        """Hosts and ports, with and without brackets."""
        for text, parts in (
            ("80", ("", "80")), ("[::]:80", ("::", "80")), ("[::1]", ("::1", "")), ("::1", ("::1", "")),
            ("a.test", ("a.test", "")), ("a.test:1", ("a.test", "1")), ("*:1", ("*", "1")), ("", ("", "")),
        ):  # fmt: skip
            self.assertEqual(split_address(text), parts)

    def test_ports(self) -> None:
        """Ports are numbers from 1 to 65535."""
        self.assertEqual(
            [port_number(text) for text in ("1", "65535", "0", "65536", "", "x", "\u0663")],
            [1, 65535, None, None, None, None, None],
        )
