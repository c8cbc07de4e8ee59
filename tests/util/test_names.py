"""Tests for sniproxy.util.names."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.names import (
    MAX_NAME_CHARS,
    BadName,
    bracketed,
    client_of,
    host_port,
    ip_literal,
    pattern,
    plain_host_port,
    sent_name,
    server_name,
)


class ServerNameTests(SynchronousTestCase):
    """server_name: the normalised form."""

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadName, server_name, text))

    def test_normalised(self) -> None:
        """Names are lower case, without one trailing dot."""
        for text, name in (
            ("a", "a"),
            ("Broker-1.PULSAR.test", "broker-1.pulsar.test"),
            ("broker_1.pulsar.test.", "broker_1.pulsar.test"),
            ("-a-._.9", "-a-._.9"),
            ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ):
            self.assertEqual(server_name(text), name)

    def test_addresses(self) -> None:
        """IP addresses get their shortest form, without a trailing dot."""
        for text, name in (
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7.", "192.0.2.7"),
            ("2001:DB8::0007", "2001:db8::7"),
            ("::", "::"),
        ):
            self.assertEqual(server_name(text), name)

    @given(st.from_regex(r"[a-z0-9_.-]{0,70}\n?|([a-z]{60,64}\.){3,4}a", fullmatch=True))
    def test_as_it_is_kept(self, text: str) -> None:
        """The fast path for normalised names gives the same result as the general one."""
        try:
            wanted = server_name(f"A{text}")[1:]
        except BadName as error:
            self.assertEqual(str(error), self.refused(f"a{text}"))
        else:
            self.assertEqual(wanted, server_name(f"a{text}")[1:])

    def test_lengths(self) -> None:
        """A name has at most 253 characters, a label at most 63."""
        longest = ".".join(["a" * 63] * 3 + ["b" * 61])
        self.assertEqual(len(longest), MAX_NAME_CHARS)
        self.assertEqual(server_name(longest + "."), longest)
        self.assertIn("254 characters", self.refused(longest + "c"))
        self.assertIn("more than 63", self.refused("a." + "b" * 64))

    def test_empty(self) -> None:
        """An empty name and empty labels are refused, also two trailing dots."""
        for text in ("", "."):
            self.assertIn("the name is empty", self.refused(text))
        for text in ("..", ".a", "a..b", "a.b.."):
            self.assertIn("a label of the name is empty", self.refused(text))

    def test_characters(self) -> None:
        """Characters other than letters, digits, dash, underscore and dot are refused, and shown."""
        for text, shown in (
            ("a b", "' '"),
            ("a\0", r"'\x00'"),
            ("a\n", r"'\n'"),
            ("a/b", "'/'"),
            ("*.a", "'*'"),
            ("a:1", "':'"),
            ("[::1]", "'['"),
            ("fe80::1%eth0", "':'"),
            ("b\xfccher.test", r"'\xfc'"),
            ("B\xdcCHER.test", r"'\xdc'"),
        ):
            self.assertIn(f"the character {shown} is not allowed", self.refused(text))

    def test_lower_case_inside_ascii(self) -> None:
        """A non-ASCII character with an ASCII lower case (the Kelvin sign) does not become a letter."""
        self.refused("bro\N{KELVIN SIGN}er.test")

    @given(st.text(max_size=20) | st.from_regex(r"[A-Za-z0-9_.:-]{1,30}", fullmatch=True))
    def test_idempotent(self, text: str) -> None:
        """Normalising is idempotent; any other text gives BadName."""
        try:
            name = server_name(text)
        except BadName:
            return
        self.assertEqual(server_name(name), name)
        self.assertTrue(name.isascii() and name == name.lower() and 1 <= len(name) <= MAX_NAME_CHARS)


class PatternTests(SynchronousTestCase):
    """pattern: names, wildcards and addresses."""

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadName, pattern, text))

    def test_names(self) -> None:
        """A name, an address with or without brackets, or a star in front of a name."""
        for text, normalised in (
            ("Broker-1.Test.", "broker-1.test"),
            ("10.0.0.7", "10.0.0.7"),
            ("2001:DB8::7", "2001:db8::7"),
            ("[2001:DB8::7]", "2001:db8::7"),
            ("*.EU.Pulsar.test.", "*.eu.pulsar.test"),
            ("*.test", "*.test"),
        ):
            self.assertEqual(pattern(text), normalised)

    def test_star_alone(self) -> None:
        """'*' alone is refused; the message suggests [default]."""
        self.assertIn("[default]", self.refused("*"))

    def test_star_elsewhere(self) -> None:
        """A star inside a label, in the middle or twice is refused."""
        for text in ("a*.test", "*a.test", "a.*.test", "*.*.test", "**.test", "*test", "a.*"):
            self.assertIn("whole leftmost label", self.refused(text))

    def test_rest_is_aname(self) -> None:
        """After the star comes a name, not an address."""
        self.assertIn("empty", self.refused("*."))
        self.assertIn("empty", self.refused("*..a"))
        for text in ("*.10.0.0.7", "*.2001:db8::7"):
            self.assertIn("an IP address has no names below it", self.refused(text))


class IPLiteralTests(SynchronousTestCase):
    """ip_literal: recognises addresses."""

    def test_addresses(self) -> None:
        """Addresses of both families, in any spelling, get their shortest form."""
        for text, shortest in (
            ("127.0.0.1", "127.0.0.1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("2001:db8:0:0:0:0:0:a", "2001:db8::a"),
            ("::ffff:192.0.2.7", str(ipaddress.ip_address("::ffff:192.0.2.7"))),
        ):
            self.assertEqual(ip_literal(text), shortest)

    def test_names(self) -> None:
        """Text that only resembles an address is not one; neither is an address with a zone."""
        addresses = ("1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.x4", "::g", "fe80::1%1", "1:2")
        for text in ("", "a", "a1", "1", *addresses):
            self.assertIsNone(ip_literal(text), text)


class HostPortTests(SynchronousTestCase):
    """host_port and bracketed: the text of an address with and without a port."""

    def test_brackets(self) -> None:
        """Only IPv6 addresses have brackets."""
        for host, expected in (
            ("192.0.2.7", "192.0.2.7:1"),
            ("a.test", "a.test:1"),
            ("2001:db8::7", "[2001:db8::7]:1"),
        ):
            self.assertEqual(expected, host_port(host, 1))
            self.assertEqual(expected.removesuffix(":1"), bracketed(host))


class ClientTests(SynchronousTestCase):
    """client_of: the client of a peer address."""

    def test_networks(self) -> None:
        """The addresses of one IPv6 /64 network are one client; an IPv4 address is one, in any spelling."""
        for peer, client in (
            ("192.0.2.7:50123", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
            ("[2001:db8::7]:1", "2001:db8::/64"),
            ("[2001:db8::1:0:0:9]:2", "2001:db8::/64"),
            ("[2001:db8:0:1::7]:1", "2001:db8:0:1::/64"),
            ("somewhere", "somewhere"),
        ):
            self.assertEqual(client, client_of(peer))


class PlainHostPortTests(SynchronousTestCase):
    """plain_host_port: the shortest form of an address and port."""

    def test_forms(self) -> None:
        """All forms of Java and Netty are read, with and without brackets and slash."""
        for text, shortest in (
            ("10.0.0.5:43210", "10.0.0.5:43210"),
            ("/127.0.0.1:41244", "127.0.0.1:41244"),
            ("localhost/127.0.0.1:41244", "127.0.0.1:41244"),
            ("[0:0:0:0:0:0:0:1]:39152", "[::1]:39152"),
            ("/[fd00:0:0:0:0:0:0:5]:1", "[fd00::5]:1"),
            ("ip6-localhost/0:0:0:0:0:0:0:1:39152", "[::1]:39152"),
            ("0:0:0:0:0:0:0:1:443", "[::1]:443"),
            ("[FD00::5]:65535", "[fd00::5]:65535"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("::ffff:127.0.0.1:80", "127.0.0.1:80"),
            ("0:0:0:0:0:ffff:7f00:1:80", "127.0.0.1:80"),
            ("/[fe80:0:0:0:0:0:0:7%eth0]:5", "[fe80::7]:5"),
            ("/fe80:0:0:0:0:0:0:7%eth0:5", "[fe80::7]:5"),
        ):
            self.assertEqual(shortest, plain_host_port(text), text)
            self.assertEqual(shortest, plain_host_port(shortest))

    def test_other_texts(self) -> None:
        """A name, an address without a port, a bad port and anything else are none."""
        for text in (
            "127.0.0.1", "::1", "[::1]", "fd00::5", "localhost:80", "host/<unresolved>:80", "", "/", ":80", "x",
            "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:\u0661", "127.0.0.256:80",
            "127.0.0.1:80 ", "[::1:80", "::1]:80", "http://127.0.0.1:80", "[1:2]:80", "%eth0:80",
        ):  # fmt: skip
            self.assertIsNone(plain_host_port(text), text)

    def test_ends_in_port(self) -> None:
        """A compressed IPv6 address without brackets has a port only where that is known."""
        self.assertIsNone(plain_host_port("2001:db8::7:5"))
        self.assertEqual("[2001:db8::7]:5", plain_host_port("2001:db8::7:5", ends_in_port=True))
        self.assertEqual("10.0.0.5:1", plain_host_port("10.0.0.5:1", ends_in_port=True))


class InternationalisedTests(SynchronousTestCase):
    """Names outside ASCII."""

    def test_cure(self) -> None:
        """The cure is the name in its ASCII form."""
        self.assertIn("write it as xn--brker-kua.test", str(self.assertRaises(BadName, server_name, "bröker.test")))

    def test_sent(self) -> None:
        """Bytes that are not UTF-8 are decoded as Latin-1."""
        for data, name in (
            (b"a.test", "a.test"),
            (b"br\xc3\xb6ker", "bröker"),
            (b"br\xf6ker", "bröker"),
            (b"\xff", "ÿ"),
        ):
            self.assertEqual(name, sent_name(data))

    def test_no_cure(self) -> None:
        """A name without a valid ASCII form gets no cure; the message stays printable."""
        for name in ("é\x00a", "é b", "é%"):
            said = str(self.assertRaises(BadName, server_name, name))
            self.assertNotIn("write it as", said)
            self.assertTrue(said.isprintable())
