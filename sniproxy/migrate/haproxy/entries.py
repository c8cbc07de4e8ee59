"""The rules of frontends and backends, in the order in which HAProxy tries them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import attrs

from sniproxy.migrate.haproxy.acls import Scene, map_entries, members
from sniproxy.migrate.haproxy.backends import REFUSED, Destination, destination, is_limit, servers_of
from sniproxy.migrate.haproxy.clients import ALL, Clients
from sniproxy.migrate.haproxy.conditions import Conditions, named_acls, split_condition
from sniproxy.migrate.haproxy.lists import Entry as MapEntry
from sniproxy.migrate.haproxy.literals import (
    ALWAYS,
    Case,
    Condition,
    TooMany,
    Unknown,
    any_of,
    both,
    either,
    negation,
)
from sniproxy.migrate.haproxy.names import Names
from sniproxy.migrate.haproxy.samples import (
    BadSample,
    is_server_name,
    parse_sample,
    subject,
    with_variables,
)
from sniproxy.migrate.haproxy.sections import Line, Section
from sniproxy.migrate.haproxy.words import split_arguments
from sniproxy.migrate.model import ANY, Place
from sniproxy.util.names import BadName, server_name

_RULESETS = ("connection", "session", "content")
_REFUSALS = ("reject", "silent-drop")
_FORMED = ("set-dst", "set-dst-port", "do-resolve", "switch-mode", "use-service", "lua.", "set-src")
_FORMED_TEXT = 'a target that the name forms is written as target = "{server_name}:6651", with [policy]'
_DYNAMIC = re.compile(r"(?P<before>[^%]*)%\[(?P<sample>.*)\](?P<after>[^%\]]*)", re.DOTALL)


@attrs.frozen
class Entry:
    """A rule: what happens to the hellos of a case."""

    case: Case
    action: Destination
    place: Place


@attrs.frozen
class Proxies:
    """The proxies of a configuration. @ivar backends: sections that C{use_backend} may name. @ivar scene: as seen by
    one listener.
    """

    backends: Mapping[str, Section]
    scene: Scene
    seen: dict[str, list[Entry]] = attrs.field(factory=dict)

    def frontend(self, section: Section, reads_headers: bool = False) -> list[Entry]:
        """The rules of a frontend or listen section; the last one is for all other hellos.

        @param reads_headers: connections begin with a PROXY protocol header. The rules before it are on the peer's
            address, so they are not among those returned; see L{peers}.
        """
        conditions = Conditions(self.scene, named_acls(section))
        found = list(self._refusals(section, conditions, _RULESETS[reads_headers:]))
        for line in section.find("use_backend"):
            rule, condition = split_condition(line.words[1:])
            case = self._known(conditions.of(condition, line.place), line)
            if not rule:
                continue
            if "%[" in rule[0]:
                found += self._dynamic(section, rule[0], case, line)
            else:
                found += self._each(case, self._backend(rule[0], line.place), line.place)
        found += self._default(section)
        return found

    def peers(self, section: Section) -> Clients:
        """The peers that C{tcp-request connection} does not reject, before any PROXY protocol header."""
        conditions = Conditions(self.scene, named_acls(section))
        found = ALL
        for entry in self._refusals(section, conditions, _RULESETS[:1]):
            found -= entry.case.clients if not entry.case.names else Clients()
        return found

    def _known(self, condition: Condition, line: Line) -> Condition:
        """The cases that are known now; others are reported."""
        for case in condition:
            for one in case.unknown:
                decides = not (one.limits and line.key == "tcp-request")
                self.scene.report.left_out(line.place, f"{line.key}: {one.text}", decides=decides)
        return tuple(case for case in condition if not case.unknown)

    def _refusals(self, section: Section, conditions: Conditions, rulesets: Sequence[str]) -> Iterator[Entry]:
        for ruleset in rulesets:
            accepted: list[Condition] = []
            for line in section.find("tcp-request", ruleset):
                rule, words = split_condition(line.words[2:])
                action = rule[0] if rule else ""
                if section.kind == "backend" and is_limit(line):
                    continue
                if action not in ("accept", *_REFUSALS):
                    self._other_action(action, line)
                    continue
                found = self._known(conditions.of(words, line.place), line)
                if action == "accept":
                    accepted.append(found)
                    continue
                try:
                    left = both([found, negation(either(accepted))])
                except TooMany as error:
                    left = self._known(any_of([Unknown(str(error))]), line)
                if found and not left:
                    text = "never reached: an accept before it takes these hellos, in HAProxy, too"
                    self.scene.report.different(line.place, text)
                yield from (Entry(case, REFUSED, line.place) for case in left)

    def _other_action(self, action: str, line: Line) -> None:
        report = self.scene.report
        if action.startswith(_FORMED):
            report.left_out(line.place, f"{action}: {_FORMED_TEXT}", decides=True)
        elif not action.startswith(("set-var", "expect-proxy", "unset-var", "expect-netscaler-cip")):
            report.left_out(line.place, f"{action}: has no counterpart; see [limits] for limits by client")

    def _default(self, section: Section) -> list[Entry]:
        line = section.last("default_backend")
        if line is not None and len(line.words) > 1:
            return self._each(ALWAYS, self._backend(line.words[1], line.place), line.place)
        if section.kind == "listen":
            return self._own(section)
        return [Entry(Case(), REFUSED, section.place)]

    def _backend(self, name: str, place: Place) -> list[Entry]:
        """The rules of a backend. @param place: of the rule that names it."""
        section = self.backends.get(name)
        if section is None:
            self.scene.report.left_out(place, f"there is no backend {name}", decides=True)
            return [Entry(Case(), REFUSED, place)]
        if name not in self.seen:
            self.seen[name] = self._rules(section)
        return self.seen[name]

    def _rules(self, section: Section) -> list[Entry]:
        if section.is_http:
            text = "mode http: the backend reads HTTP, which is inside TLS here"
            self.scene.report.left_out(section.place, text, decides=True)
            return [Entry(Case(), REFUSED, section.place)]
        conditions = Conditions(self.scene, named_acls(section))
        return [*self._refusals(section, conditions, ("content",)), *self._own(section, conditions)]

    def _own(self, section: Section, conditions: Conditions | None = None) -> list[Entry]:
        """Where the servers of a section come in: C{use-server}, then all servers."""
        conditions = conditions or Conditions(self.scene, named_acls(section))
        servers = servers_of(section, self.scene)
        found = []
        for line in section.find("use-server"):
            rule, condition = split_condition(line.words[1:])
            chosen = [server for server in servers if rule and server.name == rule[0]]
            if chosen:
                action = destination(section, chosen, self.scene)
                known = self._known(conditions.of(condition, line.place), line)
                found += [Entry(case, action, line.place) for case in known]
        return [*found, Entry(Case(), destination(section, servers, self.scene), section.place)]

    def _each(self, condition: Condition, rules: Sequence[Entry], place: Place) -> list[Entry]:
        """The rules of a backend for the hellos of a condition."""
        return [
            Entry(joined, rule.action, place if rule.case == Case() else rule.place)
            for case in condition
            for rule in rules
            if (joined := case & rule.case).clients and not joined.unknown
        ]

    def _dynamic(self, section: Section, text: str, condition: Condition, line: Line) -> list[Entry]:
        """C{use_backend %[...]}: the backend that an expression names. Without one, the default."""
        default = self._default(section)
        try:
            found = [
                entry
                for names, backend in self._choices(text, line)
                if names.members
                for entry in self._for(names, backend, condition, default)
            ]
        except BadSample as error:
            self.scene.report.left_out(line.place, f"{text}: {error}", decides=True)
            return []
        return [*found, *self._each(condition, default, line.place)]

    def _choices(self, text: str, line: Line) -> Iterator[tuple[Names, str]]:
        """Names, and the name of the backend that an expression gives for them, in order.
        @raise BadSample: the expression is not understood.
        """
        parts = _DYNAMIC.fullmatch(text)
        if parts is None:
            raise BadSample("only one expression is understood")
        sample = with_variables(parse_sample(parts["sample"]), self.scene.variables)
        if len(split_arguments(parts["sample"], "]")) > 1 or not is_server_name(sample, self.scene.terminates):
            raise BadSample("it is not the server name")
        what, in_map = subject(sample.converters)
        before, after = parts["before"], parts["after"]
        if in_map is None:
            for name in self._named_backends(before, after):
                entry = MapEntry(name, "", line.place)
                yield Names(tuple(members(what, "str", [entry], self.scene))), f"{before}{name}{after}"
            return
        entries = map_entries(in_map, self.scene)
        if in_map.method == "str":  # the first line of a key counts; keys of one backend are one rule
            entries = sorted({one.key: one for one in reversed(entries)}.values(), key=lambda one: one.value)
        for value, group in groupby(entries, lambda one: one.value):
            yield Names(tuple(members(what, in_map.method, group, self.scene))), f"{before}{value}{after}"
        if in_map.default is not None:
            yield Names(((ANY, line.place),)), f"{before}{in_map.default}{after}"

    def _named_backends(self, before: str, after: str) -> Iterator[str]:
        """The server names that a backend is named after."""
        for backend in self.backends:
            if backend.startswith(before) and backend.endswith(after) and len(backend) > len(before) + len(after):
                name = backend[len(before) : len(backend) - len(after)]
                try:
                    server_name(name)
                except BadName:
                    continue
                yield name

    def _for(self, names: Names, backend: str, condition: Condition, default: Sequence[Entry]) -> list[Entry]:
        """The rules of a backend for these names; without that backend, those of the default one."""
        place, rules = names.members[0][1], default
        if backend in self.backends:
            rules = self._backend(backend, place)
        else:
            self.scene.report.different(place, f"there is no backend {backend}: the default one, as HAProxy does")
        return self._each(both([condition, any_of([names])]), rules, place)


def stored_variables(section: Section) -> dict[str, Line]:
    """The lines that store a sample in a variable, by the variable's name."""
    found = {}
    for line in section.find("tcp-request"):
        action = next((word for word in line.words[2:3] if word.startswith("set-var(")), "")
        if action and len(line.words) > 3:
            found[action[len("set-var(") :].rstrip(")").partition(",")[0]] = line
    return found
