"""Tests for sniproxy.resolvers.dns.resolvconf."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.dns.resolvconf import LOCAL, ResolvConf, parse_resolv_conf, parse_server


class ParseTests(SynchronousTestCase):
    """A resolv.conf, parsed as libc does."""

    def test_servers(self) -> None:
        """The first three servers count; without one it is this machine; invalid lines are ignored."""
        text = "# x\nnameserver 192.0.2.53\nnameserver ns.test\nnameserver ::1 # y\nnameserver\n; nameserver 192.0.2.9"
        self.assertEqual((("192.0.2.53", 53), ("::1", 53)), parse_resolv_conf(text).servers)
        self.assertEqual(3, len(parse_resolv_conf("nameserver 192.0.2.1\n" * 5).servers))
        self.assertEqual(LOCAL, parse_resolv_conf("").servers)

    def test_search(self) -> None:
        """The last C{search} or C{domain} counts; the default is this machine's domain."""
        for text, search in (
            ("search A.test b.test.", ("a.test", "b.test")),
            ("search a.test\ndomain c.test", ("c.test",)),
            ("domain c.test\nsearch .", ("",)),
            ("", ("home.test",)),
        ):
            self.assertEqual(search, parse_resolv_conf(text, "host.home.test").search)
        self.assertEqual((), parse_resolv_conf("", "host").search)

    def test_options(self) -> None:
        """C{ndots}, C{timeout}, C{attempts} and C{rotate} are used within libc's limits; other options are ignored."""
        conf = parse_resolv_conf("options ndots:5 edns0\noptions timeout:1 attempts:3 rotate\n")
        self.assertEqual((5, 1.0, 3, True), (conf.ndots, conf.timeout, conf.attempts, conf.rotate))
        conf = parse_resolv_conf("options ndots:99 timeout:0 attempts:x")
        self.assertEqual((15, 1.0, 2, False), (conf.ndots, conf.timeout, conf.attempts, conf.rotate))

    def test_environment(self) -> None:
        """C{LOCALDOMAIN} replaces the search list, C{RES_OPTIONS} adds options, as in resolv.conf(5)."""
        text = "search a.test\noptions ndots:2 timeout:3\n"
        conf = parse_resolv_conf(text, "", {"LOCALDOMAIN": "b.test c.test", "RES_OPTIONS": "ndots:4 rotate"})
        self.assertEqual((("b.test", "c.test"), 4, 3.0, True), (conf.search, conf.ndots, conf.timeout, conf.rotate))
        self.assertEqual((), parse_resolv_conf(text, "host.home.test", {"LOCALDOMAIN": ""}).search)

    def test_zones(self) -> None:
        """A server with an invalid IPv6 zone is ignored: a socket would not raise OSError for it."""
        for zone in ("\ufffd", "\0", "\x7f"):
            self.assertEqual(LOCAL, parse_resolv_conf(f"nameserver fe80::1%{zone}\n").servers)
        self.assertEqual((("fe80::1%eth0", 53),), parse_resolv_conf("nameserver fe80::1%eth0\n").servers)

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Any text is parsed and yields a server."""
        self.assertTrue(parse_resolv_conf(text).servers)


class CandidatesTests(SynchronousTestCase):
    """The candidates for a name."""

    def test_order(self) -> None:
        """A name with fewer dots than C{ndots} is first looked up in the search list, others unchanged."""
        conf = ResolvConf(search=("ns.test", "test"))
        self.assertEqual(["b.ns.test", "b.test", "b"], conf.candidates("b"))
        self.assertEqual(["b.c", "b.c.ns.test", "b.c.test"], conf.candidates("b.c"))
        self.assertEqual("b.c", ResolvConf(search=("test",), ndots=2).candidates("b.c")[-1])

    def test_exact(self) -> None:
        """Addresses use no search list; names that would be too long are left out; the root adds nothing."""
        conf = ResolvConf(search=("test", ""))
        self.assertEqual(["192.0.2.1"], conf.candidates("192.0.2.1"))
        long = ".".join(["x" * 60] * 4 + ["y" * 8])
        self.assertEqual([long], conf.candidates(long))


class ServerTests(SynchronousTestCase):
    """Addresses of name servers."""

    def test_parse(self) -> None:
        """Addresses with and without a port."""
        for text, server in (
            ("192.0.2.53", ("192.0.2.53", 53)),
            ("192.0.2.53:5353", ("192.0.2.53", 5353)),
            ("2001:DB8::53", ("2001:db8::53", 53)),
            ("[2001:db8::53]", ("2001:db8::53", 53)),
            ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ):
            self.assertEqual(server, parse_server(text))

    def test_bad(self) -> None:
        """Other texts are refused."""
        for text in ("", "ns.test", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:70000", "[::1", "[::1]53", "1.2.3.4:a"):
            self.assertRaises(ValueError, parse_server, text)
