"""Entries of ``sni.yaml`` to rules, in their order. Pure.

Traffic Server takes the first entry that matches the name and the port.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from sniproxy.migrate.ats.addresses import BadAddresses, networks, split_list
from sniproxy.migrate.ats.destinations import BadDestination, Destination, destination
from sniproxy.migrate.ats.entries import (
    HTTP_KEYS,
    IP_ALLOW,
    PARTIAL,
    PREWARM_KEYS,
    TLS_KEYS,
    TUNNEL,
    Entry,
)
from sniproxy.migrate.ats.files import Files
from sniproxy.migrate.ats.ports import Port
from sniproxy.migrate.model import ANY, NAMELESS, Notes, Rule
from sniproxy.routing.patterns import is_expression, matches
from sniproxy.routing.templates import PORT, PROXY_PORT
from sniproxy.util.names import ip_literal

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ONE_STAR = re.compile(r"\*\.[A-Za-z0-9_.-]+")
_OWN_LISTENER = (
    "refused here: a listener ends TLS for all of its names or for none; give these names a [[listener]] of their own, "
    "with certificates and upstream_trust"
)
_NO_CERTIFICATE = (
    "refused here: a listener that ends TLS needs certificates; give ssl_multicert.config or ssl_multicert.yaml, too"
)


@attrs.frozen
class Routed:
    """An entry and its rules. @ivar destination: None: names that match are refused."""

    entry: Entry
    rules: Sequence[Rule]
    destination: Destination | None


@attrs.define
class RuleMaker:
    """Makes rules of entries.

    @ivar ending: names of the listeners that end TLS, for C{partial_blind_route}; a listener without a name is C{""}.
    @ivar has_certificates: whether a listener could end TLS.
    """

    ports: Sequence[Port]
    files: Files
    ending: frozenset[str]
    has_certificates: bool
    notes: Notes

    def make(self, entries: Sequence[Entry]) -> list[Routed]:
        """The rules of all entries. Refusals that change nothing are left out."""
        routed = [self._routed(entry) for entry in entries]
        return _needed(routed)

    def _routed(self, entry: Entry) -> Routed:
        patterns, groups = self._patterns(entry)
        made = self._destination(entry, groups)
        only_from = self._only_from(entry) if made is not None else None
        if only_from == []:
            made, only_from = None, None
        self._note_keys(entry, made)
        rules = []
        for pattern in patterns:
            # A name that is not there forms no host.
            given = None if made is None or (pattern == NAMELESS and made.formed) else made
            rules += [attrs.evolve(rule, pattern=pattern) for rule in self._of_ports(entry, given, only_from)]
        return Routed(entry, rules, made)

    def _of_ports(self, entry: Entry, made: Destination | None, only_from: list[str] | None) -> Iterator[Rule]:
        """The rules of an entry, without a pattern: one for all listeners, or one for each that has its ports."""
        own = [port for port in self.ports if entry.has_port(port.number)]
        if self.ports and not own and made is not None:
            self.notes.different(entry.place, f"{entry.fqdn}: no listener has one of its ports")
        served = [port for port in own if made is not None and (entry.route != PARTIAL or port.name in self.ending)]
        refused = Rule("", entry.place)
        rule = refused if made is None else Rule("", entry.place, (made.target,), only_from=only_from)
        alike = made is None or not made.header or all(port.table.proxy_protocol for port in own)
        if len(own) == len(self.ports) and len(served) in (0, len(own)) and alike:
            yield rule if len(served) == len(own) else refused
            return
        for port in own:
            targets = rule.targets if port in served else ()
            if port.table.proxy_protocol is None:
                targets = [target.replace(f"{{{PROXY_PORT}}}", f"{{{PORT}}}") for target in targets]
            yield attrs.evolve(rule if port in served else refused, listener=port.name, targets=tuple(targets))

    def _made(self, entry: Entry, made: Destination) -> Destination:
        """A destination without the variable for the header's port if the listeners read no headers.

        Traffic Server then takes the port that the client connected to.
        """
        if not made.header or any(port.table.proxy_protocol for port in self.ports if entry.has_port(port.number)):
            return made
        self.notes.different(entry.place, "no port has pp: {proxy_protocol_port} is the listener's port")
        target = made.target.replace(f"{{{PROXY_PORT}}}", f"{{{PORT}}}")
        return attrs.evolve(made, target=target, header=False)

    def _patterns(self, entry: Entry) -> tuple[list[str], int]:
        """The patterns of an entry, and the number of parts that they capture."""
        fqdn = entry.fqdn
        if not fqdn:
            return [NAMELESS], 0
        if fqdn == "*":
            # The star also matches no name at all.
            return [ANY, NAMELESS], 1
        if _NAME.fullmatch(fqdn) or ip_literal(fqdn) is not None:
            return [fqdn], 0
        if _ONE_STAR.fullmatch(fqdn):
            return [fqdn], 1
        expression = fqdn.replace(".", r"\.").replace("*", "(.*)")
        try:
            groups = re.compile(expression).groups
        except (re.error, RecursionError, OverflowError):
            groups = fqdn.count("*")
        why = f"{fqdn} is an expression, as in Traffic Server 9; Traffic Server 10 has only names, and *. before a name"
        self.notes.different(entry.place, why)
        return [f"~{expression}"], groups

    def _destination(self, entry: Entry, groups: int) -> Destination | None:
        """Where an entry leads. None: it is refused here, which is noted."""
        if not entry.route:
            self.notes.different(entry.place, "no tunnel_route: Traffic Server ends TLS itself; refused here")
            return None
        place = attrs.evolve(entry.place, key=entry.route)
        own = [port for port in self.ports if entry.has_port(port.number)]
        if entry.route == PARTIAL and any(port.name not in self.ending for port in own):
            self.notes.left_out(place, _OWN_LISTENER if self.has_certificates else _NO_CERTIFICATE, decides=True)
            if all(port.name not in self.ending for port in own):
                return None
        if entry.route not in (TUNNEL, PARTIAL):
            self.notes.left_out(place, "refused here: targets get TLS, never plain text", decides=True)
            return None
        try:
            made = self._made(entry, destination(entry.destination, groups))
        except BadDestination as error:
            self.notes.left_out(place, f"{entry.destination}: {error}; refused here", decides=not _is_lost(error))
            return None
        if entry.fqdn == "*" and made.formed:
            # [default] has no captures: the star is the whole name.
            made = attrs.evolve(made, target=made.target.replace("{1}", "{server_name}"))
        self.notes.taken(place, f"{entry.fqdn or '(no name)'} to {made.target}")
        return made

    def _only_from(self, entry: Entry) -> list[str] | None:
        """The clients of an entry. None: all. Empty: the list is missing or wrong, so all are refused."""
        text, place = entry.text(IP_ALLOW), entry.place_of(IP_ALLOW)
        if text.startswith("@"):
            file = self.files.other(text[1:].strip())
            if file is None:
                why = f"the file {text[1:]} is not given; give it too. Refused here until then"
                self.notes.left_out(place, why, decides=True)
                return []
            text = file.text
        items = split_list(text)
        if not items:
            return None
        try:
            found = networks(items)
        except BadAddresses as error:
            self.notes.left_out(place, f"{error}; refused here", decides=True)
            return []
        self.notes.taken(place, f"only_from {', '.join(found[:3])}{' ...' if len(found) > 3 else ''}")
        if any(port.table.proxy_protocol for port in self.ports):
            self.notes.different(place, "the client is the one that a believed PROXY protocol header names")
        return found

    def _note_keys(self, entry: Entry, made: Destination | None) -> None:
        """Report the keys that are not here."""
        ended = entry.route == PARTIAL and made is not None
        for key in sorted(entry.keys.keys() - {IP_ALLOW}):
            place = entry.place_of(key)
            if key == "verify_client" and ended and entry.text(key).upper() != "NONE":
                self.notes.left_out(place, "a listener asks clients for no certificate; brokers can", decides=True)
            elif key in TLS_KEYS | PREWARM_KEYS:
                why = "not here" if ended else "no effect where TLS passes through"
                if made is None:
                    why = "about TLS that Traffic Server ends"
                self.notes.left_out(place, why)
            elif key in HTTP_KEYS:
                self.notes.left_out(place, "about HTTP")
            else:
                self.notes.left_out(place, "unknown to Traffic Server")


def _is_lost(error: BadDestination) -> bool:
    """Whether Traffic Server reaches nothing, either."""
    return str(error).startswith("$")


@attrs.define
class _Later:
    """The patterns of the rules behind a refusal.

    @ivar wide: patterns of several names. @ivar names: exact names, in lower case.
    """

    wide: list[str] = attrs.field(factory=list)
    names: set[str] = attrs.field(factory=set)
    nameless: bool = False

    def add(self, pattern: str) -> None:
        if pattern == NAMELESS:
            self.nameless = True
        elif _is_wide(pattern):
            self.wide.append(pattern)
        else:
            self.names.add(pattern.lower())

    def may_match(self, pattern: str) -> bool:
        """Whether one of them may match a name of a pattern."""
        if pattern == NAMELESS:
            return self.nameless
        if _is_wide(pattern):
            return bool(self.wide) or any(pattern == ANY or _matches(pattern, name) for name in self.names)
        name = pattern.lower()
        return name in self.names or any(one == ANY or _matches(one, name) for one in self.wide)


def _needed(routed: Sequence[Routed]) -> list[Routed]:
    """Those that lead somewhere, and refusals that keep names from a later one."""
    later, found = _Later(), []
    for one in reversed(routed):
        patterns = [rule.pattern for rule in one.rules]
        if one.destination is not None:
            for pattern in patterns:
                later.add(pattern)
        elif not any(map(later.may_match, patterns)):
            continue
        found.append(one)
    return found[::-1]


def _is_wide(pattern: str) -> bool:
    return pattern == ANY or is_expression(pattern) or pattern.startswith("*.")


def _matches(pattern: str, name: str) -> bool:
    try:
        return matches(pattern.lower() if pattern.startswith("*.") else pattern, name)
    except re.error:
        return False


def listed(routed: Sequence[Routed]) -> Iterator[Rule]:
    """All rules, in order."""
    for one in routed:
        yield from one.rules
