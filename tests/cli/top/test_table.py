"""Tests for sniproxy.cli.top.table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.top.table import Column, Row, cells, cut, filter_rows, fit, line, longest, sort_rows, used
from sniproxy.cli.top.views import VIEWS

COLUMNS = (
    Column("name", "NAME", 5, flexible=True),
    Column("count", "COUNT", 5, right=True, rank=2),
    Column("why", "WHY", 4, flexible=True, rank=1),
)


class WidthTests(SynchronousTestCase):
    """fit: the columns that a width has room for."""

    def chosen(self, width: int, **needs: int) -> list[tuple[str, int]]:
        return [(column.key, found) for column, found in fit(COLUMNS, width, needs)]

    def test_rank(self) -> None:
        """Columns of a high rank are left out first; the order stays."""
        self.assertEqual([("name", 5), ("count", 5), ("why", 4)], self.chosen(16))
        self.assertEqual([("name", 5), ("why", 4)], self.chosen(15))
        self.assertEqual([("name", 5)], self.chosen(9))
        self.assertEqual([("name", 3)], self.chosen(3))

    def test_flexible(self) -> None:
        """Flexible columns share what is left, up to the width that they need."""
        self.assertEqual([("name", 7), ("count", 5), ("why", 6)], self.chosen(20, name=50, why=50))
        self.assertEqual([("name", 6), ("count", 5), ("why", 7)], self.chosen(20, name=6, why=50))
        self.assertEqual([("name", 6), ("count", 5), ("why", 8)], self.chosen(90, name=6, why=8))

    @given(
        st.integers(1, 300), st.dictionaries(st.sampled_from(["name", "why", "target", "client"]), st.integers(0, 99))
    )
    def test_any(self, width: int, needs: dict[str, int]) -> None:
        """In no view are the columns wider than the screen."""
        for columns in (COLUMNS, *(view.columns for view in VIEWS)):
            fitted = fit(columns, width, needs)
            self.assertLessEqual(sum(found for _, found in fitted) + len(fitted) - 1, width)

    def test_used(self) -> None:
        """Columns of empty texts are left out; not those of numbers, the first, and the one of the order."""
        rows = [Row({"name": "", "why": "", "count": None})]
        self.assertEqual(["name", "count"], [column.key for column in used(COLUMNS, rows, "name")])
        self.assertEqual(["name", "count", "why"], [column.key for column in used(COLUMNS, rows, "why")])
        rows.append(Row({"why": "x"}))
        self.assertEqual(list(COLUMNS), used(COLUMNS, rows, "name"))

    def test_longest(self) -> None:
        """The longest text of a flexible column counts."""
        rows = [Row({"name": "ab", "count": 123456, "why": ""}), Row({"name": "abc", "why": "x"})]
        self.assertEqual({"name": 3, "why": 1}, longest([*COLUMNS[:1], COLUMNS[2]], rows[:2]))
        self.assertEqual({"name": 0, "why": 0}, longest(COLUMNS, []))


class LineTests(SynchronousTestCase):
    """The texts of a row."""

    def test_line(self) -> None:
        """Texts are cut, and aligned."""
        row = Row({"name": "abcdefgh", "count": 12, "why": "x"})
        fitted = fit(COLUMNS, 16, {})
        self.assertEqual("abcd~    12 x", line(fitted, cells(COLUMNS, row)))

    def test_cut(self) -> None:
        """A tilde marks a cut."""
        self.assertEqual(["abc", "a~", "~", ""], [cut("abc", width) for width in (3, 2, 1, 0)])


class RowTests(SynchronousTestCase):
    """Sorting and filtering."""

    ROWS = [Row({"name": name, "count": count}) for name, count in (("b", 2), ("A", 10), ("c", None))]

    def names(self, rows: list[Row]) -> str:
        return "".join(row.values["name"] for row in rows)

    def test_sort(self) -> None:
        """Numbers by value, texts in any case, and what is unknown last."""
        self.assertEqual("bAc", self.names(sort_rows(self.ROWS, "count", False)))
        self.assertEqual("Abc", self.names(sort_rows(self.ROWS, "count", True)))
        self.assertEqual("Abc", self.names(sort_rows(self.ROWS, "name", False)))
        self.assertEqual("cbA", self.names(sort_rows(self.ROWS, "name", True)))

    def test_mixed(self) -> None:
        """A column with numbers and texts can be sorted."""
        rows = [Row({"name": "t", "x": "text"}), Row({"name": "n", "x": 5})]
        self.assertEqual("nt", self.names(sort_rows(rows, "x", False)))

    def test_filter(self) -> None:
        """A text in a value or in the details, in any case."""
        rows = [*self.ROWS, Row({"name": "d"}, detail=["why: A"])]
        self.assertEqual("Ad", self.names(filter_rows(rows, "a")))
        self.assertEqual("bAcd", self.names(filter_rows(rows, "")))
