"""What a route's ``server_name`` may be: a name, an IP address, a wildcard, or a regular expression after ``~``. Pure.

A pattern is kept as its normalised text; for an expression that is the text as written.
"""

from __future__ import annotations

import re

from sniproxy.names import BadName, pattern

MOST_GROUPS = 9
"""Groups of an expression, so that each has a place of one digit in a target: ``{1}`` to ``{9}``."""


def route_pattern(text: str) -> str:
    """The normalised form of what a route's ``server_name`` may be; what it can be, see L{pattern}, or ``~`` and a
    regular expression (Python's ``re``), which must match the whole name.

    @raise BadName: it is none of these.
    """
    if not text.startswith("~"):
        return pattern(text)
    try:
        groups = expression(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise BadName(f"this is no regular expression: {error}") from error
    if groups > MOST_GROUPS:
        cure = "write (?:...) where nothing is taken out"
        raise BadName(f"the expression has {groups} groups; at most {MOST_GROUPS} are allowed: {cure}")
    return text


def is_expression(pattern: str) -> bool:
    return pattern.startswith("~")


def expression(pattern: str) -> re.Pattern[str]:
    """A pattern's regular expression. Names compare without case, so it does."""
    return re.compile(pattern[1:], re.ASCII | re.IGNORECASE)


def capture_count(pattern: str) -> int:
    """How many parts of a name a pattern takes out: what the star matched, or an expression's groups."""
    if pattern.startswith("*."):
        return 1
    return expression(pattern).groups if is_expression(pattern) else 0


def captured(pattern: str, name: str | None) -> tuple[str, ...]:
    """The parts of a name that a pattern takes out. The name is one that the pattern matches.

    @return: for ``*.example.com`` and ``a.b.example.com``, ``("a.b",)``. A group that took no part is empty.
    """
    if name is None:
        return ()
    if is_expression(pattern):
        match = expression(pattern).fullmatch(name)
        return () if match is None else match.groups("")
    if pattern.startswith("*."):
        return (name[: 1 - len(pattern)],)
    return ()


_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?>|[()]|(?:[*+]|\{\d*,?\d*\})[+?]?")


def nests_repeats(pattern: str) -> bool:
    """Whether an expression repeats a group that itself repeats something, as ``(a+)+`` does: with a name made for it,
    such a comparison may take longer than anybody waits. Possessive repeats (``++``) and atomic groups do not count.
    """
    text = pattern[1:]
    groups = [(False, False)]  # the open ones: is it atomic? does it hold a repeat?
    closed_at, held = -1, False  # the group that was closed last
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in ("(", "(?>"):
            groups.append((mark == "(?>", False))
        elif mark == ")" and len(groups) > 1:
            atomic, repeats = groups.pop()
            closed_at, held = token.end(), repeats and not atomic
            groups[-1] = (groups[-1][0], groups[-1][1] or held)
        elif mark[0] in "*+{" and not mark[1:].endswith("+"):
            if held and token.start() == closed_at:
                return True
            groups[-1] = (groups[-1][0], True)
    return False
