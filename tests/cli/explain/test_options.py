"""Tests for sniproxy.cli.explain.options."""

from __future__ import annotations

import argparse
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.explain.options import NameArgument, add_explain, parse_client, parse_name, parse_port, parse_tlvs
from sniproxy.config.schema import ConfigError


class OptionTests(SynchronousTestCase):
    """The command line."""

    def parse(self, *arguments: str) -> argparse.Namespace:
        top = argparse.ArgumentParser()
        add_explain(top.add_subparsers())
        return top.parse_args(["explain", *arguments])

    def test_defaults(self) -> None:
        """A name and a configuration are required; --also repeats."""
        options = self.parse("a.test", "--config", "x.toml", "--also", "b", "--also", "c")
        self.assertEqual(("a.test", "x.toml", ["b", "c"]), (options.name, options.config, options.also))
        self.assertEqual((None, False, False, False), (options.listener, options.connect, options.all, options.json))

    def test_no_configuration(self) -> None:
        """A missing configuration is wrong usage."""
        self.patch(sys, "stderr", StringIO())
        self.assertEqual(2, self.assertRaises(SystemExit, self.parse, "a.test").code)

    def test_statuses(self) -> None:
        """The help explains the exit statuses."""
        said = StringIO()
        self.patch(sys, "stdout", said)
        self.assertRaises(SystemExit, self.parse, "--help")
        self.assertIn("Exit status: 0", said.getvalue())


class ClientTests(SynchronousTestCase):
    """--client and --proxy-tlv."""

    def test_client(self) -> None:
        """An IP address, with or without a port."""
        for text, client in (
            ("192.0.2.7", "192.0.2.7:0"),
            ("192.0.2.7:50123", "192.0.2.7:50123"),
            ("2001:DB8::7", "[2001:db8::7]:0"),
            ("[2001:db8::7]:5", "[2001:db8::7]:5"),
            ("::ffff:192.0.2.7", "192.0.2.7:0"),
        ):
            self.assertEqual(client, parse_client(text))
        for text in ("", "a.test", "192.0.2:7", "192.0.2.7:x", "vpce-1"):
            error = self.assertRaises(ConfigError, parse_client, text)
            self.assertIn("give an IP address", str(error))

    def test_tlvs(self) -> None:
        """Fields by name; the value may have an equals sign."""
        found = parse_tlvs(["aws_vpce_id=vpce-1", "0xe5=00=", "ssl_verified="])
        self.assertEqual({"aws_vpce_id": "vpce-1", "0xe5": "00=", "ssl_verified": ""}, found)
        for text, why in (("aws_vpce_id", "write NAME=VALUE"), ("vpce=1", "the names are alpn, authority")):
            self.assertIn(why, str(self.assertRaises(ConfigError, parse_tlvs, [text])))

    def test_port(self) -> None:
        """A port from 1 to 65535."""
        self.assertEqual((1, 65535), (parse_port("1"), parse_port("65535")))
        for text in ("", "0", "65536", "-1", "x", "1.5", "999999999"):
            self.assertIn("--proxy-port", str(self.assertRaises(ConfigError, parse_port, text)))


class NameArgumentTests(SynchronousTestCase):
    """parse_name."""

    def test_name(self) -> None:
        """A URL of a TLS service, host:port or a name gives the host."""
        for text in (
            "broker-1.test",
            "broker-1.test:6651",
            "broker-1.test/",
            "pulsar+ssl://broker-1.test",
            "pulsar+ssl://broker-1.test:6651/",
            "PULSAR+SSL://Broker-1.test:6651",
            "https://broker-1.test:8443/admin/v2?x=1#y",
            "BROKER-1.test.",
            "Broker-1.Test.:6651",
            " broker-1.test:6651/path ",
            "pulsar+ssl://broker-1.test.:6651/tenant/namespace",
            "wss://broker-1.test/ws/v2",
        ):
            self.assertEqual(NameArgument(("broker-1.test",)), parse_name(text))

    def test_plain(self) -> None:
        """A URL without TLS gives its host and its scheme."""
        for text, scheme in (
            ("pulsar://broker-1.test:6650", "pulsar"),
            ("PULSAR://Broker-1.test.", "pulsar"),
            ("http://broker-1.test:8080/admin", "http"),
            ("ws://broker-1.test", "ws"),
        ):
            self.assertEqual(NameArgument(("broker-1.test",), scheme), parse_name(text))

    def test_several(self) -> None:
        """All hosts of a service URL, each once; a path may follow."""
        for text in ("pulsar+ssl://a.test:6651,b.test:6651,A.test:6652/", "a.test,b.test", "a.test:1, b.test:2"):
            self.assertEqual(NameArgument(("a.test", "b.test")), parse_name(text))

    def test_address(self) -> None:
        """An IP address is kept."""
        for text in (
            "2001:db8::7",
            "[2001:db8::7]:6651",
            "pulsar+ssl://[2001:db8::7]:6651",
            "pulsar+ssl://2001:db8::7",
        ):
            self.assertEqual(NameArgument(("2001:db8::7",)), parse_name(text))

    def test_refused(self) -> None:
        """Invalid arguments are refused with the cure."""
        for text, cure in (
            ("persistent://public/default/t", "sniproxyctl lookup"),
            ("non-persistent://public/default/t", "sniproxyctl lookup"),
            ("ftp://broker-1.test", "unknown scheme"),
            ("pulsar+ssl://a.test:6651,", "the name is empty"),
            ("https://u:secret@broker-1.test", "give only the host"),
            ("broker-1.test:x", "bad port"),
            ("pulsar+ssl://", "the name is empty"),
        ):
            said = str(self.assertRaises(ConfigError, parse_name, text))
            self.assertIn(cure, said)
            self.assertNotIn("secret", said)
