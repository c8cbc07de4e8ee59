"""The route table: finds the route of a server name. Pure.

A route with an empty pattern is for hellos without a name. The precedence is: exact name, longest wildcard, expressions
in file order. Of routes with the same pattern, one for the listener precedes one for all listeners. A match costs one
dictionary lookup per label of the name, independent of the number of routes; expressions are tried one by one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from sniproxy.routing.patterns import expression, is_expression
from sniproxy.util.names import ip_literal


class HasPattern(Protocol):
    """A route as the table needs it: its normalised pattern, and its listener (None: all listeners)."""

    @property
    def server_name(self) -> str: ...

    @property
    def listener(self) -> str | None: ...


R = TypeVar("R", bound=HasPattern)

_MAX_CANDIDATES = 32
"""Routes compared with an unmatched name: hints must stay cheap during a burst of refusals."""

_LONGEST_COMPARED = 100
_MAX_HINTS = 512
_MIN_ALIKE = 0.5

_LOOK_ALIKES = str.maketrans("lio_", "110-")
"""Characters that look alike: of several close names, the one that looks the same is the closest."""


class RouteTable(Generic[R]):
    """Finds routes by name. @param routes: no two have the same pattern and listener."""

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
            if not pattern:
                continue
            for key in _neighbourhood(pattern):
                candidates = self._near.get(key)
                if candidates is None:
                    self._near[key] = [pattern]
                elif len(candidates) < _MAX_CANDIDATES:
                    candidates.append(pattern)

    def routes(self) -> list[R]:
        """All routes."""
        tables = [self._exact, self._wildcards, *(found for _, found in self._expressions.values())]
        return [route for table in tables for route in table.values()]

    def match(self, name: str, listener: str) -> R | None:
        """The route of a normalised server name on a listener, or None. An IP literal matches only exact routes."""
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

    def choose(self, name: str, listener: str, default: R | None) -> R | None:
        """As L{match}, or the default route. An IP literal does not match the default route."""
        exact = self._exact
        found = exact.get((name, listener)) or exact.get((name, None)) or self.match(name, listener)
        return default if found is None and ip_literal(name) is None else found

    def nameless(self, listener: str) -> R | None:
        """The route of a listener's own for hellos without a server name, or None."""
        return self._exact.get(("", listener))

    def why_none(self, name: str, listener: str) -> str:
        """Why L{choose} finds no route, for the access log and for C{sniproxyctl explain}."""
        if ip_literal(name) is not None:
            return f"the server name {name} is an IP literal and has no exact route; use a service URL with a host name"
        closest = self.closest(name)
        if closest is None:
            return "no route has this name"
        if closest == name:
            return f"no route has this name on listener {listener}; another listener has one"
        if closest == f"*.{name}":
            return f"no route has this name; {closest} matches names below it, not the name itself"
        return f"no route has this name; the closest is {closest}"

    def closest(self, name: str) -> str | None:
        """The pattern closest to an unmatched name, for an error text, or None."""
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
        # A long common parent makes any two names close, so the differing parts must also be close.
        pattern = looks[close[0]]
        ours, theirs = (text.removeprefix("*.").translate(_LOOK_ALIKES).partition(".") for text in (name, pattern))
        part = 2 if ours[0] == theirs[0] else 0
        alike = difflib.SequenceMatcher(None, ours[part], theirs[part]).ratio()
        return pattern if alike >= _MIN_ALIKE else None

    @staticmethod
    def _get(routes: dict[tuple[str, str | None], R], name: str, listener: str) -> R | None:
        return routes.get((name, listener)) or routes.get((name, None))


def _neighbourhood(pattern: str) -> tuple[str, ...]:
    """The keys of L{RouteTable._near}: a mistyped name is compared with names of the same first label or parent."""
    first, _, parent = pattern.removeprefix("*.").partition(".")
    return (f"{first}.", f".{parent}")
