"""Tests for the statements of a sniproxy.conf."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import MigrateError, SourceFile
from sniproxy.migrate.sniproxyconf.statements import Statement, statements


def read(text: str) -> list[Statement]:
    return statements(SourceFile("s.conf", text))


class StatementTests(SynchronousTestCase):
    """Lines, blocks and words."""

    def test_lines_and_blocks(self) -> None:
        """A line feed or a semicolon ends a statement; a block may have blocks."""
        found = read("user a # comment\n\nlisten 443 {\n table t; source client\n access_log { filename x\n }\n}\n")
        self.assertEqual([one.words for one in found], [["user", "a"], ["listen", "443"]])
        self.assertIsNone(found[0].block)
        block = found[1].block
        assert block is not None
        self.assertEqual([(one.words, one.line) for one in block[:2]], [(["table", "t"], 4), (["source", "client"], 4)])
        self.assertEqual(block[2].block, [Statement(["filename", "x"], 5)])
        self.assertEqual(block[2].arguments, [])

    def test_words(self) -> None:
        """A backslash takes the next character; quotes keep blanks and braces; a number sign ends a word."""
        self.assertEqual(
            read('a\\\\.b\\.c x" y"{2} z#w\n"q\\"{}" \\\n'.replace("{2}", '"{2}"'))[0].words,
            ["a\\.b.c", "x y{2}", "z"],
        )
        self.assertEqual(read('"q\\"{}#" r')[0].words, ['q"{}#', "r"])
        self.assertEqual([one.line for one in read('a "x\ny"\nb')], [1, 3])
        self.assertEqual(read("a\\")[0].words, ["a"])

    def test_errors_name_the_line(self) -> None:
        """Braces and quotes that do not match are errors with their line."""
        for text, message in (
            ("\n}", "s.conf:2: a brace closes"), ("{", "s.conf:1: a brace opens"), ("a {\nb", "s.conf:1: the block"),
            ('\n"a', "s.conf:2: a quote"), ("a { b { c { } } }", "s.conf:1: a brace opens"),
        ):  # fmt: skip
            error = self.assertRaises(MigrateError, read, text)
            self.assertTrue(str(error).startswith(message), error)

    @given(st.text('ab{};\n"\\# ', max_size=30) | st.text(max_size=20))
    def test_any_text(self, text: str) -> None:
        """Any text has statements, or is a MigrateError."""
        try:
            found = read(text)
        except MigrateError:
            return
        self.assertTrue(all(one.words for one in found))
