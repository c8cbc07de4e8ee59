"""Tests for sniproxy.resolvers.static."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import BadOption, IServerNameResolver, Refused, Request, Target
from sniproxy.resolvers.static import StaticResolver, make
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import parse_template

REQUEST = Request("a.test", (), "192.0.2.7:1", "public")
NAMELESS = Request(None, ("h2",), "192.0.2.8:1", "inner")


class StaticResolverTests(SynchronousTestCase):
    """Targets from the configuration."""

    def test_same_targets(self) -> None:
        """The answer is the same for all requests and does not expire."""
        resolver = StaticResolver(["b.test", "[::1]:7"])
        self.assertTrue(verifyObject(IServerNameResolver, resolver))
        for request in (REQUEST, NAMELESS):
            answer = resolver.resolve(request)
            self.assertEqual((answer.targets, answer.ttl), ((Target("b.test", 6651), Target("::1", 7)), None))

    def test_weights(self) -> None:
        """Each target has its weight."""
        answer = StaticResolver(["b.test weight=3", "{server_name}:7 weight=0"]).resolve(REQUEST)
        targets = (Target("b.test", 6651, 3), Target("a.test", 7, 0, client_formed=True))
        self.assertEqual(targets, answer.targets)

    def test_read_already(self) -> None:
        """Targets may be parsed already; the answer is made once."""
        resolver = StaticResolver([parse_template("b.test:7")])
        self.assertEqual((Target("b.test", 7),), resolver.resolve(REQUEST).targets)
        self.assertIs(resolver.resolve(REQUEST), resolver.resolve(NAMELESS))

    def test_places(self) -> None:
        """Placeholders are filled for each connection; only a target with placeholders is client-formed."""
        resolver = StaticResolver(["{server_name}", "b.test:7"])
        for name in ("a.test", "c.test"):
            answer = resolver.resolve(Request(name, (), "192.0.2.7:1", "public"))
            self.assertEqual(answer.targets, (Target(name, 6651, client_formed=True), Target("b.test", 7)))

    def test_places_that_cannot_be_filled(self) -> None:
        """A connection without a value for a placeholder is refused."""
        error = self.assertRaises(Refused, StaticResolver(["{1}:7"]).resolve, REQUEST)
        self.assertIn("no value for {1}", error.reason)

    def test_bad_target(self) -> None:
        """An invalid target is refused when the resolver is made."""
        self.assertRaises(BadTarget, StaticResolver, ["a b"])


class MakeTests(SynchronousTestCase):
    """make: from the configuration's options."""

    def refused(self, options: dict[str, object]) -> tuple[str, object]:
        error = self.assertRaises(BadOption, make, options, None)
        self.assertTrue(error.cure)
        return error.key, error.value

    def test_one_or_several(self) -> None:
        """`target` is a text or a list of texts."""
        self.assertEqual(make({"target": "a:1"}, None).resolve(REQUEST).targets, (Target("a", 1),))
        several = make({"target": ["a:1", "b:2"]}, None).resolve(REQUEST).targets
        self.assertEqual(several, (Target("a", 1), Target("b", 2)))

    def test_bad_options(self) -> None:
        """The error names a missing, empty or invalid target and an unknown key."""
        self.assertEqual(self.refused({}), ("target", None))
        self.assertEqual(self.refused({"target": []}), ("target", []))
        self.assertEqual(self.refused({"target": 7}), ("target", 7))
        self.assertEqual(self.refused({"target": ["a", 7]}), ("target", ["a", 7]))
        self.assertEqual(self.refused({"target": ["a", "b:0"]}), ("target", "b:0"))
        self.assertEqual(self.refused({"target": "a weight=x"}), ("target", "a weight=x"))
        self.assertEqual(self.refused({"target": "{name}:1"}), ("target", "{name}:1"))
        self.assertEqual(self.refused({"target": "a", "targets": "b"}), ("targets", "b"))
