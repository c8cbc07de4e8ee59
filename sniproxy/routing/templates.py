"""Targets with places that a connection fills, as in ``{1}.internal:6651``, and weights. Pure.

``{server_name}``: the name in the hello, normalised. ``{1}`` to ``{9}``: what the route's star or an expression's
groups took out of it. ``{port}``: the port of the listener that the client came to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import attrs
import msgspec

from sniproxy.interfaces import Request, Target
from sniproxy.routing.targets import DEFAULT_PORT, BadTarget, parse_target, split_weight

SERVER_NAME = "server_name"
PORT = "port"

_PLACE = re.compile(r"\{([^{}]*)\}")
_NO_PLACES: frozenset[str] = frozenset()
_KNOWN = re.compile(rf"{SERVER_NAME}|{PORT}|[1-9]")


class Template(msgspec.Struct, frozen=True):
    """A target as an operator writes it.

    @ivar text: as written, without its weight.
    @ivar places: the names in its braces; none: it is a plain target.
    @ivar target: the plain target. None: a connection fills it.
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
        """Whether what a client sends becomes part of the target."""
        return bool(self.places - {PORT})

    @property
    def captures(self) -> int:
        """How many parts of the name there must be."""
        return max((int(place) for place in self.places if place.isdigit()), default=0)

    def why_not(self, captures: int, named: bool) -> str | None:
        """Why a route cannot fill it, or None.

        @param captures: how many parts of a name the route's pattern takes out.
        @param named: whether its connections have a server name.
        """
        if not self.places:
            return None
        if self.client_formed and not named:
            return "its connections have no server name; only {port} can be filled"
        if self.captures > captures:
            cure = "{1} is what the wildcard in server_name matches, {1} to {9} are the groups of an expression (~)"
            return f"server_name captures nothing for {{{self.captures}}}; {cure}"
        return None

    def may_give(self, key: str) -> bool:
        """Whether some connection can fill it so that it becomes this target. @param key: C{host:port}, normalised."""
        text = self.text.strip().removeprefix("pulsar+ssl://").removesuffix("/").lower()
        fixed = _PLACE.split(text)[::2]
        return _fits(fixed, key) or _fits(fixed, key.removesuffix(f":{DEFAULT_PORT}"))

    def may_lead(self, key: str, matches: Callable[[str], bool] | None, ports: Collection[int] | None) -> bool:
        """As L{may_give}, for a name that the route takes and a port that a listener has.

        @param matches: whether the route takes a server name. None: it takes all. It is not asked where other places
            are in the host, too.
        @param ports: the listeners' ports. None: they are not known.
        """
        if not self.may_give(key):
            return False
        text = self.text.strip().removeprefix("pulsar+ssl://").removesuffix("/").lower()
        host, _, port = key.rpartition(":")
        head, _, tail = text.rpartition(":")
        if tail == f"{{{PORT}}}" and ports is not None and int(port) not in ports:
            return False
        fixed = (head if tail.isdigit() or tail == f"{{{PORT}}}" else text).split(f"{{{SERVER_NAME}}}")
        if matches is None or len(fixed) == 1 or "{" in "".join(fixed):
            return True
        length = (len(host) - sum(map(len, fixed))) // (len(fixed) - 1)
        name = host[len(fixed[0]) :][: max(length, 0)]
        return name.join(fixed) == host and matches(name.removeprefix("[").removesuffix("]"))

    def fill(self, request: Request) -> Target:
        """The target for a connection.

        @raise BadTarget: something is missing, or what comes out is no target.
        """
        values = dict(enumerate(request.captures, 1))

        def value(place: re.Match[str]) -> str:
            name = place[1]
            found = values.get(int(name)) if name.isdigit() else request.server_name
            if name == PORT:
                found = None if request.port is None else str(request.port)
            if found is None:
                raise BadTarget(f"no value for {place[0]} in {self.text}")
            return f"[{found}]" if ":" in found else found

        target = parse_target(_PLACE.sub(value, self.text))
        if self.weight == 1 and not self.client_formed:
            return target
        return attrs.evolve(target, weight=self.weight, client_formed=self.client_formed)


def _fits(fixed: list[str], text: str) -> bool:
    """Whether a text is these parts in this order, with at least one character between two. It never backtracks."""
    first, *others = fixed
    if not others:
        return text == first
    at = len(first) if text.startswith(first) else -1
    for part in others[:-1]:
        at = -1 if at < 0 else text.find(part, at + 1)
        at = -1 if at < 0 else at + len(part)
    return 0 <= at < len(text) - len(others[-1]) and text.endswith(others[-1])


def parse_template(text: str) -> Template:
    """Read a target, with or without places, and with C{weight=2} behind it or not.

    @raise BadTarget: a place is unknown, or whatever fills the places, it is no target.
    """
    weight = 1
    if "weight=" in text:  # seldom, and there may be very many targets
        text, weight = split_weight(text)
    if "{" not in text and "}" not in text:
        target = parse_target(text)
        return Template(text, _NO_PLACES, target if weight == 1 else attrs.evolve(target, weight=weight), weight)
    places = frozenset(_PLACE.findall(text))
    for place in sorted(places):
        if not _KNOWN.fullmatch(place):
            raise BadTarget(f"unknown placeholder {{{place}}}; known: {{server_name}}, {{port}}, {{1}} to {{9}}")
    rest = _PLACE.sub("", text)
    if "{" in rest or "}" in rest:
        raise BadTarget("unmatched brace; write {server_name}, {port}, or {1} to {9}")
    parse_target(_PLACE.sub(lambda place: "a" if place[1] == SERVER_NAME else "1", text))
    return Template(text, places, None, weight)
