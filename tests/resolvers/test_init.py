"""Tests for sniproxy.resolvers: finding and making resolvers."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy import resolvers
from sniproxy.interfaces import (
    BadOption,
    IDescribedResolverMaker,
    IResolverMaker,
    IServerNameResolver,
    Kind,
    Option,
)
from sniproxy.resolvers import LazyResolverMaker, make_resolver, makers, missing, options_of
from sniproxy.resolvers.static import StaticResolver
from tests.resolvers.oldmaker import OldMaker, ThirdPartyResolver

OPTIONS = (Option("port", Kind.INTEGER, "a port", 7), Option("file", Kind.PATH, "a file", None))


class MakerTests(SynchronousTestCase):
    """Makers found through twisted.plugin."""

    def test_found(self) -> None:
        """The static resolver is installed as a plugin, with its help."""
        found = {maker.name: maker for maker in makers()}
        self.assertIn("static", found)
        self.assertTrue(verifyObject(IResolverMaker, found["static"]))
        self.assertTrue(IPlugin.providedBy(found["static"]))
        self.assertTrue(found["static"].help)

    def test_made(self) -> None:
        """make_resolver takes the name of a type."""
        resolver = make_resolver("static", {"target": "a.test:1"}, None)
        self.assertIsInstance(resolver, StaticResolver)
        self.assertTrue(verifyObject(IServerNameResolver, resolver))

    def test_options_and_reactor(self) -> None:
        """An installed maker gets the options and the reactor."""
        custom = LazyResolverMaker("custom", "a custom type", f"{__name__}.ThirdPartyResolver")
        self.patch(resolvers, "getPlugins", lambda interface, package: iter([custom]))
        options, reactor = {"a": 1}, object()
        made = make_resolver("custom", options, reactor)
        assert isinstance(made, ThirdPartyResolver)
        self.assertEqual((made.options, made.reactor), (options, reactor))

    def test_described(self) -> None:
        """All built-in makers describe their options; tables are checked against them; paths start from the folder."""
        for maker in makers():
            self.assertTrue(verifyObject(IDescribedResolverMaker, maker))
            self.assertTrue(options_of(maker))
        custom = LazyResolverMaker("custom", "a custom type", f"{__name__}.ThirdPartyResolver", f"{__name__}.OPTIONS")
        self.patch(resolvers, "getPlugins", lambda interface, package: iter([custom]))
        made = make_resolver("custom", {"file": "x"}, None, "/etc")
        assert isinstance(made, ThirdPartyResolver)
        self.assertEqual({"port": 7, "file": "/etc/x"}, made.options)
        self.assertRaises(BadOption, make_resolver, "custom", {"port": "7"}, None)

    def test_undescribed(self) -> None:
        """A maker without a description gets its table unchanged."""
        self.patch(resolvers, "getPlugins", lambda interface, package: iter([OldMaker()]))
        self.assertEqual((None, None), (options_of(OldMaker()), missing(OldMaker())))
        made = make_resolver("old", {"anything": 1}, None)
        assert isinstance(made, ThirdPartyResolver)
        self.assertEqual({"anything": 1}, made.options)

    def test_needs(self) -> None:
        """A type with a missing dependency is refused, with the command that installs it."""
        lacking = LazyResolverMaker(
            "custom", "", f"{__name__}.ThirdPartyResolver", "", "sniproxy[custom]", ("no_such_module",)
        )
        self.patch(resolvers, "getPlugins", lambda interface, package: iter([lacking]))
        error = self.assertRaises(BadOption, make_resolver, "custom", {}, None)
        self.assertEqual("type", error.key)
        self.assertIn("pip install 'sniproxy[custom]'", error.cure)
        self.assertIsNone(missing(LazyResolverMaker("custom", "", "", "", "sniproxy[custom]", ("attrs",))))

    def test_unknown_type(self) -> None:
        """An unknown type is a bad option; the message has the installed types."""
        error = self.assertRaises(BadOption, make_resolver, "statik", {}, None)
        self.assertEqual((error.key, error.value), ("type", "statik"))
        self.assertIn("static", error.cure)

    def test_lazy(self) -> None:
        """A maker imports its resolver's code when it makes one, not before."""
        name = "sniproxy_test_lazy_resolver"
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / f"{name}.py").write_text("def make(options, reactor):\n    return (options, reactor)\n")
        self.patch(sys, "path", [str(folder), *sys.path])
        self.addCleanup(sys.modules.pop, name, None)

        maker = LazyResolverMaker("lazy", "", f"{name}.make")
        self.assertNotIn(name, sys.modules)
        self.assertEqual(maker.make({"a": 1}, None), ({"a": 1}, None))
        self.assertIn(name, sys.modules)
