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
from tests.resolvers.oldmaker import House, OldMaker

OPTIONS = (Option("port", Kind.INTEGER, "a port", 7), Option("file", Kind.PATH, "a file", None))


class MakerTests(SynchronousTestCase):
    """Makers, found through twisted.plugin."""

    def test_found(self) -> None:
        """The static resolver is installed as a plugin, with its help."""
        found = {maker.name: maker for maker in makers()}
        self.assertIn("static", found)
        self.assertTrue(verifyObject(IResolverMaker, found["static"]))
        self.assertTrue(IPlugin.providedBy(found["static"]))
        self.assertTrue(found["static"].help)

    def test_made(self) -> None:
        """A resolver is made by its type's name."""
        resolver = make_resolver("static", {"target": "a.test:1"}, None)
        self.assertIsInstance(resolver, StaticResolver)
        self.assertTrue(verifyObject(IServerNameResolver, resolver))

    def test_options_and_reactor(self) -> None:
        """Any installed maker serves; it gets the options and the reactor."""
        house = LazyResolverMaker("house", "our own", f"{__name__}.House")
        self.patch(resolvers, "getPlugins", lambda interface, package: iter([house]))
        options, reactor = {"a": 1}, object()
        made = make_resolver("house", options, reactor)
        assert isinstance(made, House)
        self.assertEqual((made.options, made.reactor), (options, reactor))

    def test_described(self) -> None:
        """All of ours describe themselves; options are checked against it, and paths start from the folder."""
        for maker in makers():
            self.assertTrue(verifyObject(IDescribedResolverMaker, maker))
            self.assertTrue(options_of(maker))
        house = LazyResolverMaker("house", "our own", f"{__name__}.House", f"{__name__}.OPTIONS")
        self.patch(resolvers, "getPlugins", lambda interface, package: iter([house]))
        made = make_resolver("house", {"file": "x"}, None, "/etc")
        assert isinstance(made, House)
        self.assertEqual({"port": 7, "file": "/etc/x"}, made.options)
        self.assertRaises(BadOption, make_resolver, "house", {"port": "7"}, None)

    def test_undescribed(self) -> None:
        """A maker without a description is served as before: its table comes as it is."""
        self.patch(resolvers, "getPlugins", lambda interface, package: iter([OldMaker()]))
        self.assertEqual((None, None), (options_of(OldMaker()), missing(OldMaker())))
        made = make_resolver("old", {"anything": 1}, None)
        assert isinstance(made, House)
        self.assertEqual({"anything": 1}, made.options)

    def test_needs(self) -> None:
        """A type whose modules are not installed is refused with the command that installs them."""
        lacking = LazyResolverMaker("house", "", f"{__name__}.House", "", "sniproxy[house]", ("no_such_module",))
        self.patch(resolvers, "getPlugins", lambda interface, package: iter([lacking]))
        error = self.assertRaises(BadOption, make_resolver, "house", {}, None)
        self.assertEqual("type", error.key)
        self.assertIn("pip install 'sniproxy[house]'", error.cure)
        self.assertIsNone(missing(LazyResolverMaker("house", "", "", "", "sniproxy[house]", ("attrs",))))

    def test_unknown_type(self) -> None:
        """A type that nobody makes is a bad option; the message names those that there are."""
        error = self.assertRaises(BadOption, make_resolver, "statik", {}, None)
        self.assertEqual((error.key, error.value), ("type", "statik"))
        self.assertIn("static", error.cure)

    def test_lazy(self) -> None:
        """A maker imports its resolver's code only when it makes one."""
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
