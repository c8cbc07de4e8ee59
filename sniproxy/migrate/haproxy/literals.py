"""Conditions as alternatives of literals that must all hold (disjunctive normal form). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from sniproxy.migrate.haproxy.clients import ALL, Clients
from sniproxy.migrate.haproxy.names import Member, Names

MAX_ALTERNATIVES = 256
"""Of one condition. A condition with more is reported."""


class TooMany(ValueError):
    """A condition with more than L{MAX_ALTERNATIVES}."""


@attrs.frozen
class Unknown:
    """What cannot be told when the configuration is read. @ivar text: why, with the cure.

    @ivar limits: it limits rates or numbers of connections, so it does not decide where names go.
    """

    text: str
    limits: bool = False


Literal = Names | Clients | Unknown | bool


@attrs.frozen
class Case:
    """Literals that must all hold.

    @ivar names: conditions on the server name. @ivar unknown: what cannot be told; such a case is reported.
    """

    names: tuple[Names, ...] = ()
    clients: Clients = ALL
    unknown: tuple[Unknown, ...] = ()

    def __and__(self, other: Case) -> Case:
        names = (*self.names, *(one for one in other.names if one not in self.names))
        return Case(names, self.clients & other.clients, (*self.unknown, *other.unknown))


Condition = tuple[Case, ...]
"""Alternatives; no alternative: it never holds."""

ALWAYS: Condition = (Case(),)
NEVER: Condition = ()


def any_of(literals: Iterable[Literal]) -> Condition:
    """The condition that one of these holds. Literals of one kind are joined."""
    names: dict[Member, None] = {}
    clients = Clients()
    cases: list[Case] = []
    for one in literals:
        if one is True:
            return ALWAYS
        if isinstance(one, Names) and not one.negated:
            names.update(dict.fromkeys(one.members))
        elif isinstance(one, Clients):
            clients |= one
        elif one is not False:
            cases.append(_case(one))
    if names:
        cases.insert(0, Case((Names(tuple(names)),)))
    if clients == ALL:
        return ALWAYS
    return (*cases, Case(clients=clients)) if clients else tuple(cases)


def _case(one: Names | Unknown) -> Case:
    return Case(unknown=(one,)) if isinstance(one, Unknown) else Case((one,))


def either(conditions: Iterable[Condition]) -> Condition:
    """@raise TooMany: it has too many alternatives."""
    return _bounded(list(dict.fromkeys(case for one in conditions for case in one)))


def both(conditions: Iterable[Condition]) -> Condition:
    """@raise TooMany: it has too many alternatives."""
    found: list[Case] = [Case()]
    for one in conditions:
        found = [case & other for case in found for other in one]
        found = list(_bounded([case for case in dict.fromkeys(found) if case.clients]))
    return tuple(found)


def negation(condition: Condition) -> Condition:
    """@raise TooMany: it has too many alternatives."""
    return both(_negated(case) for case in condition)


def _negated(case: Case) -> Condition:
    found = [_case(~one) for one in case.names]
    found += [_case(one) for one in case.unknown]
    return (*found, Case(clients=~case.clients)) if case.clients != ALL else tuple(found)


def _bounded(cases: Sequence[Case]) -> Condition:
    if len(cases) > MAX_ALTERNATIVES:
        raise TooMany(f"the condition has more than {MAX_ALTERNATIVES} alternatives")
    return tuple(cases)
