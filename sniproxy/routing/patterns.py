"""Patterns of server names: a name, an IP address, a wildcard, or a regular expression after ``~``. Pure.

A pattern is a normalised text; an expression is kept as written.
"""

from __future__ import annotations

import re

from sniproxy.util.names import BadName, pattern

MAX_GROUPS = 9
"""Groups of an expression: a target names each by one digit, ``{1}`` to ``{9}``."""


def route_pattern(text: str) -> str:
    """Normalise a route's ``server_name``: see L{pattern}, or ``~`` and a regular expression (Python's ``re``).

    An expression must match the whole name, and must not backtrack without bound.

    @raise BadName: the text is no pattern.
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
    # Imported here: most configurations have no expression and start faster without it.
    from sniproxy.routing.backtracking import why_unbounded

    if why := why_unbounded(text[1:]):
        raise BadName(why)
    return text


def is_expression(pattern: str) -> bool:
    return pattern.startswith("~")


def expression(pattern: str) -> re.Pattern[str]:
    """Compile a pattern's regular expression, case-insensitive as names are."""
    return re.compile(pattern[1:], re.ASCII | re.IGNORECASE)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches a normalised server name as text. L{RouteTable} adds the rule for IP literals."""
    if is_expression(pattern):
        return expression(pattern).fullmatch(name) is not None
    return pattern == name or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def capture_count(pattern: str) -> int:
    """The number of captures of a pattern: 1 for a wildcard, or the groups of an expression."""
    if pattern.startswith("*."):
        return 1
    return expression(pattern).groups if is_expression(pattern) else 0


def captured(pattern: str, name: str | None) -> tuple[str, ...]:
    """The captures of a pattern from a name that it matches.

    @return: for ``*.example.com`` and ``a.b.example.com``, ``("a.b",)``. A group that did not match is empty.
    """
    if name is None:
        return ()
    if is_expression(pattern):
        match = expression(pattern).fullmatch(name)
        return () if match is None else match.groups("")
    if pattern.startswith("*."):
        return (name[: 1 - len(pattern)],)
    return ()
