"""Tests for sniproxy.proxyprotocol.header."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.proxyprotocol.header import Address, HeaderError, NoHeader, ProxyHeader


class HeaderTests(SynchronousTestCase):
    """ProxyHeader and Address."""

    def test_address(self) -> None:
        """An address is written as in logs."""
        self.assertEqual("192.0.2.7:50123", str(Address("192.0.2.7", 50123)))
        self.assertEqual("[2001:db8::7]:1", str(Address("2001:db8::7", 1)))

    def test_defaults(self) -> None:
        """A header may have neither addresses nor fields."""
        self.assertEqual(ProxyHeader(2, None, None, {}), ProxyHeader(2))

    def test_no_garbage(self) -> None:
        """Idle tunnels keep addresses, which the garbage collector need not look at."""
        one = Address("192.0.2.7", 50123)
        self.assertFalse(gc.is_tracked(one) or gc.is_tracked(ProxyHeader(1, "192.0.2.7:50123", one)))
        self.assertEqual({one}, {Address("192.0.2.7", 50123)})

    def test_errors(self) -> None:
        """A missing header is an error of its own kind."""
        self.assertTrue(issubclass(NoHeader, HeaderError))
