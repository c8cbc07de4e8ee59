"""What a route's ``server_name`` may be: a name, an IP address, a wildcard, or a regular expression after ``~``. Pure.

A pattern is kept as its normalised text; for an expression that is the text as written.
"""

from __future__ import annotations

import re

from sniproxy.util.names import BadName, pattern

MAX_GROUPS = 9
"""Groups of an expression, so that each has a place of one digit in a target: ``{1}`` to ``{9}``."""


def route_pattern(text: str) -> str:
    """The normalised form of what a route's ``server_name`` may be; what it can be, see L{pattern}, or ``~`` and a
    regular expression (Python's ``re``), which must match the whole name and cannot backtrack without bound.

    @raise BadName: it is none of these.
    """
    if not text.startswith("~"):
        return pattern(text)
    try:
        groups = expression(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise BadName(f"invalid regular expression: {error}") from error
    if groups > MAX_GROUPS:
        cure = "write (?:...) for groups that are not captured"
        raise BadName(f"the expression has {groups} groups; at most {MAX_GROUPS} are allowed: {cure}")
    # Imported here: most configurations have no expression, and start faster.
    from sniproxy.routing.backtracking import why_unbounded

    if why := why_unbounded(text[1:]):
        raise BadName(why)
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
