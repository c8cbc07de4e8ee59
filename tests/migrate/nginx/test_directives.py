"""Tests for nginx's syntax."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import MigrateError, Place, SourceFile
from sniproxy.migrate.nginx.directives import Directive, directives


def read(text: str) -> list[Directive]:
    return directives(SourceFile("n.conf", text))


class DirectiveTests(SynchronousTestCase):
    """Directives, blocks and words."""

    def test_directives_and_blocks(self) -> None:
        """A semicolon ends a directive; a brace opens a block; comments are left out."""
        (found,) = read("\ufeffmap a\n  $b { # comment; {\n  x y;z;\n  inner { }\n}\n")
        self.assertEqual((found.name, found.arguments, found.line), ("map", ["a", "$b"], 1))
        self.assertEqual(found.first, "a")
        self.assertEqual(
            found.block,
            [
                Directive("x", ["y"], "n.conf", 3),
                Directive("z", [], "n.conf", 3),
                Directive("inner", [], "n.conf", 4, []),
            ],
        )
        assert found.block is not None
        self.assertEqual(found.block[1].first, "")
        self.assertEqual(found.block[0].place, Place("n.conf", 3, "x"))

    def test_words(self) -> None:
        """Quotes hold blanks and signs; nginx keeps the backslash before most characters; ${a} is a variable."""
        (found,) = read(r"""a "b c;{}" 'd"e' f\\.g\.h\d \;x ${v}w x#y "\"\t'" z}u;""")
        self.assertEqual(
            found.arguments,
            ["b c;{}", 'd"e', r"f\.g\.h\d", r"\;x", "${v}w", "x#y", "\"\t'", "z}u"],
        )
        self.assertEqual([one.line for one in read('a "x\ny";\nb;')], [1, 3])

    def test_braces_end_plain_words(self) -> None:
        """A brace ends a word without quotes, as nginx has it."""
        (found,) = read("~^x{ 2 y; }")
        self.assertEqual((found.name, found.block), ("~^x", [Directive("2", ["y"], "n.conf", 1)]))

    def test_errors_name_the_line(self) -> None:
        """What does not match is an error with its line."""
        for text, message in (
            ("a {\nb", "n.conf:2: the directive b is not ended"), ("a {\nb;", "n.conf:1: the block a is not closed"),
            ("\n}", "n.conf:2: a brace closes"), ("a }", 'n.conf:1: "}" where the directive a'),
            ("{", 'n.conf:1: "{" without'), (";", 'n.conf:1: ";" without'), ("\na 'b", "n.conf:2: a quote"),
            ("a {" * 21, "n.conf:1: blocks are nested"),
        ):  # fmt: skip
            error = self.assertRaises(MigrateError, read, text)
            self.assertTrue(str(error).startswith(message), error)

    @given(st.text("ab{};\n\"'\\$# ", max_size=30) | st.text(max_size=20))
    def test_any_text(self, text: str) -> None:
        """Any text has directives, or is a MigrateError."""
        try:
            read(text)
        except MigrateError:
            pass
