"""Columns, sorting and filtering of tables, and their width on a screen. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs


@attrs.frozen
class Column:
    """A column of a table.

    @ivar key: its key in L{Row.values}. @ivar width: its least width. @ivar form: the text of a value.
    @ivar flexible: whether it takes a share of the width that is left over. @ivar right: whether its texts are aligned
        right. @ivar rank: columns with a higher rank are left out first where the screen is narrow.
    """

    key: str
    title: str
    width: int
    form: Callable[[Any], str] = str
    flexible: bool = False
    right: bool = False
    rank: int = 0


@attrs.frozen
class Row:
    """A row of a table. @ivar style: ``bad``, ``warn`` or empty. @ivar detail: lines about it, when it is selected."""

    values: Mapping[str, Any]
    style: str = ""
    detail: Sequence[str] = ()


def fit(columns: Sequence[Column], width: int, needs: Mapping[str, int]) -> list[tuple[Column, int]]:
    """Choose the columns that a width has room for, in their order, with the width of each.

    The first column by rank is always chosen, and cut to the width. @param needs: the width that the longest text of
    a flexible column needs, by key.
    """
    chosen: list[Column] = []
    for column in sorted(columns, key=lambda one: one.rank):
        if chosen and sum(one.width + 1 for one in chosen) + column.width > width:
            break
        chosen.append(column)
    widths = {column.key: min(column.width, max(1, width)) for column in chosen}
    spare = width - sum(widths.values()) - len(chosen) + 1
    growing = [column for column in chosen if column.flexible]
    while spare > 0 and growing:
        for column in list(growing):
            if widths[column.key] >= needs.get(column.key, 0):
                growing.remove(column)
            elif spare > 0:
                widths[column.key] += 1
                spare -= 1
    return [(column, widths[column.key]) for column in columns if column in chosen]


def longest(columns: Iterable[Column], rows: Sequence[Row]) -> dict[str, int]:
    """The width that the longest text of each flexible column needs, by key."""
    return {
        column.key: max((len(column.form(row.values.get(column.key))) for row in rows), default=0)
        for column in columns
        if column.flexible
    }


def used(columns: Iterable[Column], rows: Sequence[Row], sort: str) -> list[Column]:
    """The columns without those of texts that are all empty, unless the table is sorted by them."""
    return [
        column
        for column in columns
        if column.right or not column.rank or column.key == sort or any(row.values.get(column.key) for row in rows)
    ]


def cut(text: str, width: int) -> str:
    """Cut a text to a width; a tilde at its end marks a cut."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "~"[:width]


def line(fitted: Sequence[tuple[Column, int]], texts: Mapping[str, str]) -> str:
    """A line of a table. @param texts: by the key of the column."""
    parts = []
    for column, width in fitted:
        text = cut(texts.get(column.key, ""), width)
        parts.append(text.rjust(width) if column.right else text.ljust(width))
    return " ".join(parts).rstrip()


def cells(columns: Iterable[Column], row: Row) -> dict[str, str]:
    """The texts of a row, by the key of the column."""
    return {column.key: column.form(row.values.get(column.key)) for column in columns}


def sort_rows(rows: Iterable[Row], key: str, descending: bool) -> list[Row]:
    """Sort rows by a column; rows without a value are last."""
    known = [row for row in rows if row.values.get(key) is not None]
    unknown = [row for row in rows if row.values.get(key) is None]
    known.sort(key=lambda row: _order(row.values[key]), reverse=descending)
    return known + unknown


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers before texts, because a column of another release may have both."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value).lower())


def filter_rows(rows: Iterable[Row], text: str) -> list[Row]:
    """The rows that contain a text, in any case: in a value or in their details."""
    wanted = text.lower()
    return [row for row in rows if not wanted or any(wanted in part.lower() for part in _parts(row))]


def _parts(row: Row) -> Iterable[str]:
    yield from (value for value in row.values.values() if isinstance(value, str))
    yield from row.detail
