"""Tests for the map directive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place, SourceFile
from sniproxy.migrate.nginx.cases import covers
from sniproxy.migrate.nginx.directives import directives
from sniproxy.migrate.nginx.maps import Map, add_entry, read_map
from sniproxy.migrate.pcre import BadExpression

KEYS = st.sampled_from(
    ["a.test", "b.test", "*.test", ".a.test", "*.b.test", "a.*", "b.a.*", r"~^b\.", "~a", r"~*\.test$", "default"]
)
LINES = st.lists(st.tuples(KEYS, st.sampled_from("123")), max_size=7, unique_by=lambda one: one[0])
NAMES = st.sampled_from(["a.test", "b.test", "x.test", "q.a.test", "x.b.test", "a.org", "b.a.org", "b.org", "org"])


def made(text: str) -> tuple[Map, str]:
    (block,) = directives(SourceFile("n.conf", text))
    report = Notes()
    found = read_map(block, report)
    assert found is not None, report
    return found, "\n".join(f"{note.place} {note.text}{' !' if note.decides else ''}" for note in report.notes)


def value(found: Map, text: str) -> str | None:
    entry, _ = found.find(text)
    return None if entry is None else entry.value


class MapTests(SynchronousTestCase):
    """Entries and how they are found."""

    def test_precedence_with_hostnames(self) -> None:
        """Exact names, the longest suffix, the longest prefix, expressions in order, the default."""
        found, report = made(
            "map $x $y { hostnames; volatile; default D; A.test exact; *.test suffix; *.b.test longer; .c.test dot;"
            " www.* prefix; www.a.* longer-prefix; ~^w re1; ~*W re2; www.A.x.* never; }"
        )
        for text, expected in (
            ("a.TEST", "exact"), ("a.test.", "exact"), ("x.test", "suffix"), ("b.test", "suffix"),
            ("x.b.test", "longer"), ("c.test", "dot"), ("q.c.test", "dot"), ("www.test", "suffix"),
            ("www.x", "prefix"), ("www.a.x", "longer-prefix"), ("www.", "re1"), ("ww", "re1"), ("aW", "re2"),
            ("test", "D"), ("", "D"),
        ):  # fmt: skip
            self.assertEqual(value(found, text), expected, text)
        self.assertEqual(report, "")
        self.assertEqual(found.name, "y")

    def test_literals_without_hostnames(self) -> None:
        """Without hostnames wildcards are literals; a backslash takes special words."""
        found, report = made(r"map $x $y { a.test 1; *.b.test 2; .c 3; ~^(A)(b)$ 4$1; \default 5; ~^C$ 6; }")
        self.assertEqual(value(found, "A.test"), "1")
        self.assertIsNone(value(found, "a.test."))
        self.assertIsNone(value(found, "x.b.test"))
        self.assertEqual(value(found, "*.b.test"), "2")
        self.assertEqual(found.find("Ab")[1], ("A", "b"))
        self.assertIsNone(value(found, "ab"))
        self.assertIsNone(value(made("map $x $y { ~^$ 1; ~.* 2; }")[0], ""))
        self.assertEqual(value(found, "default"), "5")
        self.assertEqual(report.count("takes this key literally"), 2)
        self.assertEqual(report.count("only names in upper case"), 1)

    def test_what_is_no_map(self) -> None:
        """Malformed blocks and lines are reported, and decide."""
        report = Notes()
        for text in ("map $x { }", "map $x y { }"):
            (block,) = directives(SourceFile("n.conf", text))
            self.assertIsNone(read_map(block, report))
        self.assertTrue(all(note.decides for note in report.notes))
        _, text = made("map $x $y { a; b 1 2; ~(?R) 3; }")
        self.assertEqual(text.count("not a line of a map: a key and a value !"), 2)
        self.assertIn("(?R) has no equal here !", text)

    def test_patterns_between_texts(self) -> None:
        """Keys of the name and a port are names, for one port."""
        found, _ = made(
            r"map $x $y { hostnames; a.test:1 1; *.b.test:1 2; a.test:2 3; www.* 4; ~^c\.d:1 5; "
            r"~^d.*:2$ 6; 'e f:1' 7; }"
        )
        self.assertEqual(
            [(pattern, "" if entry is None else entry.value) for pattern, entry in found.patterns("", ":1")],
            [
                ("a.test", "1"), ("*.b.test", "2"), (r"~www\..+", "4"), ("c.d", "5"), (ANY, ""), (NAMELESS, ""),
            ],
        )  # fmt: skip
        found, _ = made("map $x $y { x-a.test-y 1; ~^a$ 2; }")
        self.assertRaises(BadExpression, list, found.patterns("x-", "-y"))
        del found.expressions[0]
        self.assertEqual(next(found.patterns("x-", "-y"))[0], "a.test")
        found, _ = made("map $x $y { ~a|b:1 2; }")
        self.assertRaises(BadExpression, list, found.patterns("", ":1"))

    def test_longest_first(self) -> None:
        """Of wildcards the longest comes first, on both sides."""
        found, _ = made("map $x $y { hostnames; *.test 1; *.b.test 2; a.* 3; a.b.* 4; }")
        self.assertEqual(
            [pattern for pattern, _ in found.patterns()],
            ["*.b.test", "*.test", r"~a\.b\..+", r"~a\..+", ANY, NAMELESS],
        )

    def test_names_of_servers(self) -> None:
        """Names of server_name; their expressions ignore case."""
        found = Map("server_name", "", Place("n.conf"), hostnames=True)
        for key in ("A.test", "*.b.test", ".c.test", "www.*", "~^X"):
            add_entry(found, key, "1", Place("n.conf", 1, key), ignore_case=True)
        for text, key in (
            ("a.test", "A.test"), ("x.b.test", "*.b.test"), ("c.test", ".c.test"), ("www.x", "www.*"), ("xy", "~^X"),
        ):  # fmt: skip
            entry, _ = found.find(text)
            assert entry is not None
            self.assertEqual(entry.key, key)

    @given(
        st.booleans(),
        st.lists(st.tuples(KEYS, st.sampled_from("123")), max_size=7, unique_by=lambda one: one[0]),
        NAMES,
    )
    def test_patterns_are_first_match(self, hostnames: bool, lines: list[tuple[str, str]], name: str) -> None:
        """The first pattern that has a name is of the entry that nginx finds."""
        body = "".join(f"'{key}' {text};" for key, text in lines)
        found, _ = made(f"map $x $y {{ {'hostnames;' if hostnames else ''} {body} }}")
        entry = next(entry for pattern, entry in found.patterns() if covers(pattern, name))
        self.assertEqual(entry, found.find(name)[0])
