"""Tests for sniproxy.migrate.document."""

from __future__ import annotations

import tomli
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import HealthTable, LimitsTable, ListenerTable, PolicyTable, Timeouts
from sniproxy.migrate.document import to_toml
from sniproxy.migrate.model import ANY, NAMELESS, Imported, Place, Rule
from sniproxy.migrate.ordering import Ordered, ordered

PLACE = Place("x.cfg", 3, "key")
WHOLE = Imported(
    listeners=[
        (PLACE, ListenerTable("tcp:4443", name="public", proxy_protocol="optional", proxy_protocol_from=["::1"])),
        (PLACE, ListenerTable("tcp:4444", name="inner")),
    ],
    rules=[
        Rule("a.test", PLACE, ("t.test:1",), only_from=("10.0.0.0/8",), send_proxy="v2", proxy_tlvs=("unique_id",)),
        Rule("b.test", PLACE, ("t.test:1", "u.test:2 weight=0"), "inner", balance="least_connections"),
        Rule("c.test", PLACE, resolver="names", max_connections=5, target_source="client"),
        Rule("closed.test", PLACE),
        Rule(ANY, PLACE, ("{server_name}:6651",)),
        Rule(NAMELESS, PLACE, ("t.test:1",), "inner"),
    ],
    resolvers={"names": {"type": "file", "path": "names.map"}},
    timeouts=Timeouts(hello=7.0),
    health=HealthTable(check="tcp"),
    limits=LimitsTable(max_connections=10),
    policy=PolicyTable(allow_ports=[6651]),
    access_log="access.jsonl",
)  # fmt: skip


def written(imported: Imported) -> str:
    """The TOML of an import."""
    names = [table.name or "" for _, table in imported.listeners]
    return to_toml(imported, ordered(imported.rules, names, imported.report), ["x.cfg"])


class DocumentTests(SynchronousTestCase):
    """TOML that the proxy's own parser reads."""

    def test_whole(self) -> None:
        """Every part is there, as the parser reads it."""
        text = written(WHOLE)
        found = parse(text, "sniproxy.toml")
        self.assertEqual(["public", "inner"], [one.name for one in found.listeners])
        routes = {(route.server_name, route.listener): route for route in found.routes}
        self.assertEqual(
            {("a.test", None), ("b.test", "inner"), ("c.test", None), ("closed.test", None), ("", "inner")}, set(routes)
        )
        self.assertEqual(["t.test:1", "u.test:2 weight=0"], routes["b.test", "inner"].resolver.options["target"])
        self.assertTrue(routes["b.test", "inner"].least_connections)
        self.assertTrue(routes["c.test", None].from_client)
        self.assertEqual("refuse", routes["closed.test", None].resolver.kind)
        assert found.default is not None
        self.assertEqual(["{server_name}:6651"], found.default.resolver.options["target"])
        self.assertIsNone(found.no_server_name)
        self.assertEqual((7.0, "tcp", 10), (found.timeouts.hello, found.health.check, found.limits.max_connections))
        self.assertIn("[[route]] # x.cfg:3\n", text)
        self.assertNotIn("idle", text, "a default is not written")

    def test_nameless_everywhere(self) -> None:
        """A rule of all listeners for hellos without a name is the table of that name."""
        listener = [(PLACE, ListenerTable("tcp:4443"))]
        text = written(Imported(listener, [Rule(NAMELESS, PLACE, ("t.test:1",))]))
        self.assertIn('[no_server_name] # x.cfg:3\ntarget = "t.test:1"', text)

    def test_default_that_refuses(self) -> None:
        """Names without a route are refused anyhow, so a default that refuses is not written."""
        text = written(Imported([(PLACE, ListenerTable("tcp:4443"))], [Rule(ANY, Place("x"))]))
        self.assertNotIn("default", text)
        self.assertNotIn("refuse", text)

    @given(
        st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.text(st.characters(exclude_categories=["Cs"])))
    )
    @example("\x7f\x00\t\n\"\\'é\U0001f600", [])
    def test_any_text(self, text: str, texts: list[str]) -> None:
        """Texts are what they were, as values, in lists and as names of tables; places never break a line."""
        rule = Rule("a.test", Place(text, 1), (text, "x", *texts))
        found = tomli.loads(to_toml(Imported(resolvers={text: {text: text}}), Ordered([rule]), [text]))
        self.assertEqual([text, "x", *texts], found["route"][0]["target"])
        self.assertEqual({text: {text: text}}, found["resolver"])

    def test_layout(self) -> None:
        """A blank line between tables, and values of each kind."""
        resolvers = {"a b": {"type": "x", "ttl": 2.5, "on": True, "count": 3}}
        text = to_toml(Imported(resolvers=resolvers), Ordered([Rule("a.test", PLACE, ("b:1",))]), ["x.cfg"])
        self.assertEqual(
            "# Imported by sniproxyctl import from x.cfg.\n# Check it with: sniproxyctl run --config FILE --check\n\n"
            '[[route]] # x.cfg:3\nserver_name = "a.test"\ntarget = "b:1"\n\n'
            '[resolver."a b"]\ntype = "x"\nttl = 2.5\non = true\ncount = 3\n',
            text,
        )
