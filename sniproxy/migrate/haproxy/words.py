"""Splits lines of haproxy.cfg into words, as HAProxy does (its configuration manual, section 2.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import attrs

_ESCAPES = {" ": " ", "\\": "\\", "#": "#", '"': '"', "'": "'", "$": "$", "t": "\t", "r": "\r", "n": "\n"}
_HEX = re.compile(r"[0-9a-fA-F]{2}")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_WHOLE_VARIABLE = re.compile(r"\$(\{)?([A-Za-z_][A-Za-z0-9_]*)(?(1)\})")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class BadWords(ValueError):
    """A line has an unmatched quote or a bad escape. The message says which."""


@attrs.frozen
class Words:
    """The words of a line. @ivar variables: unknown environment variables that HAProxy would put in; they stay."""

    words: tuple[str, ...]
    variables: tuple[str, ...] = ()


def split_words(line: str, environment: Mapping[str, str] = _NOTHING) -> Words:
    """Split a line into words, without its comment.

    Single quotes keep everything. Double quotes keep spaces, but not backslashes and environment variables. A backslash
    before any other character stays, so that regular expressions need no second one.

    @param environment: variables that are known.
    @raise BadWords: a quote is not closed, or an escape is wrong.
    """
    words: list[str] = []
    variables: list[str] = []
    word: str | None = None
    quote, at = "", 0
    while at < len(line):
        char = line[at]
        at += 1
        if quote == "'" and char != "'":
            word = (word or "") + char
        elif char in "'\"" and quote in ("", char):
            quote = "" if quote else char
            word = word or ""
        elif char == "\\":
            text, at = _escaped(line, at)
            word = (word or "") + text
        elif char == "#" and not quote:
            break
        elif char.isspace() and not quote:
            if word is not None:
                words.append(word)
            word = None
        else:
            text = char
            if char == "$" and quote:
                whole, found = _WHOLE_VARIABLE.match(line, at - 1), _VARIABLE.match(line, at - 1)
                if whole is not None and whole[2] in environment:
                    text, at = environment[whole[2]], whole.end()
                elif found is not None:
                    variables.append(found[1])
            word = (word or "") + text
    if quote:
        raise BadWords(f"a quote {quote} is not closed")
    if word is not None:
        words.append(word)
    return Words(tuple(words), tuple(variables))


def _escaped(line: str, at: int) -> tuple[str, int]:
    """What a backslash and the characters behind it mean. @param at: the place behind the backslash."""
    char = line[at : at + 1]
    if char == "x":
        found = _HEX.match(line, at + 1)
        if found is None:
            raise BadWords(r"\x must be followed by two hexadecimal digits")
        return chr(int(found[0], 16)), at + 3
    if char in _ESCAPES and char:
        return _ESCAPES[char], at + 1
    return "\\", at


def word_set(text: str) -> frozenset[str]:
    """The words of a list of keywords."""
    return frozenset(text.split())


def split_arguments(text: str, separator: str = ",") -> list[str]:
    """Split at separators outside of parentheses and quotes, as the arguments of a fetch or converter are."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            if char == quote:
                quote = ""
                continue
        elif char in "'\"":
            quote = char
            continue
        elif char == separator and depth == 0:
            parts.append("")
            continue
        else:
            depth = max(0, depth + (char == "(") - (char == ")"))
        parts[-1] += char
    return parts
