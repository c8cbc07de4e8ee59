"""Tests for sniproxy.cli.explain.options."""

from __future__ import annotations

import argparse
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.explain.options import NameArgument, add_explain, parse_name
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
