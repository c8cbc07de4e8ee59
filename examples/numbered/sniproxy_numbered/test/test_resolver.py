"""Tests for sniproxy_numbered.resolver."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.interfaces import BadOption, Refused, Resolution, Target
from sniproxy.resolvers import make_resolver
from sniproxy.testing import ResolverContract, question

TABLE = {"host": "gateway.internal", "base_port": 30000, "count": 4}
"""As in C{[resolver.NAME]}."""


class ContractTests(ResolverContract, TestCase):
    """What every resolver owes the proxy."""

    known = question("broker-3.pulsar.example.com")
    unknown = question("broker-4.pulsar.example.com")
    answers_at_once = True

    def make(self) -> Any:
        """By its type, as the proxy makes it: so the plugin is found, too."""
        return make_resolver("numbered", TABLE, reactor)


class NumberedTests(SynchronousTestCase):
    """What is this resolver's own."""

    def ask(self, name: str | None, **options: object) -> Any:
        return make_resolver("numbered", {**TABLE, **options}, None).resolve(question(name))

    def test_ports(self) -> None:
        """Each number has its port."""
        for number in range(4):
            wanted = Resolution([Target("gateway.internal", 30000 + number)])
            self.assertEqual(wanted, self.ask(f"broker-{number}.pulsar.example.com"))

    def test_prefix(self) -> None:
        """The prefix is the operator's."""
        self.assertEqual(Resolution([Target("gateway.internal", 30001)]), self.ask("pulsar1.test", prefix="pulsar"))

    def test_refused(self) -> None:
        """Names without a number that there is are refused, with those that there are."""
        for name in ("broker-4.test", "broker-03.test", "broker-.test", "bookie-1.test", "test", None):
            error = self.assertRaises(Refused, self.ask, name)
            self.assertIn("there are broker-0 to broker-3", error.reason)

    def test_bad_options(self) -> None:
        """An option that does not fit is named."""
        for key, value in (("count", 0), ("base_port", 0), ("base_port", 65533), ("host", "a b"), ("host", "a:1")):
            self.assertEqual(key, self.assertRaises(BadOption, self.ask, "broker-1.test", **{key: value}).key)
