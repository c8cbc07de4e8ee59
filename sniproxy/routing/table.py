"""The route table: which route has this server name? Pure.

An exact name beats the longest wildcard beats the expressions in their order beats the default. Among routes with the
same pattern, one for this listener beats one for all. A match costs a dictionary look-up for each label of the name,
however many routes there are; expressions are tried one by one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from sniproxy.routing.patterns import expression, is_expression
from sniproxy.util.names import ip_literal


class HasPattern(Protocol):
    """What the table needs to know of a route: its normalised pattern, and its listener (None: all)."""

    @property
    def server_name(self) -> str: ...

    @property
    def listener(self) -> str | None: ...


R = TypeVar("R", bound=HasPattern)

_MAX_CANDIDATES = 32
"""Routes compared with a name that has none: the hint must stay cheap in a storm of refusals."""

_LONGEST_COMPARED = 100
_MAX_HINTS = 512
_MIN_ALIKE = 0.5

_LOOK_ALIKES = str.maketrans("lio_", "110-")
"""Typed for one another: of several close names, the one that looks the same is the closest."""


class RouteTable(Generic[R]):
    """Routes by name. @param routes: no two with the same pattern and listener."""

    def __init__(self, routes: Iterable[R]) -> None:
        self._exact: dict[tuple[str, str | None], R] = {}
        self._wildcards: dict[tuple[str, str | None], R] = {}
        self._expressions: dict[str, tuple[re.Pattern[str], dict[tuple[str, str | None], R]]] = {}
        self._near: dict[str, list[str]] = {}
        self._hints: dict[str, str | None] = {}
        for route in routes:
            pattern = route.server_name
            if is_expression(pattern):
                _, found = self._expressions.setdefault(pattern, (expression(pattern), {}))
                found[pattern, route.listener] = route
                continue
            if pattern.startswith("*."):
                self._wildcards[pattern[2:], route.listener] = route
            else:
                self._exact[pattern, route.listener] = route
            for key in _neighbourhood(pattern):
                candidates = self._near.get(key)
                if candidates is None:
                    self._near[key] = [pattern]
                elif len(candidates) < _MAX_CANDIDATES:
                    candidates.append(pattern)

    def match(self, name: str, listener: str) -> R | None:
        """The route for a normalised server name on a listener, or None. An IP literal has only exact routes."""
        found = self._get(self._exact, name, listener)
        if found is not None or not (self._wildcards or self._expressions) or ip_literal(name) is not None:
            return found
        rest = name if self._wildcards else ""
        while found is None and "." in rest:
            rest = rest[rest.index(".") + 1 :]
            found = self._get(self._wildcards, rest, listener)
        if found is None:
            for pattern, (compiled, routes) in self._expressions.items():
                if compiled.fullmatch(name):
                    found = self._get(routes, pattern, listener)
                    if found is not None:
                        break
        return found

    def closest(self, name: str) -> str | None:
        """The pattern that a name without a route was perhaps meant for, for an error's text."""
        if name not in self._hints:
            if len(self._hints) >= _MAX_HINTS:
                self._hints.clear()
            self._hints[name] = self._hint(name)
        return self._hints[name]

    def _hint(self, name: str) -> str | None:
        candidates = {pattern for key in _neighbourhood(name) for pattern in self._near.get(key, ())}
        if f"*.{name}" in candidates or (name, None) in self._wildcards:
            return f"*.{name}"
        if len(name) > _LONGEST_COMPARED:
            return None
        looks = {pattern.translate(_LOOK_ALIKES): pattern for pattern in sorted(candidates)}
        close = difflib.get_close_matches(name.translate(_LOOK_ALIKES), looks, n=1, cutoff=0.75)
        if not close:
            return None
        # A long common parent makes any two names close: what differs must be close, too.
        pattern = looks[close[0]]
        ours, theirs = (text.removeprefix("*.").translate(_LOOK_ALIKES).partition(".") for text in (name, pattern))
        part = 2 if ours[0] == theirs[0] else 0
        alike = difflib.SequenceMatcher(None, ours[part], theirs[part]).ratio()
        return pattern if alike >= _MIN_ALIKE else None

    @staticmethod
    def _get(routes: dict[tuple[str, str | None], R], name: str, listener: str) -> R | None:
        return routes.get((name, listener)) or routes.get((name, None))


def _neighbourhood(pattern: str) -> tuple[str, ...]:
    """Where a mistyped name is looked for: among names with the same first label or the same parent."""
    first, _, parent = pattern.removeprefix("*.").partition(".")
    return (f"{first}.", f".{parent}")
