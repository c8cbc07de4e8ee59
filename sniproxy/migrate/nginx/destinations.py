"""Where the values of C{proxy_pass} lead: upstreams, addresses and names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from sniproxy.migrate.dnstables import DnsTables
from sniproxy.migrate.listening import port_number, split_address
from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place
from sniproxy.migrate.nginx.cases import PORT, SERVER_NAME, Case, constant, covers
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.migrate.nginx.upstreams import Upstreams, target_of
from sniproxy.migrate.pcre import with_group
from sniproxy.routing.patterns import is_expression
from sniproxy.util.names import BadName, ip_literal, server_name


@attrs.frozen
class Destination:
    """Where names go. Neither C{targets} nor C{resolver}: they are refused, as nginx closes their connections."""

    targets: Sequence[str] = ()
    balance: str | None = None
    resolver: str | None = None


@attrs.define
class Destinations:
    """Finds destinations.

    @ivar ports: of the targets that clients form. @ivar dns: the resolvers that targets need.
    """

    upstreams: Upstreams
    report: Notes
    dns: DnsTables = attrs.field(factory=DnsTables)
    ports: set[int] = attrs.field(factory=set)

    def by_name(self, cases: Sequence[Case]) -> Iterator[Case]:
        """The cases, with one of its own for each upstream that a part of the name chooses."""
        for case in cases:
            if not _has_port(case.value) and any(isinstance(part, int) and part != PORT for part in case.value):
                yield from self._chosen(case)
            yield case

    def _chosen(self, case: Case) -> Iterator[Case]:
        parts = [part for part in case.value if isinstance(part, int)]
        if len(parts) != 1:
            return
        at = case.value.index(parts[0])
        before, after = ("".join(map(str, texts)) for texts in (case.value[:at], case.value[at + 1 :]))
        for upstream in self.upstreams.by_name.values():
            name = upstream.name.lower()
            inner = name[len(before) : len(name) - len(after)]
            if not inner or not (name.startswith(before.lower()) and name.endswith(after.lower())):
                continue
            if parts[0] == SERVER_NAME:
                if _is_name(inner) and covers(case.pattern, inner):
                    yield Case(inner, (upstream.name,), case.place)
            elif is_expression(case.pattern):
                narrower = with_group(case.pattern[1:], parts[0], inner)
                if narrower is not None:
                    yield Case(f"~{narrower}", (upstream.name,), case.place)

    def find(self, case: Case, port: int, resolver: Directive | None, variables: bool) -> Destination:
        """The destination of a case.

        @param port: of the listener. @param resolver: nginx's, if it has one. @param variables: whether proxy_pass has
            variables, so that nginx looks names up for each connection.
        """
        if not case.value:
            return Destination()
        text = constant(case.value, port)
        if text is not None:
            return self._fixed(case.place, text, resolver, variables)
        if not _has_port(case.value):
            self._closed(case, "it has no port, and no upstream has this name")
            return Destination()
        text = "".join(map(_placeholder, case.value))
        port_text = text.rpartition(":")[2]
        self.ports.add(port if port_text == "{port}" else int(port_text))
        return self._looked_up(case.place, text, resolver)

    def _fixed(self, place: Place, text: str, resolver: Directive | None, variables: bool) -> Destination:
        upstream = self.upstreams.find(text)
        if upstream is not None:
            return Destination(upstream.targets, upstream.balance)
        if text.startswith("unix:"):
            self.report.left_out(
                place, f"{text}: unix sockets are no targets here; the names are refused", decides=True
            )
            return Destination()
        target = target_of(text)
        if target is None:
            self.report.different(
                place, f"{text}: no upstream, and no host and port: the names are refused, as by nginx"
            )
            return Destination()
        if variables and ip_literal(split_address(text)[0]) is None:
            return self._looked_up(place, target, resolver)
        return Destination([target])

    def _looked_up(self, place: Place, target: str, resolver: Directive | None) -> Destination:
        if resolver is None:
            self.report.different(
                place, f"{target}: nginx needs a resolver for it and has none; the system's is used here"
            )
            return Destination([target])
        servers = [word for word in resolver.arguments if "=" not in word]
        off = [family for family in ("ipv4", "ipv6") if f"{family}=off" in resolver.arguments]
        return Destination(resolver=self.dns.name(target, servers, off))

    def _closed(self, case: Case, why: str) -> None:
        shown = {ANY: "all other names", NAMELESS: "hellos without a name"}.get(case.pattern, case.pattern)
        self.report.different(case.place, f"{shown}: {why}: refused, as by nginx")


def _placeholder(part: str | int) -> str:
    if isinstance(part, str):
        return part
    return "{port}" if part == PORT else "{server_name}" if part == SERVER_NAME else f"{{{part}}}"


def _has_port(value: Sequence[str | int]) -> bool:
    """Whether a value ends with a port."""
    last = value[-1] if value else ""
    if last == PORT:
        return len(value) > 1 and str(value[-2]).endswith(":")
    return isinstance(last, str) and port_number(last.rpartition(":")[2]) is not None and ":" in last


def _is_name(text: str) -> bool:
    try:
        return server_name(text) == text
    except BadName:
        return False


def without_repeats(cases: Sequence[Case], known: Iterable[str] = ()) -> list[Case]:
    """The cases without those of a pattern that is known or that an earlier case has, and those after all names."""
    seen = set(known)
    found: list[Case] = []
    for case in cases:
        if case.pattern in seen or (ANY in seen and case.pattern != NAMELESS):
            continue
        seen.add(case.pattern)
        found.append(case)
    return found
