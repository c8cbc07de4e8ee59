"""The routes that each listener of a configuration has, in the order of their precedence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from sniproxy.config.schema import DefaultTable, File, ListenerTable, RouteEntry
from sniproxy.migrate.export.precedence import chosen, rank
from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place
from sniproxy.net.endpoints import Endpoint, parse_endpoint
from sniproxy.routing.patterns import route_pattern
from sniproxy.routing.templates import Template, parse_template

FILE = "the configuration"
_KNOWN = frozenset((
    "endpoint", "name", "plaintext", "target", "resolver", "certificates", "upstream_trust", "upstream_certificate",
    "proxy_protocol", "proxy_protocol_from", "only_from", "send_proxy", "proxy_tlvs", "target_source",
))  # fmt: skip
"""The keys of a listener that the writers read; they report the others."""

REFUSE = "refuse"
"""The type of the resolver that refuses every name."""


@attrs.frozen
class Leading:
    """Names of one listener, and where they go.

    @ivar pattern: as in L{sniproxy.migrate.model.Rule}. @ivar targets: empty: the names are refused.
    """

    pattern: str
    place: Place
    table: RouteEntry | DefaultTable | ListenerTable
    targets: Sequence[Template] = ()

    @property
    def refused(self) -> bool:
        return not self.targets


@attrs.frozen
class Front:
    """A listener. @ivar leading: exact names, wildcards, the longest first, expressions, all names, no name."""

    name: str
    place: Place
    table: ListenerTable
    endpoint: Endpoint
    leading: Sequence[Leading] = ()


def fronts(file: File, report: Notes) -> list[Front]:
    """All listeners. @param file: checked. Routes that need a resolver are reported, and their names refused."""
    routes = [Leading(_pattern(entry), _place(f"route[{number}]"), entry) for number, entry in enumerate(file.route)]
    last = [
        Leading(pattern, _place(name), table)
        for pattern, name, table in (
            (ANY, "default", file.default),
            (NAMELESS, "no_server_name", file.no_server_name),
        )
        if table is not None
    ]
    whole = [_with_targets(one, file, report) for one in [*routes, *last]]
    found = []
    for number, table in enumerate(file.listener):
        name, place = table.name or table.endpoint, _place(f"listener[{number}]")
        front = Front(name, place, table, parse_endpoint(table.endpoint))
        for field in msgspec.structs.fields(table):
            if field.name not in _KNOWN and getattr(table, field.name) != field.default:
                report.left_out(place, f"listener {name}: {field.name} has no counterpart")
        if table.plaintext:
            leading = [_with_targets(Leading(ANY, place, table), file, report)]
        else:
            numbers = chosen([(one.pattern, _owner(one)) for one in whole], name)
            leading = sorted((whole[at] for at in numbers), key=lambda one: rank(one.pattern))
        found.append(attrs.evolve(front, leading=leading))
    return found


def _place(key: str) -> Place:
    return Place(FILE, 0, key)


def _pattern(entry: RouteEntry) -> str:
    return route_pattern(entry.server_name) if entry.server_name else NAMELESS


def _with_targets(one: Leading, file: File, report: Notes) -> Leading:
    table = one.table
    if table.target is not None:
        return attrs.evolve(one, targets=[parse_template(text) for text in _texts(table.target)])
    types = {file.resolver.get(name, {}).get("type") for name in _texts(table.resolver or [])}
    if types != {REFUSE}:
        why = "a resolver finds its targets while the proxy runs; write them, or generate this file again"
        report.left_out(one.place, f"{shown(one.pattern)}: {why}; refused here", decides=True)
    return one


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _owner(one: Leading) -> str | None:
    """The only listener of a route. None: all have it."""
    return one.table.listener if isinstance(one.table, RouteEntry) else None


def shown(pattern: str) -> str:
    """A pattern for a report."""
    return {ANY: "all other names", NAMELESS: "hellos without a name"}.get(pattern, pattern)


def fixed_targets(one: Leading, port: int | None, report: Notes) -> list[tuple[str, int, int]]:
    """The hosts, ports and weights of the targets, with C{{port}} filled.

    @param port: of the listener. None or 0: unknown. @return: empty: the client's name forms a target, which is
        reported; or the names are refused.
    """
    found = []
    for template in one.targets:
        text = template.text.replace("{port}", str(port)) if port else template.text
        filled = parse_template(text) if template.places else template
        if filled.target is None:
            why = "the name forms the target, and [policy] limits that, which has no counterpart"
            report.left_out(one.place, f"{shown(one.pattern)}: {template.text}: {why}; refused here", decides=True)
            return []
        found.append((filled.target.host, filled.target.port, template.weight))
    return found
