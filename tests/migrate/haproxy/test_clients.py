"""Tests for L{sniproxy.migrate.haproxy.clients}."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.clients import ALL, Clients, parse_networks

networks = st.lists(st.builds("10.0.0.{}/{}".format, st.integers(0, 255), st.integers(24, 32)))


def has(clients: Clients, address: str) -> bool:
    """Whether an address is in one of the networks."""
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(text) for text in clients.networks())


class ClientsTests(SynchronousTestCase):
    """Sets of addresses."""

    def test_networks(self) -> None:
        """Networks are joined where they touch."""
        found = parse_networks(["10.0.1.0/24", "10.0.0.0/24", "192.0.2.7", "10.0.0.9/255.255.255.0", "2001:db8::1"])
        self.assertEqual(found.networks(), ("10.0.0.0/23", "192.0.2.7/32", "2001:db8::1/128"))
        self.assertRaises(ValueError, parse_networks, ["nowhere.test"])

    def test_complement(self) -> None:
        """The complement has all other addresses of both families."""
        self.assertEqual(ALL.networks(), ("0.0.0.0/0", "::/0"))
        self.assertEqual((~ALL).networks(), ())
        self.assertFalse(~ALL)
        self.assertEqual((~parse_networks(["0.0.0.0/1"])).networks(), ("128.0.0.0/1", "::/0"))
        self.assertEqual((ALL - parse_networks(["128.0.0.0/1", "::/0"])).networks(), ("0.0.0.0/1",))

    @given(networks, networks, st.integers(0, 255))
    def test_operations(self, one: list[str], other: list[str], last: int) -> None:
        """Union, intersection and complement hold for each address."""
        a, b, address = parse_networks(one), parse_networks(other), f"10.0.0.{last}"
        self.assertEqual(has(a | b, address), has(a, address) or has(b, address))
        self.assertEqual(has(a & b, address), has(a, address) and has(b, address))
        self.assertEqual(has(~a, address), not has(a, address))
        self.assertEqual(~~a, a)
