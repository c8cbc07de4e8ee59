"""Tests for sniproxy.cli.fields."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.fields import entries, number, table, text, texts

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


class FieldTests(SynchronousTestCase):
    """Fields of any document."""

    def test_right(self) -> None:
        """Values of the right type are taken."""
        document = {"list": [{"a": 1}, 2], "table": {"b": 1}, "number": 3, "text": "four", "texts": ["five", 6]}
        self.assertEqual([{"a": 1}], entries(document, "list"))
        self.assertEqual({"b": 1}, table(document, "table"))
        self.assertEqual(3.0, number(document, "number"))
        self.assertEqual("four", text(document, "text"))
        self.assertEqual(["five"], texts(document, "texts"))

    def test_wrong(self) -> None:
        """Values of another type, not finite or too large are as if absent."""
        wrong: Any
        for wrong in (None, True, "1", [1], {}, float("nan"), float("-inf"), 10**400):
            self.assertIsNone(number({"a": wrong}, "a"), wrong)
        self.assertEqual(
            ([], {}, "", []), (entries({}, "a"), table({"a": []}, "a"), text({"a": 1}, "a"), texts({}, "a"))
        )

    def test_printable(self) -> None:
        """Texts are escaped and cut, because a client may have formed them."""
        self.assertEqual("\\x1b[2J", text({"a": "\x1b[2J"}, "a"))
        self.assertEqual(["\\n"], texts({"a": ["\n"]}, "a"))
        self.assertEqual(300, len(text({"a": "x" * 1000}, "a")))

    @given(json_values)
    def test_any(self, value: Any) -> None:
        """No JSON value raises an exception."""
        document = {"a": value}
        for read in (entries, table, number, text, texts):
            read(document, "a")
