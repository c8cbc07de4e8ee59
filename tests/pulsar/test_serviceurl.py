"""Tests for sniproxy.pulsar.serviceurl."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar.serviceurl import (
    BadServiceURL,
    ProxyProtocol,
    ProxySettings,
    ServiceURL,
    SniProxy,
    parse_service_url,
    pip60,
)

SERVICE = "pulsar+ssl://pulsar-vip.test:6651"
PROXY = "pulsar+ssl://proxy.example.com:4443"


class ParseServiceURLTests(SynchronousTestCase):
    """parse_service_url: valid and invalid service URLs."""

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadServiceURL, parse_service_url, text))

    def test_read(self) -> None:
        """Scheme, hosts and ports are read; missing ports are Pulsar's defaults; a slash may end the URL."""
        for text, tls, hosts in (
            ("pulsar+ssl://a.test:1234", True, [("a.test", 1234)]),
            ("pulsar+ssl://a.test", True, [("a.test", 6651)]),
            ("pulsar://a.test", False, [("a.test", 6650)]),
            ("pulsar://a.test:65535/", False, [("a.test", 65535)]),
            ("PULSAR+SSL://A.Test./", True, [("a.test", 6651)]),
            ("pulsar+ssl://a.test,b.test:7", True, [("a.test", 6651), ("b.test", 7)]),
            ("pulsar+ssl://a.test,[2001:DB8::7]", True, [("a.test", 6651), ("2001:db8::7", 6651)]),
            ("pulsar+ssl://[::1]:7", True, [("::1", 7)]),
            ("pulsar://127.0.0.1", False, [("127.0.0.1", 6650)]),
            ("pulsar://broker_1", False, [("broker_1", 6650)]),
        ):  # fmt: skip
            self.assertEqual(parse_service_url(text), ServiceURL(tls, tuple(hosts)), text)

    def test_text(self) -> None:
        """str() gives all ports, and brackets where needed."""
        url = parse_service_url("PULSAR+SSL://A.test,[::1]/")
        self.assertEqual(str(url), "pulsar+ssl://a.test:6651,[::1]:6651")
        self.assertEqual(str(parse_service_url("pulsar://a.test")), "pulsar://a.test:6650")

    @given(
        st.booleans(),
        st.lists(
            st.tuples(
                st.sampled_from(["a.test", "b", "x-1.y_2.test", "192.0.2.7", "2001:db8::7"]), st.integers(1, 65535)
            ),
            min_size=1,
            max_size=3,
        ),
    )
    def test_round_trip(self, tls: bool, hosts: list[tuple[str, int]]) -> None:
        """The text of a URL is read as the same URL."""
        url = ServiceURL(tls, tuple(hosts))
        self.assertEqual(parse_service_url(str(url)), url)

    @given(st.text(alphabet="pulsar+:/[]@,.0519%?#\x00é ", max_size=30))
    def test_any_text(self, text: str) -> None:
        """Any text gives a URL or an error in one line of printable text."""
        for whole in (text, f"pulsar+ssl://{text}"):
            try:
                parse_service_url(whole)
            except BadServiceURL as error:
                self.assertTrue(str(error).isprintable())

    def test_refused(self) -> None:
        """An invalid service URL is an error with the value and the cure."""
        for text, cure in (
            ("", "write pulsar+ssl:// (TLS) or pulsar://"),
            ("a.test:6651", "write pulsar+ssl:// (TLS) or pulsar://"),
            ("https://a.test", "does not support lookups over HTTP"),
            ("pulsar+ssl://", "the name is empty"),
            ("pulsar+ssl://a.test,", "the name is empty"),
            ("pulsar+ssl://a b", "' ' is not allowed"),
            ("pulsar+ssl://a.test/x", "'/' after the hosts"),
            ("pulsar+ssl://a.test?x", "'?' after the hosts"),
            ("pulsar+ssl://a.test#x", "'#' after the hosts"),
            ("pulsar+ssl://a.test:", "bad port ''"),
            ("pulsar+ssl://a.test:0", "from 1 to 65535"),
            ("pulsar+ssl://a.test:65536", "from 1 to 65535"),
            ("pulsar+ssl://a.test:+1", "bad port '+1'"),
            ("pulsar+ssl://2001:db8::7", "brackets"),
            ("pulsar+ssl://[::1", "as in [2001:db8::7]:6651"),
            ("pulsar+ssl://[::1]7", "as in [2001:db8::7]:6651"),
            ("pulsar+ssl://[a.test]", "remove the brackets"),
        ):
            said = self.refused(text)
            self.assertIn(cure, said)
            self.assertIn(repr(text), said)

    def test_password(self) -> None:
        """A password in a URL is an error that does not show it."""
        for text in ("pulsar+ssl://user:geheim@a.test", "http://user:geheim@a.test"):
            self.assertNotIn("geheim", self.refused(text))

    def test_hostile(self) -> None:
        """A long or unprintable text is bounded and escaped."""
        said = self.refused("pulsar+ssl://" + "\x1b" * 5000)
        self.assertLess(len(said), 1000)
        self.assertTrue(said.isprintable())

    def test_what(self) -> None:
        """An error calls the URL by the given name."""
        error = self.assertRaises(BadServiceURL, parse_service_url, "x", "the answer's URL")
        self.assertTrue(str(error).startswith("the answer's URL 'x': "))


class Pip60Tests(SynchronousTestCase):
    """pip60: the two proxy settings and the service URL."""

    def refused(self, *settings: Any) -> str:
        return str(self.assertRaises(BadServiceURL, pip60, *settings))

    def test_both(self) -> None:
        """Both settings give the proxy; the protocol is a name in any case or a member; any scheme is accepted."""
        expected = ProxySettings(parse_service_url(SERVICE), SniProxy("proxy.example.com", 4443))
        for protocol in ("SNI", "sni", "Sni", ProxyProtocol.SNI):
            self.assertEqual(pip60(SERVICE, PROXY, protocol), expected)
        self.assertEqual(pip60(SERVICE, "pulsar://Proxy.example.com:4443/", "SNI"), expected)
        self.assertEqual(str(expected.proxy), "proxy.example.com:4443")

    def test_none(self) -> None:
        """Without the settings, brokers are dialled directly, with or without TLS."""
        self.assertEqual(pip60(SERVICE), ProxySettings(parse_service_url(SERVICE), None))
        self.assertFalse(pip60("pulsar://a.test").service_url.tls)

    def test_one(self) -> None:
        """One setting alone is an error that names the other."""
        self.assertIn("without proxy_protocol", self.refused(SERVICE, PROXY))
        self.assertIn("without proxy_service_url", self.refused(SERVICE, None, "SNI"))

    def test_protocol(self) -> None:
        """An unknown protocol is an error that names the known one."""
        for protocol in ("SNI ", "SNI2", "SOCKS5", ""):
            self.assertIn(f"unknown proxy_protocol {protocol!r}; write SNI", self.refused(SERVICE, PROXY, protocol))

    def test_not_tls(self) -> None:
        """A proxy for a service URL without TLS is an error; Java clients silently ignore the proxy."""
        said = self.refused("pulsar://pulsar-vip.test:6650", PROXY, "SNI")
        self.assertIn("service_url 'pulsar://pulsar-vip.test:6650' does not use TLS", said)
        self.assertIn("write pulsar+ssl://", said)

    def test_proxy_url(self) -> None:
        """The proxy's URL must have one host and a port."""
        self.assertIn(
            "has no port; add the proxy's port", self.refused(SERVICE, "pulsar+ssl://proxy.example.com", "SNI")
        )
        self.assertIn("has 2 hosts", self.refused(SERVICE, "pulsar+ssl://a:1,b:2", "SNI"))
        self.assertIn("proxy_service_url 'x': ", self.refused(SERVICE, "x", "SNI"))
        self.assertIn("service_url 'x': ", self.refused("x", PROXY, "SNI"))
