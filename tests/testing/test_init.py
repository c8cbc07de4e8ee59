"""Tests for sniproxy.testing."""

import sys

from twisted.trial.unittest import SynchronousTestCase

import sniproxy.testing
from sniproxy.testing import resolvers
from tests.support import programs


class NamesTests(SynchronousTestCase):
    """The names of the package."""

    def test_names(self) -> None:
        """The names of the resolvers' contract are names of the package; there are no others."""
        for name in ("MANY", "ROUNDS", "ResolverContract", "question"):
            self.assertIs(getattr(resolvers, name), getattr(sniproxy.testing, name))
        self.assertRaises(AttributeError, getattr, sniproxy.testing, "nothing")

    def test_light(self) -> None:
        """The package loads nothing of Twisted until a name is used; the cluster installs no reactor."""
        program = (
            "import sys, sniproxy.testing\n"
            "print([name for name in sys.modules if name.startswith(('twisted', 'sniproxy.testing.'))])\n"
            "from sniproxy.testing.pulsar import PulsarCluster\n"
            "with PulsarCluster(1, tls=True): pass\n"
            "print('twisted.internet.reactor' in sys.modules)"
        )
        ran = programs.run([sys.executable, "-c", program], capture_output=True, text=True)
        self.assertEqual(("[]\nFalse\n", 0), (ran.stdout, ran.returncode), ran.stderr)
