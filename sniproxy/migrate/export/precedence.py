"""Which routes a listener has, and in which order they are tried, for formats without our precedence. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.migrate.model import ANY, NAMELESS
from sniproxy.routing.patterns import is_expression

EXACT = (0, 0)
"""The L{rank} of an exact name."""


def chosen(routes: Iterable[tuple[str, str | None]], listener: str) -> list[int]:
    """The routes of a listener: of the same pattern, its own precedes the one for all.

    A pattern has the place of its first route, of any listener, as in L{sniproxy.routing.table.RouteTable}.

    @param routes: the pattern and the listener of each; None: all listeners. @return: their numbers, from 0.
    """
    found: dict[str, int | None] = {}
    for number, (pattern, owner) in enumerate(routes):
        before = found.setdefault(pattern, None)
        if owner == listener or (owner is None and before is None):
            found[pattern] = number
    return [number for number in found.values() if number is not None]


def rank(pattern: str) -> tuple[int, int]:
    """The order of patterns: exact names, wildcards with the longest first, expressions, all names, no name."""
    if pattern in (ANY, NAMELESS):
        return (3, pattern == NAMELESS)
    if is_expression(pattern):
        return (2, 0)
    return (1, -len(pattern)) if pattern.startswith("*.") else EXACT
