"""Parses files of names and targets: TOML, and the two-column maps of HAProxy and nginx. Pure.

A name is exact or starts with C{*.}, as in a route. C{default} is for all other names and for connections without a
name. A target is written as in a route, with or without a weight, but without placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import attrs
import tomli

from sniproxy.interfaces import Target
from sniproxy.routing.table import RouteTable
from sniproxy.routing.targets import BadTarget, parse_weighted
from sniproxy.util.names import BadName, pattern
from sniproxy.util.text import bounded

DEFAULT = "default"

_PARAMETERS = ("hostnames;", "volatile;")
"""Lines of nginx maps that are parameters, not entries. They are ignored: names are always compared as hostnames."""

_LINE = re.compile(r"(\S+)\s+(.*)")


class BadNameFile(ValueError):
    """The file is invalid. The message has the line or the key, the problem and the cure."""


@attrs.frozen
class NameEntry:
    """A row of the file, as a route table needs it.

    @ivar server_name: the normalised name or pattern. @ivar listener: always None, which means all listeners.
    """

    server_name: str
    targets: tuple[Target, ...]
    listener: None = None


class NameTable:
    """The contents of a file. @param default: None: the file has no default."""

    def __init__(self, entries: Sequence[NameEntry], default: NameEntry | None) -> None:
        self._table = RouteTable(entries)
        self._default = default
        self.count = len(entries) + (default is not None)

    def targets(self, name: str | None) -> tuple[Target, ...] | None:
        """The targets of the most specific entry for a name. None: there is no entry and no default."""
        found = None if name is None else self._table.match(name, "")
        entry = found or self._default
        return None if entry is None else entry.targets


def parse_toml(text: str) -> NameTable:
    """Parse TOML, as in C{"broker-1.example.com" = "10.0.0.7:6651"}. A value is a target or a list of targets.

    @raise BadNameFile: the text is invalid.
    """
    try:
        data = tomli.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadNameFile(f"invalid TOML: {bounded(str(error))}") from error
    return _names((f"{name} = ", name, _texts(name, value)) for name, value in data.items())


def parse_map(text: str) -> NameTable:
    """Parse two columns: a name, white space, and one or more targets with commas between them.

    C{#} starts a comment. Quotes around a column and a semicolon at the end of a line are ignored, as in nginx maps.

    @raise BadNameFile: the text is invalid.
    """
    return _names(_rows(text))


def _rows(text: str) -> Iterator[tuple[str, str, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#") or line in _PARAMETERS:
            continue
        place = f"line {number}: "
        columns = _LINE.fullmatch(line.partition(" #")[0].strip().removesuffix(";"))
        if columns is None:
            raise BadNameFile(f"{place}{bounded(line, 80)}: write two columns, a name and a target")
        name, targets = (column.strip().strip("\"'") for column in columns.groups())
        yield place, name, [target.strip() for target in targets.split(",")]


def _texts(name: str, value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if isinstance(value, dict):
        raise BadNameFile(
            f'{bounded(name, 80)}: a table is not allowed; quote a name with dots: "a.example.com" = "..."'
        )
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise BadNameFile(
            f'{bounded(name, 80)} = {bounded(repr(value), 80)}: write one target, "host:port", or a list of them'
        )
    return texts


def _names(rows: Iterable[tuple[str, str, list[str]]]) -> NameTable:
    entries: dict[str, NameEntry] = {}
    default = None
    for place, written, texts in rows:
        place = bounded(place, 90)
        try:
            name = written if written == DEFAULT else pattern(written)
            entry = NameEntry(name, tuple(parse_weighted(text) for text in texts))
        except BadTarget as error:
            raise BadNameFile(f"{place}{bounded(', '.join(texts), 80)}: {error}") from error
        except BadName as error:
            raise BadNameFile(f"{place}{bounded(written, 80)}: {error}") from error
        if name in entries or (name == DEFAULT and default is not None):
            raise BadNameFile(f"{place}{bounded(written, 80)}: duplicate name; write all its targets in one entry")
        if name == DEFAULT:
            default = entry
        else:
            entries[name] = entry
    return NameTable(list(entries.values()), default)
