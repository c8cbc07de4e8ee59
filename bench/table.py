"""Makes Markdown tables and writes them into documents, between two marker comments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with the first column aligned to the left, and the others to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [heads, rule, *rows]
    return "".join(f"| {' | '.join(_aligned(line, widths))} |\n" for line in lines)


def replaced(document: str, name: str, text: str) -> str:
    """The document with ``text`` between the comments ``<!-- bench:NAME -->`` and ``<!-- end -->``.

    Raises `ValueError` if it does not have them.
    """
    begin, end = f"<!-- bench:{name} -->\n", "<!-- end -->\n"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the document has no {begin.strip()} followed by {end.strip()}; add both")
    return f"{before}{begin}{text}{end}{after}"


def write_into(path: Path, name: str, text: str) -> None:
    """Write ``text`` into a file at the comments of that name. Raises `ValueError` as `replaced` does."""
    path.write_text(replaced(path.read_text(), name, text))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    first = cells[0].ljust(widths[0])
    return [first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]
