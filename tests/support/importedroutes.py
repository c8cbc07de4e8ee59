"""Imports configurations of other proxies, as C{sniproxyctl import} does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.migrate.document import to_toml
from sniproxy.migrate.model import Imported, Note, SourceFile
from sniproxy.migrate.ordering import ordered
from sniproxy.routing.table import RouteTable
from sniproxy.util.names import server_name

Reader = Callable[[Sequence[SourceFile]], Imported]


def toml_of(read: Reader, files: Mapping[str, str]) -> tuple[str, list[Note]]:
    """The TOML text that files become, and the report. @param files: texts by name."""
    found = read([SourceFile(name, text) for name, text in files.items()])
    names = [table.name or f"listener-{number}" for number, (_, table) in enumerate(found.listeners)]
    text = to_toml(found, ordered(found.rules, names, found.report), list(files))
    return text, found.report.notes


def deciding(notes: Sequence[Note]) -> list[str]:
    """The texts of the notes for which the command ends with status 3."""
    return [note.text for note in notes if note.decides]


@functools.lru_cache(maxsize=8)
def _parsed(toml: str) -> Configuration:
    return parse(toml, "sniproxy.toml")


def route_of(toml: str, name: str | None, listener: str) -> list[str]:
    """The targets that a name has on a listener of a configuration; empty: it is refused."""
    configuration = _parsed(toml)
    if name is None:
        nameless = [route for route in configuration.routes if not route.server_name and route.listener == listener]
        found = nameless[0] if nameless else configuration.no_server_name
    else:
        named = [route for route in configuration.routes if route.server_name]
        found = RouteTable(named).choose(server_name(name), listener, configuration.default)
    return [] if found is None else list(found.resolver.options.get("target", []))
