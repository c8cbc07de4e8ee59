"""Tests for L{sniproxy.util.reactor}."""

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import providedBy

from sniproxy.util.reactor import IReactor, global_reactor


class ReactorTests(SynchronousTestCase):
    """The reactor's type."""

    def test_global(self) -> None:
        """The global reactor is Twisted's."""
        self.assertIs(reactor, global_reactor())

    def test_interfaces(self) -> None:
        """The global reactor provides every interface that the type promises."""
        missing = [each.getName() for each in IReactor.getBases() if each not in providedBy(reactor).flattened()]
        self.assertEqual([], missing)
