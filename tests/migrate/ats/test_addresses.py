"""Tests for sniproxy.migrate.ats.addresses."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.ats.addresses import BadAddresses, networks, split_list


class SplitListTests(SynchronousTestCase):
    """split_list."""

    def test_items(self) -> None:
        """Items are separated by commas or lines; comments and blanks are no items."""
        self.assertEqual(["a", "b", "c"], split_list("a, b\n# x\nc # y\n,\n"))
        self.assertEqual([], split_list(" \n#"))


class NetworksTests(SynchronousTestCase):
    """networks."""

    def test_forms(self) -> None:
        """Addresses, networks and ranges of both families."""
        for text, found in (
            ("192.0.2.1", ["192.0.2.1/32"]),
            ("192.0.2.7/24", ["192.0.2.0/24"]),
            ("192.0.2.0-192.0.2.255", ["192.0.2.0/24"]),
            ("192.0.2.1 - 192.0.2.4", ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/32"]),
            ("123.12.3.000-123.12.003.127", ["123.12.3.0/25"]),
            ("0/0", ["0.0.0.0/0"]),
            ("10/8", ["10.0.0.0/8"]),
            ("::/0", ["::/0"]),
            ("2001:db8::7", ["2001:db8::7/128"]),
            ("[2001:db8::7]", ["2001:db8::7/128"]),
            ("2001:db8::-2001:db8::f", ["2001:db8::/124"]),
        ):
            self.assertEqual(found, networks([text]), text)

    def test_merged(self) -> None:
        """Neighbours are merged, IPv4 first."""
        self.assertEqual(["10.0.0.0/23", "::1/128"], networks(["::1", "10.0.1.0/24", "10.0.0.0/24", "10.0.0.5"]))

    def test_errors(self) -> None:
        """An error names the item."""
        for text in (
            "",
            "x",
            "192.0.2",
            "192.0.2.1/33",
            "192.0.2.4-192.0.2.1",
            "192.0.2.1-::1",
            "1-2-3",
            "10.0.0.0-",
            "@f",
        ):
            self.assertIn("is no address", str(self.assertRaises(BadAddresses, networks, [text])), text)

    @given(st.text("0123456789abcdef.:-/[] ", max_size=30))
    def test_any(self, text: str) -> None:
        """Any text gives networks or an error."""
        try:
            found = networks([text])
        except BadAddresses:
            return
        self.assertEqual(found, [str(ipaddress.ip_network(one)) for one in found])
