"""Files of names and their targets: TOML, and the two columns that HAProxy's and nginx's maps have. Pure.

A name is exact, or C{*.} and a name, as in a route. C{default} is what no other name has, and what a connection without
a name gets. A target is what a route's C{target} may be, with or
without a weight, but without places.
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
"""Lines of nginx's maps that are no entries: how it compares names, which is how we do, and how long it keeps them."""

_LINE = re.compile(r"(\S+)\s+(.*)")


class BadNameFile(ValueError):
    """The file cannot be used; the message says the line or the key, what is wrong and how to write it."""


@attrs.frozen
class NameEntry:
    """@ivar server_name: the normalised pattern. @ivar listener: always None, for the table."""

    server_name: str
    targets: tuple[Target, ...]
    listener: None = None


class NameTable:
    """What a file says. @param default: None: there is no default."""

    def __init__(self, entries: Sequence[NameEntry], default: NameEntry | None) -> None:
        self._table = RouteTable(entries)
        self._default = default
        self.count = len(entries) + (default is not None)

    def targets(self, name: str | None) -> tuple[Target, ...] | None:
        """By the longest name that has it; None: the file has nothing for it."""
        found = None if name is None else self._table.match(name, "")
        entry = found or self._default
        return None if entry is None else entry.targets


def parse_toml(text: str) -> NameTable:
    """C{"broker-1.example.com" = "10.0.0.7:6651"}, a target or a list of them.

    @raise BadFile: it cannot be used.
    """
    try:
        data = tomli.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadNameFile(f"this is not TOML: {bounded(str(error))}") from error
    return _names((f"{name} = ", name, _texts(name, value)) for name, value in data.items())


def parse_map(text: str) -> NameTable:
    """Two columns: a name, white space, and a target or several with commas. C{#} begins a comment.

    A semicolon at the end of a line, and quotes around a column, are nginx's, and let pass.

    @raise BadFile: it cannot be used.
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
            f'{bounded(name, 80)}: it is a table; a name with dots stands in quotes: "a.example.com" = "..."'
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
            raise BadNameFile(
                f"{place}{bounded(written, 80)}: the name is there already; put all its targets into one entry"
            )
        if name == DEFAULT:
            default = entry
        else:
            entries[name] = entry
    return NameTable(list(entries.values()), default)
