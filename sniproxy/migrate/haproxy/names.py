"""Sets of server names: unions and intersections of patterns, as patterns again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import attrs

from sniproxy.migrate.model import ANY, Place
from sniproxy.migrate.ordering import literal_tail
from sniproxy.routing.patterns import is_expression, matches

MAX_EXPRESSION_CHARS = 20_000
"""Of an expression of several conditions. A longer one is reported."""

MAX_PAIRS = 20_000
"""Of patterns, not exact, whose intersections one condition asks for. More are reported."""

AND = "\n"
"""Between the parts of a pattern that must all match; L{written} makes one pattern of them."""

Member = tuple[str, Place]
"""A pattern in our syntax, or parts of one with L{AND} between them; and where it was read."""


class TooLong(ValueError):
    """A set of names that needs more than L{MAX_EXPRESSION_CHARS} or L{MAX_PAIRS}."""


@attrs.frozen
class Names:
    """A condition on the server name: one of these patterns matches it, or none does.

    A hello without a name fulfils only negated conditions.
    """

    members: tuple[Member, ...]
    negated: bool = False

    def __invert__(self) -> Names:
        return attrs.evolve(self, negated=not self.negated)


def intersection(these: Sequence[Member], those: Sequence[Member]) -> list[Member]:
    """The patterns of the names that both sets have; empty: there are none. @raise TooLong: they are too many."""
    if [pattern for pattern, _ in these] == [ANY]:
        return list(those)
    exact = {pattern for pattern, _ in those if _is_exact(pattern)}
    others = [member for member in those if not _is_exact(member[0])]
    if len(others) * sum(not _is_exact(pattern) for pattern, _ in these) > MAX_PAIRS:
        raise TooLong(f"it has more than {MAX_PAIRS} pairs of wildcards and expressions")
    found: dict[str, Place] = {}
    for pattern, place in these:
        if _is_exact(pattern):
            if pattern in exact or any(_within(pattern, other) for other, _ in others):
                found.setdefault(pattern, place)
            continue
        for other, where in those:
            if _is_exact(other):
                if _within(other, pattern):
                    found.setdefault(other, where)
            elif (both := _both(pattern, other)) is not None:
                found.setdefault(both, place)
    return _smallest(found)


def difference(these: Sequence[Member], those: Sequence[Member]) -> list[Member]:
    """The patterns of a set without those whose names are all in another. Others may keep names of it."""
    exact = {pattern for pattern, _ in those if _is_exact(pattern)}
    others = [pattern for pattern, _ in those if not _is_exact(pattern)]
    return [
        member for member in these if member[0] not in exact and not any(_within(member[0], other) for other in others)
    ]


def written(pattern: str) -> str:
    """The pattern of several parts, as a route has it. @raise TooLong: it would be too long."""
    wildcards = [part for part in pattern.split(AND) if not is_expression(part)]
    expressions = [part for part in pattern.split(AND) if is_expression(part)]
    if not expressions:
        return pattern
    ahead = "".join(f"(?={_text(part)}$)" for part in expressions[:-1])
    behind = "".join(f"(?<=.{part[1:]})".replace(".", r"\.").replace(r"<=\.", "<=.") for part in wildcards)
    if not ahead and not behind:
        return expressions[0]
    found = f"~{ahead}{_text(expressions[-1])}{behind}"
    if len(found) > MAX_EXPRESSION_CHARS:
        raise TooLong(f"it needs an expression of {len(found)} characters; at most {MAX_EXPRESSION_CHARS} are allowed")
    return found


def _smallest(found: dict[str, Place]) -> list[Member]:
    """The members without those whose parts contain all parts of another."""
    parts = {pattern: frozenset(pattern.split(AND)) for pattern in found if AND in pattern}
    whole = [frozenset(pattern.split(AND)) for pattern in found if not _is_exact(pattern)]
    return [
        (pattern, place)
        for pattern, place in found.items()
        if pattern not in parts or not any(other < parts[pattern] for other in whole)
    ]


def _both(one: str, other: str) -> str | None:
    """The parts of two patterns, neither exact. None: no name has all."""
    parts = [part for part in dict.fromkeys((*one.split(AND), *other.split(AND))) if part != ANY]
    if not parts:
        return ANY
    if any(_ends_differ(a, b) for a, b in combinations(parts, 2)):
        return None
    wildcards = [part for part in parts if not is_expression(part)]
    longest = [max(wildcards, key=len)] if wildcards else []
    return AND.join(sorted([*longest, *(part for part in parts if is_expression(part))]))


def _ends_differ(one: str, other: str) -> bool:
    """Whether no name ends as both patterns, neither exact, want."""
    ends = [literal_tail(each[1:]) if is_expression(each) else each[1:] for each in (one, other)]
    return not (ends[0].endswith(ends[1]) or ends[1].endswith(ends[0]))


def _within(pattern: str, other: str) -> bool:
    """Whether all names of a pattern are in another that is not exact, as far as that can be said."""
    if _is_exact(pattern):
        return all(part == ANY or matches(part, pattern) for part in other.split(AND))
    parts = pattern.split(AND)
    return all(any(_part_within(part, wanted) for part in parts) for wanted in other.split(AND))


def _part_within(part: str, other: str) -> bool:
    if part == other or other == ANY:
        return True
    return part.startswith("*.") and other.startswith("*.") and part.endswith(other[1:])


def _is_exact(pattern: str) -> bool:
    return not pattern.startswith(("*", "~"))


def _text(pattern: str) -> str:
    """An expression without the tilde, as a part of another."""
    return pattern[1:] if "|" not in pattern else f"(?:{pattern[1:]})"
