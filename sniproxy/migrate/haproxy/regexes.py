"""HAProxy's regular expressions, which match a part of a name, as ours, which match the whole name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_POSIX = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "lower": "a-z", "upper": "A-Z", "xdigit": "0-9a-fA-F",
    "word": "a-zA-Z0-9_", "punct": "._-", "space": " ",
}  # fmt: skip
_FLAGS = re.compile(r"\(\?[a-z]+\)")


class BadExpression(ValueError):
    """An expression that Python cannot read. The message says why."""


def whole_name_patterns(text: str) -> list[str]:
    """Our patterns of a PCRE expression that is searched in a name: a name, ``*.`` and a name, or ``~`` and a text.

    Each alternative at the top is a pattern of its own. Captures become plain groups, because no target uses them.

    @raise BadExpression: Python's syntax does not have it.
    """
    text = _python_syntax(text)
    try:
        re.compile(text, re.ASCII | re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadExpression(f"invalid regular expression: {error}") from error
    return [_whole(part) for part in _alternatives(text)]


def _python_syntax(text: str) -> str:
    found = _FLAGS.match(text)
    if found is not None:
        if set(found[0][2:-1]) - {"i", "s"}:
            raise BadExpression(f"the flags {found[0]} are not known here")
        text = text[found.end() :]
    text = re.sub(r"\[:([a-z]+):\]", lambda posix: _POSIX.get(posix[1], posix[0]), text)
    parts = []
    for part, in_class in _tokens(text):
        if (part == "(" and not in_class) or (part.startswith(("(?<", "(?P<")) and part.endswith(">")):
            part = "(?:"
        elif part in (r"\z", r"\Z"):
            part = "$"
        elif part == r"\A":
            part = "^"
        elif part == "[" and in_class:
            part = r"\["
        parts.append(part)
    return "".join(parts)


_TOKEN = re.compile(r"\\.|\(\?P?<[A-Za-z_]\w*>|\(\?|.", re.DOTALL)


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """The characters, with escapes and the begins of groups as one, and whether each is in a class."""
    in_class, first = False, False
    for found in _TOKEN.finditer(text):
        token = found[0]
        if in_class and len(token) > 1 and token[0] != "\\":
            for char in token:  # no group begins in a class
                yield char, True
            continue
        yield token, in_class
        if not in_class:
            in_class = first = token == "["
        elif token == "]" and not first:
            in_class = False
        elif token != "^" or not first:
            first = False


def _alternatives(text: str) -> list[str]:
    """The alternatives at the top of an expression."""
    parts, depth = [""], 0
    for token, in_class in _tokens(text):
        if not in_class:
            if token == "|" and depth == 0:
                parts.append("")
                continue
            depth += token.startswith("(")
            depth -= token == ")"
        parts[-1] += token
    return parts


_LITERAL = re.compile(r"(?:[A-Za-z0-9_-]|\\[.-])+")
_BELOW = re.compile(r"(?:\.\*|\.\+|\(\?:\.\*\)|\(\?:\.\+\))\\\.((?:[A-Za-z0-9_-]|\\[.-])+)")


def _whole(text: str) -> str:
    """The pattern of one alternative, as simple as possible."""
    before, after = not text.startswith("^"), not _ends_anchored(text)
    inner = text[0 if before else 1 : None if after else -1]
    if before:
        inner = re.sub(r"^(?:\.\*)+", "", inner)
    if after and not inner.endswith(r"\.*"):
        inner = inner.removesuffix(".*")
    if not before and not after and _LITERAL.fullmatch(inner):
        return inner.replace("\\", "")
    below = _BELOW.fullmatch(inner)
    if not after and below is not None and not before:
        return "*." + below[1].replace("\\", "")
    if before and not after and re.fullmatch(r"\\\.(?:[A-Za-z0-9_-]|\\[.-])+", inner):
        return "*" + inner.replace("\\", "")
    return f"~{'.*' if before else ''}{inner}{'.*' if after else ''}"


def _ends_anchored(text: str) -> bool:
    """Whether an expression ends with C{$} that is not escaped."""
    if not text.endswith("$"):
        return False
    escapes = len(text) - 1 - len(text[:-1].rstrip("\\"))
    return escapes % 2 == 0
