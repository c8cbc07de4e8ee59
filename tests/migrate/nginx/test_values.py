"""Tests for values of nginx's directives."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.listening import Address
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.migrate.nginx.values import allowed, read_listen, seconds

CLIENTS = ["10.0.0.1", "10.0.1.1", "192.0.2.7", "::1", "fd00::7"]
RULES = st.tuples(
    st.sampled_from(["allow", "deny"]),
    st.sampled_from(["all", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.1", "192.0.2.0/24", "fd00::/8", "::1", "unix:"]),
)


def rule(name: str, value: str) -> Directive:
    return Directive(name, [value], "n.conf", 1)


class ValueTests(SynchronousTestCase):
    """Times, networks and addresses."""

    def test_times(self) -> None:
        """Times have units, seconds by default."""
        for text, value in (
            ("5", 5), ("60s", 60), ("1h 30m", 5400), ("500ms", 0.5), ("1d", 86400), ("0", 0), ("", None), ("x", None),
            ("5 x", None), ("1y1w1M", 31536000 + 604800 + 2592000),
        ):  # fmt: skip
            self.assertEqual(seconds(text), value, text)

    def test_networks(self) -> None:
        """The first rule that matches a client decides; without one it is allowed."""
        self.assertIsNone(allowed([]))
        self.assertIsNone(allowed([rule("allow", "all"), rule("deny", "10.0.0.1")]))
        self.assertEqual(allowed([rule("allow", "10.1.2.3/8"), rule("deny", "all")]), ["10.0.0.0/8"])
        self.assertEqual(allowed([rule("deny", "all")]), [])
        self.assertRaises(ValueError, allowed, [rule("allow", "h.test")])

    @given(st.lists(RULES, max_size=6), st.sampled_from(CLIENTS))
    def test_any_rules(self, rules: list[tuple[str, str]], client: str) -> None:
        """The networks have exactly the clients that the rules allow in order."""
        address = ipaddress.ip_address(client)
        expected = next(
            (
                name == "allow"
                for name, value in rules
                if value == "all" or (value != "unix:" and address in ipaddress.ip_network(value))
            ),
            True,
        )
        found = allowed([rule(name, value) for name, value in rules])
        self.assertEqual(found is None or any(address in ipaddress.ip_network(one) for one in found), expected, found)


class ListenTests(SynchronousTestCase):
    """The forms of listen."""

    def addresses(self, *words: str) -> list[Address] | None:
        found = read_listen(Directive("listen", list(words), "n.conf", 1))
        return None if found is None else [one.address for one in found]

    def test_addresses(self) -> None:
        """Ports, addresses, ranges and unix sockets."""
        for words, hosts in (
            (("443",), [Address("0.0.0.0", 443)]), (("*:443",), [Address("0.0.0.0", 443)]),
            (("10.0.0.1:1", "ssl"), [Address("10.0.0.1", 1)]), (("localhost:2",), [Address("127.0.0.1", 2)]),
            (("[::]:443",), [Address("::", 443)]),
            (("[::]:443", "ipv6only=off"), [Address("0.0.0.0", 443), Address("::", 443)]),
            (("10.0.0.1:5-6",), [Address("10.0.0.1", 5), Address("10.0.0.1", 6)]), (("7-7",), [Address("0.0.0.0", 7)]),
            (("unix:/run/a.sock",), [Address("unix", path="/run/a.sock")]),
        ):  # fmt: skip
            self.assertEqual(self.addresses(*words), hosts, words)

    def test_no_addresses(self) -> None:
        """Names, ranges backwards, too many ports and nothing."""
        for text in ("h.test:1", "10.0.0.1", "6-5", "1-65535", "0", ""):
            self.assertIsNone(self.addresses(text), text)
        self.assertIsNone(self.addresses())

    def test_default_server(self) -> None:
        """One server of an address may be the default."""
        for words, value in ((["1", "default_server"], True), (["1", "default"], True), (["1"], False)):
            found = read_listen(Directive("listen", words, "n.conf", 1))
            assert found is not None
            self.assertEqual(found[0].is_default, value)
