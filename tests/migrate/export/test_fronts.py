"""Tests for sniproxy.migrate.export.fronts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import File, convert
from sniproxy.config.tomlslices import loads
from sniproxy.migrate.export.fronts import Front, fixed_targets, fronts, shown
from sniproxy.migrate.model import ANY, NAMELESS, Notes
from tests.support.envoyconfig import notes

LISTENERS = """
[[listener]]
endpoint = "tcp:4443"
name = "one"
[[listener]]
endpoint = "tcp:4444"
"""


def file(toml: str) -> File:
    """A checked configuration."""
    parse(toml, "sniproxy.toml")
    return convert(loads(toml), "sniproxy.toml")


class FrontTests(SynchronousTestCase):
    """The routes of each listener."""

    def setUp(self) -> None:
        self.report = Notes()

    def fronts(self, toml: str) -> list[Front]:
        return fronts(file(toml), self.report)

    def patterns(self, toml: str) -> list[list[str]]:
        return [[one.pattern for one in front.leading] for front in self.fronts(toml)]

    def test_precedence(self) -> None:
        """Exact names, the longest wildcard, expressions in their order, all names, no name."""
        names = ("~b.*", "*.test", "a.test", "~a.*", "*.w.test")
        routes = "".join(f"[[route]]\nserver_name = '{name}'\ntarget = 'x'\n" for name in names)
        more = "[default]\ntarget = 'x'\n[no_server_name]\ntarget = 'x'\n"
        expected = ["a.test", "*.w.test", "*.test", "~b.*", "~a.*", ANY, NAMELESS]
        self.assertEqual([expected, expected], self.patterns(LISTENERS + routes + more))

    def test_listeners(self) -> None:
        """A listener's own route precedes that for all with the same name, in any order."""
        own = "[[route]]\nserver_name = 'a.test'\nlistener = 'one'\ntarget = 'own'\n"
        general = "[[route]]\nserver_name = 'A.test'\ntarget = 'general'\n"
        for routes in (own + general, general + own):
            found = self.fronts(LISTENERS + routes)
            self.assertEqual([["own"], ["general"]], [[one.targets[0].text for one in each.leading] for each in found])

    def test_hellos_without_a_name(self) -> None:
        """A listener may have a route of its own for them."""
        own = "[[route]]\nserver_name = ''\nlistener = 'one'\ntarget = 'own'\n"
        found = self.fronts(LISTENERS + own + "[no_server_name]\ntarget = 'x'\n")
        self.assertEqual([["own"], ["x"]], [[one.targets[0].text for one in each.leading] for each in found])

    def test_keys_without_a_counterpart(self) -> None:
        """They are reported."""
        self.fronts(LISTENERS + "deferred_accept = true\n[[listener]]\nendpoint = 'tcp:3'\nname = 'three'\n")
        self.assertEqual(
            "left_out listener[1]: listener tcp:4444: deferred_accept has no counterpart", notes(self.report)
        )

    def test_plaintext(self) -> None:
        """Such a listener has its own targets only."""
        found = self.fronts("[[listener]]\nendpoint = 'tcp:1'\nplaintext = true\ntarget = 'x:1'\n")
        self.assertEqual(["x:1"], [one.text for one in found[0].leading[0].targets])
        self.assertEqual(ANY, found[0].leading[0].pattern)

    def test_resolvers(self) -> None:
        """A route that refuses has no targets; a route of another resolver is reported, and refused."""
        routes = "[[route]]\nserver_name = 'a.test'\nresolver = 'no'\n[resolver.no]\ntype = 'refuse'\n"
        self.assertTrue(self.fronts(LISTENERS + routes)[0].leading[0].refused)
        self.assertEqual("", notes(self.report))
        routes = "[[route]]\nserver_name = 'a.test'\nresolver = 'x'\n[resolver.x]\ntype = 'file'\npath = 'x'\n"
        self.assertTrue(self.fronts(LISTENERS + routes)[0].leading[0].refused)
        self.assertIn("a resolver finds its targets", notes(self.report, True))


class TargetTests(SynchronousTestCase):
    """Hosts and ports."""

    def targets(self, target: str, port: int | None) -> list[tuple[str, int, int]]:
        self.report = Notes()
        (front,) = fronts(
            file(f"[[listener]]\nendpoint='tcp:1'\n[[route]]\nserver_name='*.test'\n{target}"), self.report
        )
        return fixed_targets(front.leading[0], port, self.report)

    def test_fixed(self) -> None:
        """Each with its weight; the default port is Pulsar's."""
        found = self.targets("target = ['a.test weight=3', '[fd00::1]:1']", None)
        self.assertEqual([("a.test", 6651, 3), ("fd00::1", 1, 1)], found)

    def test_port(self) -> None:
        """The listener's port, if it is known."""
        self.assertEqual([("a.test", 4443, 2)], self.targets("target = 'a.test:{port} weight=2'", 4443))
        self.assertEqual([], self.targets("target = 'a.test:{port}'", None))

    def test_formed_by_the_name(self) -> None:
        """There is no target, and that is reported."""
        self.assertEqual([], self.targets("target = ['a.test', '{1}.internal']", 4443))
        self.assertIn("*.test: {1}.internal: the name forms the target", notes(self.report, True))

    def test_shown(self) -> None:
        """The patterns of all names and of none have words."""
        self.assertEqual(
            ["all other names", "hellos without a name", "a"], [shown(one) for one in (ANY, NAMELESS, "a")]
        )
