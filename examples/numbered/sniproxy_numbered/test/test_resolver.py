"""Tests for sniproxy_numbered.resolver."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.interfaces import BadOption, Refused, Resolution, Target
from sniproxy.resolvers import make_resolver
from sniproxy.testing import ResolverContract, question

TABLE = {"host": "gateway.internal", "base_port": 30000, "count": 4}
"""The contents of C{[resolver.NAME]}."""


class ContractTests(ResolverContract, TestCase):
    """The contract of all resolvers."""

    known = question("broker-3.pulsar.example.com")
    unknown = question("broker-4.pulsar.example.com")
    answers_at_once = True

    def make(self) -> Any:
        """Make it by its type, as the proxy does, so that the plugin is tested, too."""
        return make_resolver("numbered", TABLE, reactor)


class NumberedTests(SynchronousTestCase):
    """What this resolver does beyond the contract."""

    def ask(self, name: str | None, **options: object) -> Any:
        return make_resolver("numbered", {**TABLE, **options}, None).resolve(question(name))

    def test_ports(self) -> None:
        """Each number has its port."""
        for number in range(4):
            wanted = Resolution([Target("gateway.internal", 30000 + number)])
            self.assertEqual(wanted, self.ask(f"broker-{number}.pulsar.example.com"))

    def test_prefix(self) -> None:
        """The prefix is an option."""
        self.assertEqual(Resolution([Target("gateway.internal", 30001)]), self.ask("pulsar1.test", prefix="pulsar"))

    def test_refused(self) -> None:
        """A name without a known number is refused; the reason has the known ones."""
        for name in ("broker-4.test", "broker-03.test", "broker-.test", "bookie-1.test", "test", None):
            error = self.assertRaises(Refused, self.ask, name)
            self.assertIn("known: broker-0 to broker-3", error.reason)

    def test_bad_options(self) -> None:
        """The error names the invalid option."""
        for key, value in (("count", 0), ("base_port", 0), ("base_port", 65533), ("host", "a b"), ("host", "a:1")):
            self.assertEqual(key, self.assertRaises(BadOption, self.ask, "broker-1.test", **{key: value}).key)
