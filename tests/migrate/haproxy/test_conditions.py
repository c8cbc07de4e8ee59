"""Tests for L{sniproxy.migrate.haproxy.conditions}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.clients import ALL
from sniproxy.migrate.haproxy.conditions import Conditions, named_acls, split_condition
from sniproxy.migrate.haproxy.literals import ALWAYS, NEVER, Condition
from sniproxy.migrate.model import Place
from tests.support.haproxyconfig import scene, section

ACLS = """\
 acl a req.ssl_sni a.test
 acl a req.ssl_sni also-a.test
 acl b req.ssl_sni b.test
 acl in src 10.0.0.0/8
 acl t req.ssl_hello_type 1
 acl none
"""


def shown(condition: Condition) -> list[str]:
    """Each case as a text."""
    found = []
    for case in condition:
        names = [f"{'!' if one.negated else ''}{'|'.join(p for p, _ in one.members)}" for one in case.names]
        clients = [] if case.clients == ALL else [f"from {len(case.clients.networks())}"]
        found.append(" ".join([*names, *clients, *("?" for _ in case.unknown)]))
    return found


class ConditionsTests(SynchronousTestCase):
    """Conditions of rules."""

    def setUp(self) -> None:
        self.acls = named_acls(section(ACLS))

    def of(self, text: str) -> Condition:
        """The condition of a text."""
        return Conditions(scene(), self.acls).of(text.split(), Place("haproxy.cfg", 9))

    def test_words(self) -> None:
        """Terms are joined by and, alternatives by or; a term can be negated, inline or named."""
        for text, expected in (
            ("", [""]),
            ("if a", ["a.test|also-a.test"]),
            ("unless a", ["!a.test|also-a.test"]),
            ("if a in", ["a.test|also-a.test from 1"]),
            ("if b or in", ["b.test", "from 1"]),
            ("if b || !a", ["b.test", "!a.test|also-a.test"]),
            ("if ! b !! in", ["!b.test from 1"]),
            ("if { req.ssl_sni x y } !{ req.ssl_sni y }", ["x|y !y"]),
            ("unless a or b", ["!a.test|also-a.test !b.test"]),
            ("unless a b", ["!a.test|also-a.test", "!b.test"]),
            ("if t b", ["b.test"]),
            ("if !t b", []),
            ("if LOCALHOST", ["from 1"]),
            ("if nothing", ["?"]),
            ("if { req.ssl_sni x", ["x"]),
            ("when a", ["?"]),
        ):
            self.assertEqual(shown(self.of(text)), expected, text)

    def test_predefined(self) -> None:
        """Some ACLs need no definition."""
        self.assertEqual(self.of("if TRUE"), ALWAYS)
        self.assertEqual(self.of("if HTTP"), NEVER)

    def test_bound(self) -> None:
        """A condition with too many alternatives is unknown."""
        terms = " or ".join(f"{{ req.ssl_sni a{number} }} in" for number in range(20))
        self.assertEqual(shown(self.of(f"unless {terms}")), ["?"])

    @given(st.lists(st.sampled_from(("if", "unless", "a", "b", "in", "or", "!", "{", "}", "req.ssl_sni", "!a", "x"))))
    def test_whole(self, words: list[str]) -> None:
        """Every sequence of words is a condition."""
        self.of(" ".join(words))

    def test_split(self) -> None:
        """The condition begins at if or unless."""
        self.assertEqual(split_condition(["b1", "if", "a"]), (["b1"], ["if", "a"]))
        self.assertEqual(split_condition(["b1"]), (["b1"], []))
