"""From rules on names and clients to rules on names, each with the clients that it is for. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

import attrs

from sniproxy.migrate.haproxy.backends import REFUSED, Destination
from sniproxy.migrate.haproxy.clients import ALL, Clients
from sniproxy.migrate.haproxy.entries import Entry
from sniproxy.migrate.haproxy.names import AND, Member, Names, TooLong, difference, intersection, written
from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place, Rule

MAX_STEPS = 20_000
"""Rules looked at again for one listener, for the names and clients that others leave. Beyond, they are reported."""

_SHOWN = {ANY: "all names", NAMELESS: "hellos without a name"}

Choice = tuple[Clients, Destination, Place]


class _Exhausted(Exception):
    pass


@attrs.frozen
class _Hellos:
    """Hellos with names that one of the patterns matches. @ivar nameless: hellos without a name, too."""

    members: tuple[Member, ...]
    nameless: bool = False

    def __bool__(self) -> bool:
        return self.nameless or bool(self.members)

    def with_name(self, names: Names) -> _Hellos:
        """Those with one of these names. @raise TooLong: an expression would be too long."""
        return _Hellos(tuple(intersection(self.members, names.members)))

    def without(self, names: Names) -> _Hellos:
        """Those with other names, as far as that can be said without a new expression."""
        return _Hellos(tuple(difference(self.members, names.members)), self.nameless)

    def less(self, patterns: Container[str]) -> _Hellos:
        """Those of other patterns."""
        return attrs.evolve(self, members=tuple(one for one in self.members if one[0] not in patterns))


@attrs.frozen
class _Outcome:
    """What happens to hellos. @ivar choices: the destination of clients, in the order of the rules."""

    hellos: _Hellos
    choices: tuple[Choice, ...]


@attrs.define
class _Walk:
    entries: Sequence[Entry]
    report: Notes
    steps: int = 0

    def outcomes(self, at: int, hellos: _Hellos, clients: Clients, decided: dict[str, Place]) -> Iterator[_Outcome]:
        """What happens to hellos of clients, from one rule on. The first outcome of a name counts.

        The names that a rule excepts come before the rule, with their outcomes by later rules.

        @param decided: the patterns with an outcome, and the rules that gave it; none comes again.
        """
        for index in range(at, len(self.entries)):
            entry = self.entries[index]
            self.steps += at > 0
            if self.steps > MAX_STEPS:
                raise _Exhausted
            here = clients & entry.case.clients if entry.case.clients != ALL else clients
            hellos = hellos.less(decided)
            if not hellos:
                return
            if not here:
                continue
            try:
                meant = self._meant(entry, hellos)
                yield from self._outcomes_of(index, entry, meant, clients, here, decided)
            except TooLong as error:
                self.report.left_out(entry.place, str(error), decides=True)
                continue
            if meant.nameless:
                hellos = attrs.evolve(hellos, nameless=False)

    @staticmethod
    def _meant(entry: Entry, hellos: _Hellos) -> _Hellos:
        """The hellos with the names of a rule, before its exceptions."""
        for one in entry.case.names:
            if not one.negated:
                hellos = hellos.with_name(one)
        return hellos

    def _outcomes_of(
        self, index: int, entry: Entry, meant: _Hellos, clients: Clients, here: Clients, decided: dict[str, Place]
    ) -> Iterator[_Outcome]:
        """The outcomes of all hellos that a rule means. @param here: the clients that it is for."""
        left = meant
        for one in entry.case.names:
            if one.negated:
                excepted = meant.with_name(~one)
                if excepted:
                    yield from self.outcomes(index + 1, excepted, clients, decided)
                left = left.without(~one)
        left = left.less(decided)
        if not left:
            return
        choice = (here, entry.action, entry.place)
        found = [_Outcome(left, ())]
        if here != clients:
            found = list(self.outcomes(index + 1, left, clients - here, {}))
        for outcome in found:
            new = outcome.hellos.less(decided)
            decided.update((pattern, entry.place) for pattern, _ in new.members)
            yield _Outcome(new, (choice, *outcome.choices))


def make_rules(entries: Sequence[Entry], report: Notes) -> list[Rule]:
    """Rules of which the first match decides; those at the end that refuse are not written.

    @param entries: the last one is for all hellos.
    """
    found: list[Rule] = []
    everything = _Hellos(((ANY, entries[-1].place),), True)
    try:
        for outcome in _Walk(entries, report).outcomes(0, everything, ALL, {}):
            found += _rules(outcome, report)
    except _Exhausted:
        text = f"more than {MAX_STEPS} combinations of names and clients; the rules from here on are not read"
        report.left_out(entries[-1].place, text, decides=True)
    while found and not found[-1].targets:
        found.pop()
    return found


def _rules(outcome: _Outcome, report: Notes) -> Iterator[Rule]:
    action, clients, place = _chosen(outcome, report)
    only_from = None if clients == ALL or action == REFUSED else clients.networks()
    members = outcome.hellos.members
    if outcome.hellos.nameless:
        members = (*members, (NAMELESS, place))
    for pattern, where in members:
        try:
            text = written(pattern)
        except TooLong as error:
            report.left_out(place, str(error), decides=True)
            continue
        yield Rule(
            text,
            where,
            action.targets,
            balance=action.balance,
            max_connections=action.max_connections,
            only_from=only_from,
            send_proxy=action.send_proxy,
            proxy_tlvs=action.proxy_tlvs,
            target_source=action.target_source,
        )


def _chosen(outcome: _Outcome, report: Notes) -> tuple[Destination, Clients, Place]:
    """The first destination of names, and its clients. Others are refused, because a name has one route."""
    found: dict[Destination, tuple[Clients, Place]] = {}
    for clients, action, place in outcome.choices:
        if action != REFUSED:
            before, where = found.get(action, (Clients(), place))
            found[action] = (before | clients, where)
    if not found:
        return REFUSED, ALL, outcome.choices[0][2]
    best, *others = found
    for action in others:
        pattern = outcome.hellos.members[0][0] if outcome.hellos.members else NAMELESS
        what = _SHOWN.get(pattern, pattern.replace(AND, " and "))
        text = f"{what}: a name has one route here, that of {found[best][1]}; clients of this rule are refused"
        report.left_out(found[action][1], text, decides=True)
    return best, *found[best]
