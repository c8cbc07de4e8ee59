"""What a text with variables is for each server name: a list of cases, of which the first match decides. Pure.

Every list covers all names: it ends with cases for L{ANY} name and for L{NAMELESS} hellos.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import attrs

from sniproxy.migrate.model import ANY, NAMELESS, Place
from sniproxy.routing.patterns import captured, is_expression, matches

SERVER_NAME = 0
"""The part of a value that is the server name. Greater numbers are the groups of the case's expression."""

PORT = -1
"""The part of a value that is the port of the listener."""

MAX_CASES = 200_000

MAX_TEXT = 2000
"""Maximum characters of a value."""

Value = tuple[str | int, ...]


class TooManyCases(Exception):
    """Several maps together have too many combinations, or too long a text."""


@attrs.frozen
class Case:
    """Names, and what a text is for them. @ivar place: of what decides it."""

    pattern: str
    value: Value
    place: Place


def always(value: Value, place: Place) -> list[Case]:
    """The same value for all."""
    return [Case(NAMELESS, value, place), Case(ANY, value, place)]


def is_exact(pattern: str) -> bool:
    """Whether a pattern is one name."""
    return pattern not in (ANY, NAMELESS) and not is_expression(pattern) and not pattern.startswith("*.")


def plus(*values: Value) -> Value:
    """Values one after the other. @raise TooManyCases: they are too long."""
    made: list[str | int] = []
    for part in (part for value in values for part in value):
        if part == "":
            continue
        if isinstance(part, str) and made and isinstance(made[-1], str):
            made[-1] += part
        else:
            made.append(part)
    if sum(len(part) for part in made if isinstance(part, str)) > MAX_TEXT:
        raise TooManyCases()
    return tuple(made)


def constant(value: Value, port: int) -> str | None:
    """The text of a value that depends on no name; None: it does."""
    parts = [str(port) if part == PORT else part for part in value]
    return "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None


def first(cases: Iterable[Case], name: str | None) -> Case:
    """The case of a name, with its captures filled in. @param name: None: a hello without a name."""
    for case in cases:
        if covers(case.pattern, name):
            return case if name is None else attrs.evolve(case, value=filled(case.value, case.pattern, name))
    raise AssertionError("a list of cases covers all names")


def covers(pattern: str, name: str | None) -> bool:
    """Whether a pattern has a name. @param name: None: a hello without a name."""
    if name is None or pattern == NAMELESS:
        return name is None and pattern == NAMELESS
    return pattern == ANY or matches(pattern, name)


def filled(value: Value, pattern: str, name: str) -> Value:
    """A value for one name."""
    groups = captured(pattern, name) if is_expression(pattern) else ()
    parts: list[str | int] = []
    for part in value:
        if isinstance(part, str) or part == PORT:
            parts.append(part)
        else:
            parts.append(name if part == SERVER_NAME else groups[part - 1] if part <= len(groups) else "")
    return plus(tuple(parts))


def shifted(value: Value, by: int) -> Value:
    """A value whose groups come after C{by} others."""
    return tuple(part + by if isinstance(part, int) and part > 0 else part for part in value)


def product(one: Sequence[Case], other: Sequence[Case]) -> Iterator[Case]:
    """The values of both, one after the other.

    @raise TooManyCases: there are too many.
    """
    for pattern, a, b in pairs(one, other):
        yield Case(pattern, plus(a.value, b.value), b.place if _is_narrower(b.pattern, a.pattern) else a.place)


def _is_narrower(pattern: str, than: str) -> bool:
    return is_exact(pattern) or (than == ANY and pattern != ANY)


def pairs(one: Sequence[Case], other: Sequence[Case]) -> Iterator[tuple[str, Case, Case]]:
    """All patterns that both lists have in common, in the order of the first list, with the two cases."""
    count = 0
    exact: dict[str, int] = {}
    broad = []
    for at, b in enumerate(other):
        if is_exact(b.pattern):
            exact.setdefault(b.pattern, at)
        else:
            broad.append((at, b))
    for a in one:
        if a.pattern == NAMELESS:
            yield from ((NAMELESS, a, b) for b in other if b.pattern == NAMELESS)
            continue
        if is_exact(a.pattern):
            at = exact.get(a.pattern, len(other))
            b = next((b for index, b in broad if index < at and covers(b.pattern, a.pattern)), None) or other[at]
            right = filled(b.value, b.pattern, a.pattern)
            yield a.pattern, attrs.evolve(a, value=filled(a.value, a.pattern, a.pattern)), attrs.evolve(b, value=right)
            continue
        for b in other:
            count += 1
            if count > MAX_CASES:
                raise TooManyCases()
            pattern, by = both(a.pattern, b.pattern)
            if pattern is None:
                continue
            left = a.value
            if is_exact(pattern):
                left, right = filled(left, a.pattern, pattern), filled(b.value, b.pattern, pattern)
            else:
                right = shifted(b.value, by)
            yield pattern, attrs.evolve(a, value=left), attrs.evolve(b, value=right)


def both(one: str, other: str) -> tuple[str | None, int]:
    """The pattern of the names that two patterns have in common, and how many groups come before those of the second.

    None: there are no such names.
    """
    if NAMELESS in (one, other):
        return (NAMELESS if one == other else None), 0
    if ANY in (one, other):
        return (other if one == ANY else one), 0
    if is_exact(one) or is_exact(other):
        name, pattern = (one, other) if is_exact(one) else (other, one)
        return (name if matches(pattern, name) else None), 0
    if not is_expression(one) and not is_expression(other):
        longer, shorter = sorted((one, other), key=len, reverse=True)
        return (longer if longer[1:].endswith(shorter[1:]) else None), 0
    groups = re.compile(one[1:]).groups if is_expression(one) else 0
    first_, second = (text[1:] if is_expression(text) else rf".+{re.escape(text[1:])}" for text in (one, other))
    return rf"~(?=(?:{first_})\Z)(?:{second})", groups
