"""Bounds how far a route's regular expression can backtrack, from its structure alone. Pure.

At a choice (repeat or stop, an option, an alternative) of a good expression, the next character decides. Otherwise the
matcher may try each branch. A choice costs the logarithm of its branches; a repeat multiplies the cost of its content.
A repeat without a choice reads its characters again for each combination of the choices before it.
"""

from __future__ import annotations

import re
from itertools import combinations
from math import log2
from typing import Any

from sniproxy.util.names import MAX_NAME_CHARS

MAX_BITS = 2 * log2(MAX_NAME_CHARS + 1)
"""The largest allowed cost: two repeats that may end anywhere in a name. The worst name takes less than 1 ms."""

_ALL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_END = frozenset(("",))
_NEVER: frozenset[str] = frozenset()

Chars = frozenset[str]
_Found = tuple[float, float, Chars, bool]
"""Bits of its choices; bits of what is read after them; its possible first characters; whether it can be empty."""


def why_unbounded(text: str) -> str | None:
    """Why a crafted name can make an expression too slow, and the cure. None: it cannot.

    @param text: a valid expression, without the tilde.
    """
    parse: Any = re._parser.parse  # type: ignore[attr-defined]
    try:
        bits = sum(_sequence(parse(text, re.ASCII | re.IGNORECASE), _END)[:2])
    except _Unbounded as error:
        return str(error)
    if bits > MAX_BITS:
        return (
            "it can backtrack without bound: several repeats or choices match the same characters; "
            "let each stop at its separator, as in [^.-]+ instead of .*"
        )
    return None


class _Unbounded(Exception):
    pass


def _sequence(items: Any, after: Chars) -> _Found:
    bits, reads, empty, then = 0.0, 0.0, True, after
    first = _NEVER
    for op, argument in reversed(list(items)):
        more, read, begins, may_be_empty = _item(str(op), argument, then)
        reads = max(reads, read - bits)
        bits += more
        first = begins | first if may_be_empty else begins
        then = begins | then if may_be_empty else begins
        empty = empty and may_be_empty
    return bits, reads, first, empty


def _item(op: str, argument: Any, after: Chars) -> _Found:
    if op in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
        return 0.0, 0.0, frozenset(char for char in _ALL if _takes(op, argument, char)), False
    if op == "AT":
        return 0.0, 0.0, _NEVER, True
    if op == "SUBPATTERN":
        return _sequence(argument[3], after)
    if op == "BRANCH":
        return _branch(argument[1], after)
    if op in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, body = argument
        return _repeat(least, most, body, after)
    if op == "POSSESSIVE_REPEAT":
        least, most, body = argument
        bits, reads, first, empty = _sequence(body, _NEVER)
        return bits, max(reads, log2(min(int(most), MAX_NAME_CHARS) + 1)), first, empty or not least
    if op == "ATOMIC_GROUP":
        return _sequence(argument, _NEVER)
    if op in ("ASSERT", "ASSERT_NOT"):
        # Once it has matched, its choices are not tried again. It is read again from each place where a repeat before
        # it can end.
        reads = sum(_sequence(argument[1], _NEVER)[:2])
        return 0.0, reads, _ALL if reads else _NEVER, True
    return log2(MAX_NAME_CHARS), 0.0, _ALL, True  # a back-reference


def _repeat(least: int, most: int, body: Any, after: Chars) -> _Found:
    least, most = min(least, MAX_NAME_CHARS), min(int(most), MAX_NAME_CHARS)
    _, _, first, empty = _sequence(body, after)
    inner, reads, _, _ = _sequence(body, after | first if most > 1 else after)
    bits = inner * most
    ends = log2(most - least + 1) if first & after or empty else 0.0
    bits += ends
    if inner and bits > MAX_BITS:
        raise _Unbounded(
            "it can backtrack without bound: a repeat holds alternatives, an option or a repeat that match the same "
            "characters; write one class, as [a-z0-9-]+, or a possessive repeat, as (?:...)++"
        )
    return bits, max(reads, log2(most + 1) - ends), first, empty or not least


def _branch(alternatives: Any, after: Chars) -> _Found:
    found = [_sequence(each, after) for each in alternatives]
    begins = [first | after if empty else first for _, _, first, empty in found]
    # The parser leaves an empty alternative where one is a prefix of another, as in (?:a|ab).
    same = any(empty for *_, empty in found) or any(one & other for one, other in combinations(begins, 2))
    most = max(bits for bits, *_ in found)
    reads = max(bits + reads for bits, reads, *_ in found) - most
    bits = most + (log2(len(found)) if same else 0.0)
    return bits, reads, _NEVER.union(*(first for _, _, first, _ in found)), any(empty for *_, empty in found)


def _takes(op: str, argument: Any, char: str) -> bool:
    """Whether an item matches a character in lower or upper case."""
    if op == "ANY":
        return True
    codes = (ord(char), ord(char.upper()))
    if op == "LITERAL":
        return argument in codes
    if op == "NOT_LITERAL":
        return argument not in codes
    negated = str(argument[0][0]) == "NEGATE"
    return negated is not any(_in_class(str(kind), value, char, codes) for kind, value in argument)


def _in_class(kind: str, value: Any, char: str, codes: tuple[int, int]) -> bool:
    if kind == "LITERAL":
        return value in codes
    if kind == "RANGE":
        return any(value[0] <= code <= value[1] for code in codes)
    if kind == "CATEGORY":
        name = str(value)
        digit, word = char.isdigit(), char.isalnum() or char == "_"
        return {"DIGIT": digit, "WORD": word, "SPACE": False, "NOT_DIGIT": not digit, "NOT_WORD": not word}.get(
            name.removeprefix("CATEGORY_"), True
        )
    return False
