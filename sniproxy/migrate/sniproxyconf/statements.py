"""Splits a sniproxy.conf into statements. Pure.

A statement is a line, or ends at a semicolon. Words are separated by blanks; a backslash takes the next character as it
is, also within double quotes; ``#`` begins a comment.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from sniproxy.migrate.model import MigrateError, SourceFile

_ENDS = " \t\r\n;{}#"


@attrs.define
class Statement:
    """A line of the file. @ivar block: the statements in its braces. None: it has no braces."""

    words: list[str]
    line: int
    block: list[Statement] | None = None

    @property
    def arguments(self) -> list[str]:
        """The words after the first one."""
        return self.words[1:]


def statements(file: SourceFile) -> list[Statement]:
    """All statements of a file.

    @raise MigrateError: braces or quotes do not match.
    """
    top = Statement([], 0, [])
    open_blocks = [top]
    current: Statement | None = None
    for word, line, quoted in _tokens(file):
        inside = open_blocks[-1].block
        assert inside is not None
        if quoted or word not in ("{", "}", ";"):
            if current is None:
                current = Statement([], line)
                inside.append(current)
            current.words.append(word)
        elif word == ";":
            current = None
        elif word == "{":
            if current is None or len(open_blocks) > 2:
                raise MigrateError(f"{file.name}:{line}: a brace opens where no block can begin")
            current.block = []
            open_blocks.append(current)
            current = None
        elif len(open_blocks) == 1:
            raise MigrateError(f"{file.name}:{line}: a brace closes that is not open")
        else:
            open_blocks.pop()
            current = None
    if len(open_blocks) > 1:
        raise MigrateError(f"{file.name}:{open_blocks[-1].line}: the block is not closed; the file may be cut off")
    assert top.block is not None
    return top.block


def _tokens(file: SourceFile) -> Iterator[tuple[str, int, bool]]:
    """The words and the signs ``{``, ``}`` and ``;`` (also for the end of a line), each with its line, and whether it
    is a word."""
    text, at, line = file.text, 0, 1
    while at < len(text):
        char = text[at]
        if char in "{};\n":
            yield ";" if char == "\n" else char, line, False
            line += char == "\n"
            at += 1
        elif char == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif char in " \t\r":
            at += 1
        else:
            begin = line
            word, at, line = _word(file, at, line)
            yield word, begin, True


def _word(file: SourceFile, at: int, line: int) -> tuple[str, int, int]:
    text, made, quoted, begin = file.text, [], False, line
    while at < len(text) and (quoted or text[at] not in _ENDS):
        if text[at] == '"':
            quoted = not quoted
        else:
            if text[at] == "\\":
                at += 1
            made.append(text[at : at + 1])
            line += text[at : at + 1] == "\n"
        at += 1
    if quoted:
        raise MigrateError(f"{file.name}:{begin}: a quote is not closed")
    return "".join(made), at, line
