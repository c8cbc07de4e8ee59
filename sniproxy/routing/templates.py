"""Targets with placeholders, as in ``{1}.internal:6651``, and weights. Pure.

``{server_name}`` is the normalised name in the hello. ``{1}`` to ``{9}`` are the captures of the route's wildcard or
expression. ``{port}`` is the port of the listener, ``{proxy_protocol_port}`` the destination port that a believed PROXY
protocol header names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import attrs
import msgspec

from sniproxy.interfaces import Request, Target
from sniproxy.routing.targets import DEFAULT_PORT, BadTarget, parse_target, split_weight
from sniproxy.util.names import bracketed

SERVER_NAME = "server_name"
PORT = "port"
PROXY_PORT = "proxy_protocol_port"

_PLACE = re.compile(r"\{([^{}]*)\}")
_NO_PLACES: frozenset[str] = frozenset()
_KNOWN = re.compile(rf"{SERVER_NAME}|{PORT}|{PROXY_PORT}|[1-9]")
_KNOWN_TEXT = "{server_name}, {port}, {proxy_protocol_port}, {1} to {9}"


class Template(msgspec.Struct, frozen=True):
    """A target as the configuration has it.

    @ivar text: as written, without its weight.
    @ivar places: the names of its placeholders; empty: it is a plain target.
    @ivar target: the plain target. None: each connection fills the placeholders.
    @ivar weight: as in L{Target}.
    """

    text: str
    places: frozenset[str]
    target: Target | None
    weight: int = 1

    def __str__(self) -> str:
        text = self.text if self.target is None else str(self.target)
        return text if self.weight == 1 else f"{text} weight={self.weight}"

    @property
    def client_formed(self) -> bool:
        """Whether bytes from the client become part of the target. Those of a PROXY protocol header count."""
        return bool(self.places - {PORT})

    @property
    def name_formed(self) -> bool:
        """Whether the server name becomes part of the target."""
        return bool(self.places - {PORT, PROXY_PORT})

    @property
    def captures(self) -> int:
        """The number of captures that it needs."""
        return max((int(place) for place in self.places if place.isdigit()), default=0)

    def why_not(self, captures: int, named: bool) -> str | None:
        """Why a route cannot fill it. None: it can.

        @param captures: the number of captures of the route's pattern.
        @param named: whether its connections have a server name.
        """
        if not self.places:
            return None
        if self.name_formed and not named:
            return "its connections have no server name; only {port} and {proxy_protocol_port} can be filled"
        if self.captures > captures:
            cure = "{1} is what the wildcard in server_name matches, {1} to {9} are the groups of an expression (~)"
            return f"server_name captures nothing for {{{self.captures}}}; {cure}"
        return None

    def may_give(self, key: str) -> bool:
        """Whether a connection can fill it to this target. @param key: C{host:port}, normalised."""
        text = self.text.strip().removeprefix("pulsar+ssl://").removesuffix("/").lower()
        fixed = _PLACE.split(text)[::2]
        return _fits(fixed, key) or _fits(fixed, key.removesuffix(f":{DEFAULT_PORT}"))

    def may_lead(self, key: str, matches: Callable[[str], bool] | None, ports: Collection[int] | None) -> bool:
        """As L{may_give}, but only with names that the route matches and ports that the listeners have.

        @param matches: whether the route matches a server name. None: it matches all. Not called if the host has other
            placeholders too.
        @param ports: the listeners' ports. None: unknown.
        """
        if not self.may_give(key):
            return False
        text = self.text.strip().removeprefix("pulsar+ssl://").removesuffix("/").lower()
        host, _, port = key.rpartition(":")
        head, _, tail = text.rpartition(":")
        if tail == f"{{{PORT}}}" and ports is not None and int(port) not in ports:
            return False
        is_port = tail.isdigit() or tail in (f"{{{PORT}}}", f"{{{PROXY_PORT}}}")
        fixed = (head if is_port else text).split(f"{{{SERVER_NAME}}}")
        if matches is None or len(fixed) == 1 or "{" in "".join(fixed):
            return True
        length = (len(host) - sum(map(len, fixed))) // (len(fixed) - 1)
        name = host[len(fixed[0]) :][: max(length, 0)]
        return name.join(fixed) == host and matches(name.removeprefix("[").removesuffix("]"))

    def fill(self, request: Request) -> Target:
        """The target of a connection.

        @raise BadTarget: a placeholder has no value, or the result is no target.
        """
        values = dict(enumerate(request.captures, 1))

        def value(place: re.Match[str]) -> str:
            name = place[1]
            found = values.get(int(name)) if name.isdigit() else request.server_name
            if name in (PORT, PROXY_PORT):
                port = request.port if name == PORT else request.proxy_protocol_port
                found = None if port is None else str(port)
            if found is None and name == PROXY_PORT:
                raise BadTarget(f"no PROXY protocol header names a port for {place[0]} in {self.text}")
            if found is None:
                raise BadTarget(f"no value for {place[0]} in {self.text}")
            return bracketed(found)

        target = parse_target(_PLACE.sub(value, self.text))
        if self.weight == 1 and not self.client_formed:
            return target
        return attrs.evolve(target, weight=self.weight, client_formed=self.client_formed)


def _fits(fixed: list[str], text: str) -> bool:
    """Whether a text has these parts in order, with at least one character between two. It does not backtrack."""
    first, *others = fixed
    if not others:
        return text == first
    at = len(first) if text.startswith(first) else -1
    for part in others[:-1]:
        at = -1 if at < 0 else text.find(part, at + 1)
        at = -1 if at < 0 else at + len(part)
    return 0 <= at < len(text) - len(others[-1]) and text.endswith(others[-1])


def parse_template(text: str) -> Template:
    """Parse a target with optional placeholders and an optional C{weight=2}.

    @raise BadTarget: a placeholder is unknown, or the text is no target whatever fills the placeholders.
    """
    weight = 1
    if "weight=" in text:  # rare; keep the usual case fast
        text, weight = split_weight(text)
    if "{" not in text and "}" not in text:
        target = parse_target(text)
        return Template(text, _NO_PLACES, target if weight == 1 else attrs.evolve(target, weight=weight), weight)
    places = frozenset(_PLACE.findall(text))
    for place in sorted(places):
        if not _KNOWN.fullmatch(place):
            raise BadTarget(f"unknown placeholder {{{place}}}; known: {_KNOWN_TEXT}")
    rest = _PLACE.sub("", text)
    if "{" in rest or "}" in rest:
        raise BadTarget(f"unmatched brace; known placeholders: {_KNOWN_TEXT}")
    parse_target(_PLACE.sub(lambda place: "a" if place[1] == SERVER_NAME else "1", text))
    return Template(text, places, None, weight)
