"""Tests for sniproxy.migrate.yamlnodes."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate import yamlnodes
from sniproxy.migrate.model import MigrateError, Place, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode, documents


def read(text: str) -> list[YamlNode]:
    """The documents of a text."""
    return documents(SourceFile("x.yaml", text))


class DocumentsTests(SynchronousTestCase):
    """YAML with its lines."""

    def test_places(self) -> None:
        """Each value has the line where it starts, and its path as key."""
        [root] = read("sni:\n- fqdn: a.test\n  tunnel_route: b:1\n- fqdn: 7\n")
        first, second = root.value["sni"].list()
        self.assertEqual(Place("x.yaml", 3, "sni[0].tunnel_route"), first.value["tunnel_route"].place)
        self.assertEqual((7, "7"), (second.value["fqdn"].value, second.value["fqdn"].text()))
        self.assertEqual({"sni": [{"fqdn": "a.test", "tunnel_route": "b:1"}, {"fqdn": 7}]}, root.plain())

    def test_access(self) -> None:
        """Missing and null values are None; a single value is a list of one; only mappings have items."""
        [root] = read("a: {b: {c: yes}, n: null, d: 2024-01-01}\nl: [1]\n")
        found = root.at("a", "b", "c")
        assert found is not None
        self.assertEqual((True, "true", [found]), (found.value, found.text(), found.list()))
        for keys in (("a", "n"), ("a", "x"), ("l", "x"), ("x", "y")):
            self.assertIsNone(root.at(*keys))
        self.assertEqual(("", "2024-01-01"), (root.value["l"].text(), root.value["a"].value["d"].text()))
        self.assertEqual([], list(found.items()))

    def test_json(self) -> None:
        """JSON may have tabs between its parts."""
        [root] = read('\n{\n\t"a":\t[1,\t2],\n\t"b": "x"\n}\n')
        self.assertEqual({"a": [1, 2], "b": "x"}, root.plain())
        self.assertEqual(4, root.value["b"].place.line)

    def test_several(self) -> None:
        """Several documents; empty ones are left out. JSON is YAML."""
        self.assertEqual([{"a": 1}, {"b": [2]}], [one.plain() for one in read('a: 1\n---\n---\n{"b": [2]}\n')])
        self.assertEqual([], read(""))

    def test_merge(self) -> None:
        """A merge key adds what is not there; an alias repeats a value."""
        [root] = read("base: &b {x: 1, y: 2}\none: {<<: *b, x: 3}\ntwo: {<<: [*b, {z: 4}]}\n")
        self.assertEqual({"x": 3, "y": 2}, root.value["one"].plain())
        self.assertEqual({"x": 1, "y": 2, "z": 4}, root.value["two"].plain())

    def test_errors(self) -> None:
        """Each error names the file and the line."""
        for text, why in (
            ("a: [1", "x.yaml:1"),
            ("a: 1\na: 2\n", "x.yaml:2: the key a is repeated"),
            ("? [1, 2]\n: 3\n", "x.yaml:1: a key is no text"),
            ("a: !!python/object:os.system x\n", "x.yaml:1: not YAML"),
            ("a: *nothing\n", "x.yaml:1: not YAML: found undefined alias"),
            ("a: \x00", "x.yaml: not YAML"),
            ("[" * 200 + "]" * 200, "nested more than 100 levels"),
            ("[" * 20000, "nested too deeply"),
            ("a: &a [*a]", "nested"),
        ):
            error = self.assertRaises(MigrateError, read, text)
            self.assertIn(why, str(error))

    def test_large(self) -> None:
        """Aliases of aliases do not fill the memory."""
        self.patch(yamlnodes, "MAX_NODES", 1000)
        lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30)]
        self.assertRaises(MigrateError, read, "\n".join(lines))

    @given(st.text(alphabet="ab:-[]{}&*!\n '\"<|>#?,1", max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any text is read, or is an error of this stage."""
        with contextlib.suppress(MigrateError):
            for one in read(text):
                one.plain()
