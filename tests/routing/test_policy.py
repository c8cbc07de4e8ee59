"""Tests for sniproxy.routing.policy."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import BadValue, Target
from sniproxy.routing.policy import Network, Policy, make_policy

# From the two registries, with what each block is for; the ones inside another block too.
IANA_IPV4 = """
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
255.255.255.255/32
"""
IANA_IPV6 = """
::1/128 ::/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128
2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2620:4f:8000::/48
3fff::/20 5f00::/16 fc00::/7 fe80::/10
"""
MULTICAST = ["224.0.0.0/4", "ff00::/8"]
EMBEDDING = ["::ffff:0:0/96", "64:ff9b::/96", "2002::/16"]
"""Of the registry too: they are what is inside."""

PUBLIC = ["8.8.8.8", "1.1.1.1", "193.0.6.139", "100.128.0.1", "172.32.0.1", "2a00:1450:4001::1", "2001:4860::8888"]


def formed(host: str = "a.test", port: int = 6651) -> Target:
    return Target(host, port, client_formed=True)


def ends(network: Network) -> list[str]:
    """The first, a middle and the last address of a network."""
    return [str(network[0]), str(network[network.num_addresses // 2]), str(network[-1])]


def clothes(inner: ipaddress.IPv4Address) -> list[str]:
    """The forms in which IPv6 contains an IPv4 address."""
    number = int(inner)
    return [
        str(ipaddress.IPv6Address(value))
        for value in (
            0xFFFF << 32 | number,
            0x64FF9B << 96 | number,
            0x2002 << 112 | number << 80 | 7,
        )
    ]


class AddressTests(SynchronousTestCase):
    """Addresses that client-formed names may have."""

    def refusal(self, address: str, policy: Policy = Policy()) -> str | None:  # noqa: B008
        return policy.refuses(formed(), address)

    def test_public(self) -> None:
        """Public addresses are allowed, also inside IPv6."""
        for address in PUBLIC:
            self.assertIsNone(self.refusal(address), address)
        for address in clothes(ipaddress.IPv4Address("8.8.8.8")):
            self.assertIsNone(self.refusal(address), address)

    def test_special(self) -> None:
        """All of IANA's special-purpose ranges, and multicast, are refused, and the reason names the range."""
        for text in [*IANA_IPV4.split(), *IANA_IPV6.split(), *MULTICAST]:
            for address in ends(ipaddress.ip_network(text)):
                said = self.refusal(address)
                self.assertIsNotNone(said, address)
                self.assertRegex(str(said), r"^the address is [\w ,:.4-]+ \(.+/\d+\), .*allow_cidrs")

    def test_embedded(self) -> None:
        """Refused IPv4 ranges are also refused inside IPv6: mapped, NAT64 and 6to4."""
        for text in [*IANA_IPV4.split(), MULTICAST[0]]:
            for address in ends(ipaddress.ip_network(text)):
                for dressed in clothes(ipaddress.IPv4Address(address)):
                    self.assertIsNotNone(self.refusal(dressed), dressed)
        self.assertIn("as 10.0.0.7 inside IPv6", str(self.refusal("64:ff9b::a00:7")))
        self.assertIn("the address is private (10.0.0.0/8), and", str(self.refusal("::ffff:10.0.0.7")))

    def test_reserved(self) -> None:
        """IPv6 outside of global unicast is refused; so are site-local, IPv4-compatible and scoped addresses."""
        for address in ("4000::1", "::10.0.0.7", "::ffff:0:10.0.0.7", "fec0::1", "fe80::1%lo", "200::1", "e000::1"):
            self.assertIsNotNone(self.refusal(address), address)

    @given(st.ip_addresses())
    def test_no_weaker_than_python(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        """No address that Python's tables call private, link-local, multicast or similar is allowed."""
        if any(address in ipaddress.ip_network(text) for text in EMBEDDING if address.version == 6):
            return
        if not address.is_global or address.is_multicast or address.is_reserved:
            self.assertIsNotNone(self.refusal(str(address)), address)

    @given(st.ip_addresses(v=4))
    def test_clothes_change_nothing(self, address: ipaddress.IPv4Address) -> None:
        """An IPv4 address and its IPv6 forms have the same verdict."""
        for dressed in clothes(address):
            self.assertEqual(self.refusal(str(address)) is None, self.refusal(dressed) is None, dressed)

    def test_allowed_cidrs(self) -> None:
        """A network in allow_cidrs is allowed, also inside IPv6; adjacent addresses are not."""
        policy = make_policy(["10.1.0.0/16", "fd00::/8", "::1/128"], None, None)
        for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::1", "::1"):
            self.assertIsNone(self.refusal(address, policy), address)
        for address in ("10.2.0.1", "fc00::1", "127.0.0.1", "::"):
            self.assertIsNotNone(self.refusal(address, policy), address)

    @given(st.ip_addresses(), st.integers(0, 128))
    def test_any_cidr(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int) -> None:
        """An address is allowed if it is in any of the networks."""
        network = ipaddress.ip_network(f"{address}/{min(length, address.max_prefixlen)}", strict=False)
        try:
            policy = make_policy([str(network)], None, None)
        except BadValue:
            self.assertIn("ffff", str(network))
            return
        if getattr(address, "ipv4_mapped", None) is None:
            self.assertIsNone(self.refusal(str(address), policy))


class TargetTests(SynchronousTestCase):
    """Targets that the policy checks, before and after the lookup."""

    def test_only_what_clients_form(self) -> None:
        """Targets that the operator wrote are allowed at any address."""
        strict = make_policy([], [1], ["b.test"])
        for address in (None, "127.0.0.1", "10.0.0.7", "224.0.0.1"):
            self.assertIsNone(strict.refuses(Target("a.test", 22), address))

    def test_ports(self) -> None:
        """Only 6651 is allowed by default; ports are checked before the lookup."""
        self.assertIsNone(Policy().refuses(formed(), None))
        self.assertEqual("port 22 is not in [policy] allow_ports (6651)", Policy().refuses(formed(port=22), None))
        two = make_policy([], [6651, 4443], None)
        self.assertIsNone(two.refuses(formed(port=4443), None))
        self.assertIn("(4443, 6651)", str(two.refuses(formed(port=1), "8.8.8.8")))

    def test_names(self) -> None:
        """Hosts match as a route's server_name does; they are checked before the lookup."""
        policy = make_policy([], None, ["a.test", "*.W.test.", r"~broker-[0-9]+\.test", "8.8.8.8"])
        for host in ("a.test", "x.y.w.test", "broker-7.test", "8.8.8.8"):
            self.assertIsNone(policy.refuses(formed(host), None), host)
        for host in ("b.test", "w.test", "broker-x.test", "8.8.4.4", "a.test.b"):
            self.assertEqual("the host is not in [policy] allow_names", policy.refuses(formed(host), None))

    def test_looked_up_names(self) -> None:
        """For a target that a resolver has looked up, both name and address are checked."""
        policy = make_policy([], None, ["*.good.test"])
        self.assertIsNone(policy.refuses(Target("8.8.8.8", 6651, client_formed=True, name="a.good.test"), "8.8.8.8"))
        for name in ("a.bad.test", ""):
            refused = policy.refuses(Target("8.8.8.8", 6651, client_formed=True, name=name), None)
            self.assertEqual("the host is not in [policy] allow_names", refused)
        target = Target("10.0.0.1", 6651, client_formed=True, name="a.good.test")
        self.assertIn("private", str(policy.refuses(target, "10.0.0.1")))

    def test_equal(self) -> None:
        """Policies with the same settings are equal."""
        self.assertEqual(make_policy([], None, ["a"]), make_policy((), [6651], ("A.",)))


class MakePolicyTests(SynchronousTestCase):
    """make_policy: from the keys of a configuration."""

    def refused(self, cidrs: list[str], ports: list[int] | None, names: list[str] | None, key: str, said: str) -> None:
        error = self.assertRaises(BadValue, make_policy, cidrs, ports, names)
        self.assertEqual(key, error.key)
        self.assertIn(said, str(error))

    def test_cidrs(self) -> None:
        """An invalid network is refused, and so is an IPv4-mapped one, which would never match."""
        self.refused(["10.0.0.0/33"], None, None, "allow_cidrs", "10.0.0.0/8")
        self.refused(["a.test"], None, None, "allow_cidrs", "10.0.0.0/8")
        self.refused(["10.1.0.0/8"], None, None, "allow_cidrs", "write 10.0.0.0/8")
        self.refused(["::ffff:10.0.0.0/104"], None, None, "allow_cidrs", "write the IPv4 network")
        self.assertEqual(make_policy(["10.0.0.7"], None, None), make_policy(["10.0.0.7/32"], None, None))

    def test_ports(self) -> None:
        """Ports are from 1 to 65535, and at least one."""
        self.refused([], [6651, 65536], None, "allow_ports", "1 to 65535")
        self.refused([], [], None, "allow_ports", "remove the key")

    def test_names(self) -> None:
        """Names are patterns, and at least one."""
        self.refused([], None, ["*"], "allow_names", "[default]")
        self.refused([], None, ["~("], "allow_names", "invalid regular expression")
        self.refused([], None, [], "allow_names", "remove the key")
