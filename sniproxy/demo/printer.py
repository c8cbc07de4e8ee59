"""Prints the tour of the demo: wraps at the width of the terminal, and has colours there."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO

DEFAULT_WIDTH = 80
"""Columns of a line where the output is no terminal."""

_ACTOR = 12


class TourPrinter:
    """Prints lines of at most C{width} columns, unless a word is longer; in colour on a terminal without NO_COLOR.

    @ivar width: of the terminal, at most L{DEFAULT_WIDTH}.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self.width = min(DEFAULT_WIDTH, _columns(out)) if self._terminal else DEFAULT_WIDTH

    def text(self, text: str = "") -> None:
        """Print a line as it is, such as a command to copy."""
        print(text, file=self._out, flush=True)

    def heading(self, text: str) -> None:
        """Print an empty line and a heading."""
        self.text()
        for line in self._wrapped(text, "", ""):
            self.text(self._in("1", line))

    def line(self, actor: str, text: str) -> None:
        """Print an actor and what it does."""
        indent = " " * (2 + _ACTOR)
        first, *others = self._wrapped(text, indent, indent)
        self.text(f"  {self._in('36', actor.ljust(_ACTOR))}{first.removeprefix(indent)}")
        for line in others:
            self.text(line)

    def item(self, what: str, text: str) -> None:
        """Print something to try, and below it what it shows."""
        self.text(f"  {what}")
        for line in self._wrapped(text, " " * 6, " " * 6):
            self.text(line)

    def log(self, line: str) -> None:
        """Print a line of a log; on a terminal it is wrapped between its words, too."""
        for part in self._wrapped(line, "", "  ") if self._terminal else [line]:
            self.text(part)

    def _wrapped(self, text: str, first: str, others: str) -> list[str]:
        return textwrap.wrap(
            text,
            self.width,
            initial_indent=first,
            subsequent_indent=others,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def _columns(out: TextIO) -> int:
    try:
        return os.get_terminal_size(out.fileno()).columns or DEFAULT_WIDTH
    except (OSError, ValueError):
        return DEFAULT_WIDTH
