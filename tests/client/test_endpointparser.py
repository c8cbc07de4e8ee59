"""Tests for sniproxy.client.endpointparser."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.client.endpointparser import LazyEndpointParser
from tests.support import programs


def parts(reactor: Any, host: str, port: str = "1") -> Any:
    """A factory that returns its arguments."""
    if host == "bad":
        raise TypeError("its own")
    return (reactor, host, port)


class LazyEndpointParserTests(SynchronousTestCase):
    """LazyEndpointParser."""

    def setUp(self) -> None:
        self.parser = LazyEndpointParser("test", "tests.client.test_endpointparser.parts")
        self.reactor: Any = object()

    def test_parts(self) -> None:
        """The factory gets the reactor and the parts; parts that do not fit give a ValueError; its own errors pass."""
        verifyObject(IStreamClientEndpointStringParserWithReactor, self.parser)
        verifyObject(IPlugin, self.parser)
        self.assertEqual(self.parser.parseStreamClient(self.reactor, "a", port="2"), (self.reactor, "a", "2"))
        for args, keys in ((("a", "1", "2"), {}), (("a",), {"host": "b"}), ((), {})):
            error = self.assertRaises(ValueError, self.parser.parseStreamClient, self.reactor, *args, **keys)
            self.assertIn("test: ", str(error))
        self.assertRaises(TypeError, self.parser.parseStreamClient, self.reactor, "bad")

    def test_installed(self) -> None:
        """Twisted finds the parser; this imports neither a reactor nor TLS."""
        prefixes = [parser.prefix for parser in getPlugins(IStreamClientEndpointStringParserWithReactor)]
        self.assertIn("sniproxy", prefixes)
        program = (
            "import sys, twisted.plugins.sniproxy_plugins\n"
            "bad = {'twisted.internet.reactor', 'sniproxy.client.endpoint', 'OpenSSL', 'service_identity'}\n"
            "print(sorted(bad & set(sys.modules)))"
        )
        ran = programs.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        self.assertEqual(ran.stdout, "[]\n", ran.stderr)
