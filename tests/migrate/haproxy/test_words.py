"""Tests for L{sniproxy.migrate.haproxy.words}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.words import BadWords, Words, split_arguments, split_words, word_set


class WordsTests(SynchronousTestCase):
    """Lines as HAProxy splits them; the cases were tried with HAProxy 2.6."""

    def test_words(self) -> None:
        """Spaces separate words; comments end lines; quotes and backslashes keep characters."""
        for line, words in (
            ("", []),
            ("  \t ", []),
            (" bind :4443  # all", ["bind", ":4443"]),
            ("#bind", []),
            ("a#b c", ["a"]),
            (r"a\#b c\ d", ["a#b", "c d"]),
            ('"a b#" x"y z"', ["a b#", "xy z"]),
            (r"'a\ b' ''", [r"a\ b", ""]),
            (r"^a\.b\d+\$", [r"^a\.b\d+$"]),
            (r'a\"b "c\"d" \'e', ['a"b', 'c"d', "'e"]),
            (r"\x41\n\t\r\\", ["A\n\t\r\\"]),
            ("a\\", ["a\\"]),
            ("'\"' \"'\"", ['"', "'"]),
        ):
            self.assertEqual(split_words(line).words, tuple(words), line)

    def test_variables(self) -> None:
        """Environment variables are found in double quotes only, as HAProxy does."""
        self.assertEqual(split_words('bind "${IP}:$PORT"'), Words(("bind", "${IP}:$PORT"), ("IP", "PORT")))
        self.assertEqual(split_words("a $B '$C' \"\\$D $1\"").variables, ())

    def test_known_variables(self) -> None:
        """Variables that are known are put in, as a part of their word; other forms stay unknown."""
        known = {"IP": "10.0.0.1", "TWO": "a b"}
        for line, words, unknown in (
            ('bind "$IP:1" "${IP}2"', ("bind", "10.0.0.1:1", "10.0.0.12"), ()),
            ('"$TWO"', ("a b",), ()),
            ('"${IP-x}" "${IP[*]}"', ("${IP-x}", "${IP[*]}"), ("IP", "IP")),
            ('"${IP $PORT"', ("${IP $PORT",), ("IP", "PORT")),
            ("$IP '$IP'", ("$IP", "$IP"), ()),
        ):
            self.assertEqual(split_words(line, known), Words(words, unknown), line)

    def test_errors(self) -> None:
        """An open quote and a bad escape are errors."""
        for line, text in (("a 'b", "quote '"), ('a "b', 'quote "'), (r"\xg1", "hexadecimal"), (r"\x1", "hexadecimal")):
            self.assertIn(text, str(self.assertRaises(BadWords, split_words, line)))

    @given(st.text())
    def test_whole(self, line: str) -> None:
        """No text raises anything else."""
        try:
            split_words(line)
        except BadWords:
            pass
        split_arguments(line)

    def test_arguments(self) -> None:
        """Arguments are separated outside of parentheses and quotes."""
        self.assertEqual(split_arguments("a,map(f,b),c"), ["a", "map(f,b)", "c"])
        self.assertEqual(split_arguments("'a,b',\"c\",d)e,f"), ["a,b", "c", "d)e", "f"])
        self.assertEqual(word_set("a b a"), {"a", "b"})
