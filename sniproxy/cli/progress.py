"""A progress bar for large files."""

from __future__ import annotations

from typing import TextIO

from sniproxy.util.text import amount

LARGE_BYTES = 4 << 20
"""Smallest file with a progress bar, if standard error is a terminal."""

_BAR = 30
_CLEAR = "\r\x1b[K"


class ProgressBar:
    """Draws a bar on a stream, if that is a terminal and the file is large.

    @param size: of the file, in bytes; 0: unknown.
    """

    def __init__(self, size: int, error: TextIO) -> None:
        self.size = size if size >= LARGE_BYTES and error.isatty() else 0
        self._error = error
        self._drawn = -1

    def draw(self, done: int) -> None:
        """Show how many bytes are read."""
        if not self.size:
            return
        percent = min(100, 100 * done // self.size)
        if percent != self._drawn:
            self._drawn = percent
            full = "#" * (_BAR * percent // 100)
            of = f"{amount(done)} of {amount(self.size)}"
            print(f"\r[{full:<{_BAR}}] {percent:3}%  {of}", end="\x1b[K", file=self._error, flush=True)

    def hide(self) -> None:
        """Erase the bar. The next progress draws it again."""
        if self._drawn >= 0:
            print(_CLEAR, end="", file=self._error, flush=True)
            self._drawn = -1
