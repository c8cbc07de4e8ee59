"""Tests for sniproxy.routing.brokernames."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sniproxy.routing.brokernames import BrokerName, IBrokerDirectory


class BrokerDirectoryTests(SynchronousTestCase):
    """IBrokerDirectory, which resolvers provide."""

    def test_provided(self) -> None:
        """A resolver that answers for a host and a port provides it."""

        @implementer(IBrokerDirectory)
        class Directory:
            def names_of(self, host: str, port: int) -> Sequence[BrokerName]:
                return (BrokerName("broker-1.test", "external", True),)

        self.assertTrue(verifyObject(IBrokerDirectory, Directory()))
