"""Splits an nginx configuration into directives. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from sniproxy.migrate.model import MigrateError, Place, SourceFile

MAX_DEPTH = 20
"""Maximum nesting of blocks."""

_BLANKS = " \t\r\n"
_UNESCAPED = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}


@attrs.define
class Directive:
    """A directive with its arguments. @ivar block: the directives in its braces. None: it ends with a semicolon."""

    name: str
    arguments: list[str]
    file: str
    line: int
    block: list[Directive] | None = None

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.file, self.line, self.name)

    @property
    def first(self) -> str:
        """The first argument; empty: there is none."""
        return self.arguments[0] if self.arguments else ""


def directives(file: SourceFile) -> list[Directive]:
    """All directives of a file. Includes are not followed.

    @raise MigrateError: braces or quotes do not match, or a directive is not ended.
    """
    top = Directive("", [], file.name, 0, [])
    open_blocks = [top]
    words: list[str] = []
    begin = 0
    for sign, text, line in _tokens(file):
        if sign == "word":
            begin = begin if words else line
            words.append(text)
            continue
        if sign == "}":
            if words:
                raise MigrateError(f'{file.name}:{line}: "}}" where the directive {words[0]} needs ";"')
            if len(open_blocks) == 1:
                raise MigrateError(f"{file.name}:{line}: a brace closes that is not open")
            open_blocks.pop()
            continue
        if not words:
            raise MigrateError(f'{file.name}:{line}: "{sign}" without a directive')
        found = Directive(words[0], words[1:], file.name, begin)
        words = []
        inside = open_blocks[-1].block
        assert inside is not None
        inside.append(found)
        if sign == "{":
            if len(open_blocks) > MAX_DEPTH:
                raise MigrateError(f"{file.name}:{line}: blocks are nested more than {MAX_DEPTH} levels")
            found.block = []
            open_blocks.append(found)
    if words:
        raise MigrateError(f'{file.name}:{begin}: the directive {words[0]} is not ended; write ";"')
    if len(open_blocks) > 1:
        last = open_blocks[-1]
        raise MigrateError(f"{file.name}:{last.line}: the block {last.name} is not closed; the file may be cut off")
    assert top.block is not None
    return top.block


def _tokens(file: SourceFile) -> Iterator[tuple[str, str, int]]:
    """Words and the signs ``{``, ``}`` and ``;``, as (sign or "word", text, line)."""
    text, at, line = file.text.removeprefix("\ufeff"), 0, 1
    while at < len(text):
        char = text[at]
        if char in _BLANKS:
            line += char == "\n"
            at += 1
        elif char in "{};":
            yield char, char, line
            at += 1
        elif char == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            word, end = _quoted(text, at, file.name, line) if char in "\"'" else _plain(text, at)
            yield "word", word, line
            line += text.count("\n", at, end)
            at = end


def _plain(text: str, at: int) -> tuple[str, int]:
    made, variable = [], False
    while at < len(text):
        char = text[at]
        if char == "\\":
            made.append(_unescaped(text, at))
            at, variable = at + 2, False
            continue
        if char in _BLANKS or char == ";" or (char == "{" and not variable):
            break
        variable = char == "$"
        made.append(char)
        at += 1
    return "".join(made), at


def _quoted(text: str, at: int, file: str, line: int) -> tuple[str, int]:
    quote, made = text[at], []
    at += 1
    while at < len(text) and text[at] != quote:
        if text[at] == "\\":
            made.append(_unescaped(text, at))
            at += 2
        else:
            made.append(text[at])
            at += 1
    if at >= len(text):
        raise MigrateError(f"{file}:{line}: a quote is not closed")
    return "".join(made), at + 1


def _unescaped(text: str, at: int) -> str:
    """What a backslash and the next character are: nginx keeps the backslash before most characters."""
    after = text[at + 1 : at + 2]
    return _UNESCAPED.get(after, f"\\{after}")
