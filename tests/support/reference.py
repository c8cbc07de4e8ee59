"""The tables of docs/reference: the tests compare them with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent.parent / "docs" / "reference"
_PAGES = "events.md", "admin-api.md", "metrics.md"
_TEXT = "\n".join((_FOLDER / name).read_text() for name in _PAGES if (_FOLDER / name).exists())


def rows(title: str) -> dict[str, str]:
    """The rows of a section's tables without their first column, by each name in the first column."""
    found: dict[str, str] = {}
    for line in _lines(title):
        first, _, rest = line[2:].partition(" | ")
        found |= dict.fromkeys(names(first), rest)
    return found


def words(title: str) -> set[str]:
    """All names in a section's tables."""
    return {word for line in _lines(title) for word in names(line)}


def names(text: str) -> list[str]:
    """The names in backquotes in a text."""
    return re.findall(r"`(\w+)`", text)


def _lines(title: str) -> list[str]:
    section = _TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def keys(value: Any) -> Iterator[str]:
    """The field names in a JSON document, at all levels."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from keys(inner)
