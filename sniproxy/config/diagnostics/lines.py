"""Finds the lines of a TOML file's tables, keys and list items. Pure.

tomli returns values without positions. This scans text that tomli has accepted, and runs only when a configuration has
an error.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any

Path = tuple[str | int, ...]
"""Steps from the top of the file: ``("route", 3, "target", 0)``."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]+")


class LineIndex:
    """Finds lines, counted from 1.

    @param text: TOML. Parts that cannot be scanned have no line.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._found: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}
        try:
            self._scan()
        except (ValueError, IndexError, RecursionError):
            pass

    def find(self, path: Path) -> int | None:
        """The line of a key, or of its table if the key is absent, or None."""
        while path:
            if path in self._found:
                return self._found[path]
            path = path[:-1]
        return None

    def rename(self, old: Path, new: Path) -> None:
        """Copy the lines below a misspelt key to the correct key."""
        below = [path for path in self._found if path[: len(old)] == old]
        for path in below:
            self._found.setdefault((*new, *path[len(old) :]), self._found[path])

    def _scan(self) -> None:
        table: Path = ()
        at = self._match(_SPACE, 0)
        while at < len(self._text):
            if self._text[at] == "[":
                line = at
                double = self._text[at + 1] == "["
                parts, at = self._keys(at + 1 + double)
                at += 1 + double
                table = self._opened(parts, double)
                self._note(table, line)
                self._note((*table[:-1],) if double else table, line)
            else:
                line = at
                parts, at = self._keys(at)
                for length in range(1, len(parts) + 1):
                    self._note((*table, *parts[:length]), line)
                at = self._value(self._match(_BLANK, at + 1), (*table, *parts))
            at = self._match(_SPACE, at)

    def _opened(self, parts: list[str], double: bool) -> Path:
        path: Path = ()
        for number, part in enumerate(parts, 1):
            path += (part,)
            if double and number == len(parts):
                self._arrays[path] = self._arrays.get(path, 0) + 1
            if path in self._arrays:
                path += (self._arrays[path] - 1,)
        return path

    def _keys(self, at: int) -> tuple[list[str], int]:
        """The parts of a dotted key, and its end."""
        parts = []
        while True:
            at = self._match(_BLANK, at)
            if self._text[at] in "\"'":
                end = self._match(_STRING, at)
                parts.append(_unquoted(self._text[at:end]))
            else:
                end = self._match(_BARE_KEY, at)
                parts.append(self._text[at:end])
            at = self._match(_BLANK, end)
            if self._text[at] != ".":
                return parts, at
            at += 1

    def _value(self, at: int, path: Path) -> int:
        """The end of a value."""
        first = self._text[at]
        if first in "\"'":
            return self._match(_STRING, at)
        if first not in "[{":
            return self._match(_BARE_VALUE, at)
        closing = "]" if first == "[" else "}"
        at = self._match(_SPACE, at + 1)
        number = 0
        while self._text[at] != closing:
            if first == "[":
                inner: Path = (*path, number)
                self._note(inner, at)
            else:
                line = at
                parts, at = self._keys(at)
                inner = (*path, *parts)
                self._note(inner, line)
                at = self._match(_SPACE, at + 1)
            at = self._match(_SPACE, self._value(at, inner))
            if self._text[at] == ",":
                at = self._match(_SPACE, at + 1)
            number += 1
        return at + 1

    def _note(self, path: Path, at: int) -> None:
        self._found.setdefault(path, bisect_right(self._starts, at))

    def _match(self, pattern: re.Pattern[str], at: int) -> int:
        match = pattern.match(self._text, at)
        if match is None:
            raise ValueError(f"not expected at {at}")
        return match.end()


def path_of(data: Any, key: str) -> Path:
    """Split a key of a message, ``route[3].target[1]``, into steps.

    Names may contain dots: the longest existing name is taken. A part that does not exist is one last step.
    """
    path: Path = ()
    rest = key
    while rest:
        index = re.match(r"\[(\d+)\]\.?", rest)
        if index is not None and isinstance(data, list):
            number = int(index[1])
            step: str | int = number
            rest = rest[index.end() :]
            data = data[number] if number < len(data) else None
        else:
            names = [name for name in data if _begins(rest, name)] if isinstance(data, dict) else []
            step = max(names, key=len, default=rest)
            rest = rest[len(str(step)) :].removeprefix(".")
            data = data.get(step) if isinstance(data, dict) else None
        path += (step,)
    return path


def _begins(text: str, name: str) -> bool:
    return text.startswith(name) and text[len(name) : len(name) + 1] in ("", ".", "[")


def _unquoted(text: str) -> str:
    if text[0] == "'":
        return text[1:-1]
    # Already loaded by the parser; it resolves escapes.
    import tomli

    return str(tomli.loads(f"x = {text}")["x"])
