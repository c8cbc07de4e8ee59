"""Tests for sniproxy.resolvers.refuse."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import IServerNameResolver, Refused, Request
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.refuse import RefusingResolver

REQUEST = Request("a.test", (), "192.0.2.7:1", "public")


class RefusingResolverTests(SynchronousTestCase):
    """No name has a target."""

    def test_reason(self) -> None:
        """The reason is the configured one, or says that the configuration refuses the name."""
        for options, reason in (({}, "the configuration refuses this name"), ({"reason": "closed"}, "closed")):
            resolver = make_resolver("refuse", options, None)
            self.assertTrue(verifyObject(IServerNameResolver, resolver))
            self.assertIsInstance(resolver, RefusingResolver)
            error = self.assertRaises(Refused, resolver.resolve, REQUEST)
            self.assertEqual(reason, error.reason)
