"""Tests for sniproxy.proxyprotocol.sending."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.proxyprotocol.header import Address, ProxyHeader
from sniproxy.proxyprotocol.reader import read_header
from sniproxy.proxyprotocol.sending import SendProxy

SOURCE, DESTINATION = Address("192.0.2.7", 50123), Address("198.51.100.1", 4443)
VALUES = {"authority": "a.test", "unique_id": "7-1"}


class SendProxyTests(SynchronousTestCase):
    """SendProxy."""

    def read(self, settings: SendProxy, values: dict[str, str | None]) -> ProxyHeader:
        found = read_header(settings.header(SOURCE, DESTINATION, values))
        assert found is not None
        return found[0]

    def test_versions(self) -> None:
        """Each version has both addresses; only version 2 has fields."""
        self.assertEqual(ProxyHeader(1, str(SOURCE), DESTINATION), self.read(SendProxy(1), {**VALUES}))
        self.assertEqual(ProxyHeader(2, str(SOURCE), DESTINATION), self.read(SendProxy(2), {**VALUES}))

    def test_fields(self) -> None:
        """Only the chosen fields are sent, if they have a value."""
        both = SendProxy(2, ("unique_id", "authority"))
        self.assertEqual(VALUES, self.read(both, {**VALUES}).tlvs)
        self.assertEqual({"unique_id": "7-1"}, self.read(both, {"unique_id": "7-1", "authority": None}).tlvs)
        self.assertEqual({"authority": "a.test"}, self.read(SendProxy(2, ("authority",)), {**VALUES}).tlvs)

    def test_own(self) -> None:
        """A connection of the proxy itself says that it has no client."""
        self.assertEqual(b"PROXY UNKNOWN\r\n", SendProxy(1).own())
        self.assertEqual((ProxyHeader(2), 16), read_header(SendProxy(2, ("authority",)).own()))

    def test_text(self) -> None:
        """The version is shown as written."""
        self.assertEqual(["v1", "v2"], [SendProxy(1).text, SendProxy(2).text])
