"""Tests for sniproxy.config.tomlslices."""

from __future__ import annotations

from itertools import product
from typing import Any

import tomli
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config import tomlslices

LINES = (
    "[[route]]",
    "[[route]]  # comment",
    " [[route]]",
    '[["route"]]',
    "[route.health]",
    "[[route.more]]",
    "[limits]",
    "[limits.deep]",
    "[[listener]]",
    "a = 1",
    'b = ["x",',
    "[[1]],",
    "]",
    "route = [{ a = 1 }]",
    "c = '''",
    'd = """',
    "# [[route]]",
    "'''",
    "e = '[[route]]'",
)


def outcome(text: str, sliced: bool) -> object:
    """The value of a document, or its error."""
    try:
        return tomlslices.loads(text) if sliced else tomli.loads(text)
    except ValueError as error:
        return str(error)


class SliceTests(SynchronousTestCase):
    """The same value as of the whole text."""

    def setUp(self) -> None:
        self.patch(tomlslices, "ROUTES", 1)

    def same(self, text: str) -> None:
        self.assertEqual(outcome(text, sliced=False), outcome(text, sliced=True), text)

    def test_slices(self) -> None:
        """A long file is parsed in slices of whole routes."""
        parsed: list[str] = []

        def loads(text: str) -> Any:
            parsed.append(text)
            return real(text)

        real = tomli.loads
        self.patch(tomlslices, "ROUTES", 2)
        self.patch(tomli, "loads", loads)
        routes = "".join(f'[[route]]\nname = "{number}"\n' for number in range(5))
        found = tomlslices.loads(f"x = 1\n{routes}[limits]\ny = 2\n")
        self.assertEqual({"x": 1, "route": [{"name": str(number)} for number in range(5)], "limits": {"y": 2}}, found)
        self.assertEqual([2, 2, 1], [text.count("[[route]]") for text in parsed])

    def test_tables(self) -> None:
        """Tables of a route stay with it; a table that occurs twice, or comes too late, is what it is in the whole."""
        for first, second, third in product(LINES, repeat=3):
            self.same("\n".join(("[[route]]", "a = 1", first, second, "[[route]]", "z = 1", third, "")))

    def test_strings(self) -> None:
        """What looks like a route in a multi-line string is none."""
        for before in ("", "route = 1\n", "route = [{ a = 1 }]\n"):
            self.same(f"{before}c = '''\n[[route]]\n'''\n[[route]]\na = 1\n[[route]]\nb = 2\n")

    def test_lines(self) -> None:
        """Windows' ends of lines are fine, and an error has its line in the whole text."""
        self.same("[[route]]\r\na = 1\r\n[[route]]\r\nb = 2\r\n")
        text = "[[route]]\na = 1\n" * 3 + "oops\n"
        self.assertIn("line 7", str(self.assertRaises(ValueError, tomlslices.loads, text)))

    @given(st.lists(st.sampled_from(LINES), max_size=12))
    def test_any(self, lines: list[str]) -> None:
        """For any sequence of lines the value or the error is that of the whole text."""
        self.patch(tomlslices, "ROUTES", 1)
        self.same("\n".join(lines))
