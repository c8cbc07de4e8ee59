"""Works out what texts with variables are for each server name. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place
from sniproxy.migrate.nginx.cases import (
    PORT,
    SERVER_NAME,
    Case,
    Value,
    always,
    constant,
    filled,
    is_exact,
    pairs,
    plus,
    product,
)  # fmt: skip
from sniproxy.migrate.nginx.maps import Entry, Map
from sniproxy.migrate.pcre import with_group
from sniproxy.routing.patterns import is_expression

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_PREREAD = "ssl_preread_server_name"
_PROTOCOL = "ssl_preread_protocol"


class UnknownVariable(Exception):
    """The value of a text depends on something that is not known here. The message names it."""


@attrs.frozen
class Scope:
    """A listener of nginx. @ivar name: whether hellos are read, so that the name is known. @ivar ends_tls: it
    terminates TLS."""

    host: str = "0.0.0.0"
    port: int = 0
    name: bool = True
    ends_tls: bool = False


@attrs.define
class Variables:
    """The variables of a configuration.

    @ivar maps: C{map} blocks by variable. @ivar texts: of C{set}, by variable. @ivar chosen: variables that depend on
        the client, as of C{geo}, with the value that they have by default. @ivar names: variables of C{server_name}.
    """

    report: Notes
    maps: dict[str, Map] = attrs.field(factory=dict)
    texts: dict[str, tuple[str, Place]] = attrs.field(factory=dict)
    chosen: dict[str, tuple[str, Place]] = attrs.field(factory=dict)
    _known: dict[tuple[str, Scope], list[Case]] = attrs.field(factory=dict)
    _open: list[str] = attrs.field(factory=list)
    _reported: set[tuple[Place, str]] = attrs.field(factory=set)

    def cases(self, text: str, place: Place, scope: Scope, groups: Mapping[str, int] | None = None) -> list[Case]:
        """What a text is for each server name.

        @param groups: the groups of the expression around it, by name and number.
        @raise UnknownVariable: it has a variable that is not known here.
        @raise BadExpression: an expression cannot be applied to a part of a text.
        @raise TooManyCases: there are too many combinations.
        """
        found: list[Case] = []
        at = 0
        for match in _VARIABLE.finditer(text):
            found = _followed(found, (text[at : match.start()],), place)
            name = match[1] or match[2]
            if groups is not None and name in groups:
                found = _followed(found, (groups[name],), place)
            else:
                variable = self._variable(name, place, scope)
                found = list(product(found, variable)) if found else variable
            at = match.end()
        found = _followed(found, (text[at:],), place) or always((), place)
        if groups and any(is_expression(case.pattern) for case in found):
            raise UnknownVariable("a capture beside a map with expressions")
        return found

    def set_texts(self, texts: Mapping[str, tuple[str, Place]]) -> None:
        """Set the variables of C{set}, which differ between servers."""
        if texts != self.texts:
            self.texts = dict(texts)
            self._known.clear()

    def _variable(self, name: str, place: Place, scope: Scope) -> list[Case]:
        # Kept, because maps of maps may have the same variable in many places.
        if (name, scope) not in self._known:
            self._known[name, scope] = self._worked_out(name, place, scope)
        return self._known[name, scope]

    def _worked_out(self, name: str, place: Place, scope: Scope) -> list[Case]:
        if name in self._open:
            raise UnknownVariable(f"${name}, which refers to itself")
        self._open.append(name)
        try:
            if name in self.maps:
                return self._mapped(self.maps[name], scope)
            if name in self.texts:
                # nginx works it out when it accepts the connection, before the hello is there.
                return self.cases(*self.texts[name], attrs.evolve(scope, name=False))
            if name in self.chosen:
                text, where = self.chosen[name]
                self._say_unknown(where, f"${name}: it depends on the client; {text or 'nothing'} is taken for all")
                return self.cases(text, where, scope)
            return self._built_in(name, place, scope)
        finally:
            self._open.pop()

    def _built_in(self, name: str, place: Place, scope: Scope) -> list[Case]:
        if name in ((_PREREAD, "ssl_server_name") if scope.ends_tls else (_PREREAD,)):
            if not scope.name and name == _PREREAD:
                return always((), place)
            return [Case(NAMELESS, (), place), Case(ANY, (SERVER_NAME,), place)]
        if name == "server_port" and scope.port:
            return always((PORT,), place)
        if name == "server_addr" and scope.host not in ("0.0.0.0", "::", "unix"):
            return always((scope.host,), place)
        if name == "protocol":
            return always(("TCP",), place)
        if name in (_PROTOCOL, "ssl_preread_alpn_protocols") and not scope.name:
            return always((), place)
        raise UnknownVariable(f"${name}")

    def _mapped(self, found: Map, scope: Scope) -> list[Case]:
        try:
            source = self.cases(found.source, found.place, scope)
        except UnknownVariable as unknown:
            return self._by_default(found, str(unknown), scope)
        made: list[Case] = []
        for case in source:
            made += self._looked_up(found, case, scope)
        return made

    def _by_default(self, found: Map, unknown: str, scope: Scope) -> list[Case]:
        """The value of a map whose source is unknown."""
        default = found.default
        if unknown == found.source == f"${_PROTOCOL}":
            default, others = (found.find(version)[0] for version in ("TLSv1.3", "TLSv1.2"))
            if (default and default.value) == (others and others.value):
                self._say_other_bytes(found.place)
                return self._value(default, found, scope)
        shown = "nothing" if default is None else default.value
        self._say_unknown(found.place, f"it depends on {unknown}, which no route knows; {shown} is taken for all")
        return self._value(default, found, scope)

    def _say_other_bytes(self, place: Place) -> None:
        if (place, "") not in self._reported:
            self._reported.add((place, ""))
            self.report.different(place, "only TLS is taken here; what the map has for other bytes is left out")

    def _say_unknown(self, place: Place, text: str) -> None:
        if (place, text) not in self._reported:
            self._reported.add((place, text))
            self.report.left_out(place, text, decides=True)

    def _value(self, entry: Entry | None, found: Map, scope: Scope) -> list[Case]:
        """The cases of an entry's value."""
        if entry is None:
            return always((), found.place)
        groups: dict[str, int] = {}
        if entry.found is not None:
            groups = {**{str(number): number for number in range(1, entry.found.groups + 1)}, **entry.found.names}
        return self.cases(entry.value, entry.place, scope, groups)

    def _looked_up(self, found: Map, case: Case, scope: Scope) -> list[Case]:
        """The cases of a map for one case of its source."""
        text = constant(case.value, scope.port)
        if text is not None:
            entry, captures = found.find(text)
            cases = [attrs.evolve(one, value=_with(one.value, captures)) for one in self._value(entry, found, scope)]
            return [Case(pattern, b.value, b.place) for pattern, _, b in pairs([case], cases)]
        if case.value.count(SERVER_NAME) == 1 and all(
            isinstance(part, str) or part in (SERVER_NAME, PORT) for part in case.value
        ):
            at = case.value.index(SERVER_NAME)
            before, after = (constant(part, scope.port) or "" for part in (case.value[:at], case.value[at + 1 :]))
            made: list[Case] = []
            for pattern, entry in found.patterns(before, after):
                made += _for_pattern(pattern, self._value(entry, found, scope))
            return [Case(pattern, b.value, b.place) for pattern, _, b in pairs([case], made)]
        groups = [part for part in case.value if isinstance(part, int) and part > 0]
        if len(groups) == 1 and SERVER_NAME not in case.value and is_expression(case.pattern):
            return self._of_group(found, case, groups[0], scope)
        raise UnknownVariable(f"a part of the name in {found.source}")

    def _of_group(self, found: Map, case: Case, number: int, scope: Scope) -> list[Case]:
        """The cases of a map whose source is one group of an expression, maybe between texts."""
        at = case.value.index(number)
        before, after = ((constant(part, scope.port) or "").lower() for part in (case.value[:at], case.value[at + 1 :]))
        if found.below or found.above or any(entry.found and entry.found.pattern for entry in found.expressions):
            raise UnknownVariable(f"a part of the name in {found.source}, which has wildcards or expressions")
        made: list[Case] = []
        for key, entry in found.literals.items():
            if not (key.startswith(before) and key.endswith(after) and len(key) >= len(before + after)):
                continue
            narrower = with_group(case.pattern[1:], number, key[len(before) : len(key) - len(after)])
            if narrower is not None:
                made.append(attrs.evolve(self._only(entry, found, scope), pattern=f"~{narrower}"))
        return [*made, attrs.evolve(self._only(found.default, found, scope), pattern=case.pattern)]

    def _only(self, entry: Entry | None, found: Map, scope: Scope) -> Case:
        """The only case of an entry's value for names."""
        nameless, *others = self._value(entry, found, scope)
        if len(others) != 1 or nameless.pattern != NAMELESS:
            raise UnknownVariable(f"a part of the name in {found.source}, and more")
        return others[0]


def _followed(cases: list[Case], value: Value, place: Place) -> list[Case]:
    """Cases with the same value behind each."""
    if value == ("",):
        return cases
    return [attrs.evolve(case, value=plus(case.value, value)) for case in cases or always((), place)]


def _with(value: Value, captures: Sequence[str]) -> Value:
    """A value with the captures of a constant text."""
    return plus(
        tuple(captures[part - 1] if isinstance(part, int) and 0 < part <= len(captures) else part for part in value)
    )


def _for_pattern(pattern: str, cases: Sequence[Case]) -> list[Case]:
    """Cases that count only for names of a pattern. Groups in their values are those of the pattern."""
    if pattern == NAMELESS:
        return [one for one in cases if one.pattern == NAMELESS]
    made = []
    for one in cases:
        if one.pattern == ANY:
            value = filled(one.value, pattern, pattern) if is_exact(pattern) else one.value
            made.append(Case(pattern, value, one.place))
        elif one.pattern != NAMELESS:
            made += [Case(both_, b.value, b.place) for both_, _, b in pairs([Case(pattern, (), one.place)], [one])]
    return made
