"""The C{map} directive. Pure.

nginx compares literals without case, and searches expressions in the source as the client sent it. The order is:
literals, with C{hostnames} the longest C{*.suffix} and then the longest C{prefix.*}, expressions in order, C{default}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.migrate.pcre import BadExpression, Searched, searched, top_level
from sniproxy.util.names import BadName, server_name

_SPECIAL = ("default", "hostnames", "include", "volatile")


@attrs.frozen
class Entry:
    """A line of a map. @ivar found: of an expression. @ivar ignore_case: the expression ignores case."""

    key: str
    value: str
    place: Place
    found: Searched | None = None
    ignore_case: bool = False


@attrs.define
class Map:
    """A map.

    @ivar source: the text whose value is looked up. @ivar literals, below, above: entries by key, in lower case; those
        of ``*.example.com`` and ``www.*`` by what is beside the star. @ivar default: None: the value is empty.
    """

    name: str
    source: str
    place: Place
    hostnames: bool = False
    literals: dict[str, Entry] = attrs.field(factory=dict)
    below: dict[str, Entry] = attrs.field(factory=dict)
    above: dict[str, Entry] = attrs.field(factory=dict)
    expressions: list[Entry] = attrs.field(factory=list)
    default: Entry | None = None

    def find(self, text: str) -> tuple[Entry | None, Sequence[str]]:
        """The entry of a text, and the captures of its expression. None: there is none and no default."""
        text = text.removesuffix(".") if self.hostnames else text
        lower = text.lower()
        found = self.literals.get(lower) or self._by_labels(lower)
        if found is not None:
            return found, ()
        # nginx tries no expression on an empty text.
        for entry in self.expressions if text else ():
            assert entry.found is not None
            flags = re.ASCII | (re.IGNORECASE if entry.ignore_case else 0)
            match = re.fullmatch(entry.found.expression, text, flags) if entry.found.pattern else None
            if match is not None:
                return entry, match.groups("")
        return self.default, ()

    def _by_labels(self, text: str) -> Entry | None:
        labels = text.split(".")
        for at in range(1, len(labels)):
            found = self.below.get(".".join(labels[at:]))
            if found is not None:
                return found
        for at in range(len(labels) - 1, 0, -1):
            found = self.above.get(".".join(labels[:at]))
            if found is not None and all(labels[at:]):
                return found
        return None

    def patterns(self, before: str = "", after: str = "") -> Iterator[tuple[str, Entry | None]]:
        """The patterns of server names in order, if the source is the name between two texts. The last ones are for
        all names and for hellos without one.

        @raise BadExpression: an expression may match a part of the texts.
        """
        for key, entry in self.literals.items():
            name = _between(key, before, after)
            if name:
                yield name, entry
        for suffix in sorted(self.below, key=len, reverse=True):
            if not before and suffix.endswith(after):
                yield f"*.{suffix.removesuffix(after)}", self.below[suffix]
        for prefix in sorted(self.above, key=len, reverse=True):
            if prefix.startswith(before):
                yield rf"~{re.escape(prefix.removeprefix(before))}\..+", self.above[prefix]
        for entry in self.expressions:
            assert entry.found is not None
            pattern = entry.found.pattern if not before + after else _inside(entry, before, after)
            if pattern:
                yield pattern, entry
        yield ANY, self.default
        yield NAMELESS, self.find(before + after)[0]


def _between(key: str, before: str, after: str) -> str:
    """The name between two texts; empty: the key has none."""
    if not (key.startswith(before.lower()) and key.endswith(after.lower()) and len(key) > len(before + after)):
        return ""
    try:
        return server_name(key[len(before) : len(key) - len(after)])
    except BadName:
        return ""


def _inside(entry: Entry, before: str, after: str) -> str:
    """The pattern of the names between two texts in which an expression is found; empty: there are none.

    Only an expression with a colon between its part for the name and its part for what follows can be split.
    """
    text = entry.key.removeprefix("~").removeprefix("*")
    parts = top_level(text)
    if before or not after.startswith(":") or parts.count(":") != 1 or "|" in parts:
        raise BadExpression(f"cannot be split into a part for the name and one for {before or after}")
    at = parts.index(":")
    if not re.match("".join(parts[at + 1 :]), after[1:], re.ASCII | re.IGNORECASE):
        return ""
    return searched("".join(parts[:at]) + "$", ignore_case=entry.ignore_case).pattern


def read_map(directive: Directive, report: Notes) -> Map | None:
    """A C{map} block; None: it is malformed, which is reported."""
    if len(directive.arguments) != 2 or not directive.arguments[1].startswith("$"):
        report.left_out(directive.place, "not a map of a text to a variable", decides=True)
        return None
    source, name = directive.arguments
    found = Map(name[1:], source, attrs.evolve(directive.place, key=f"map {name}"))
    lines = directive.block or ()
    found.hostnames = any(line.name == "hostnames" and not line.arguments for line in lines)
    for line in lines:
        if line.name in ("hostnames", "volatile") and not line.arguments:
            continue
        if len(line.arguments) != 1:
            report.left_out(line.place, "not a line of a map: a key and a value", decides=True)
            continue
        entry = Entry(line.name, line.first, line.place)
        try:
            _add(found, entry, report)
        except BadExpression as error:
            report.left_out(line.place, str(error), decides=True)
    return found


def add_entry(found: Map, key: str, value: str, place: Place, *, ignore_case: bool) -> None:
    """Add a name of C{server_name}, whose expressions ignore case. @raise BadExpression: it has no equal here."""
    if key.startswith("~"):
        match = searched(key.removeprefix("~").removeprefix("*"), ignore_case=ignore_case)
        found.expressions.append(Entry(key, value, place, match, ignore_case))
    elif _is_special(key):
        _add_hostname(found, Entry(key, value, place), key.lower())
    else:
        found.literals.setdefault(key.lower(), Entry(key, value, place))


def _add(found: Map, entry: Entry, report: Notes) -> None:
    key = entry.key
    if key == "default":
        found.default = entry
    elif key.startswith("~"):
        ignore_case = key.startswith("~*")
        captures = "$" in entry.value
        match = searched(key[2:] if ignore_case else key[1:], ignore_case=ignore_case, captures=captures)
        found.expressions.append(attrs.evolve(entry, found=match, ignore_case=ignore_case))
        if not match.pattern:
            report.different(entry.place, "it matches only names in upper case, which clients do not send")
    elif found.hostnames and _is_special(key):
        _add_hostname(found, entry, key.lower())
    else:
        # A backslash takes a word that would mean something else.
        key = key[1:] if key.startswith("\\") else key
        found.literals.setdefault(key.lower(), entry)
        if key.startswith(("*.", ".")):
            report.different(
                entry.place, "without hostnames in the map, nginx takes this key literally: no name has it"
            )


def _is_special(key: str) -> bool:
    return key.startswith((".", "*.")) or key.endswith(".*")


def _add_hostname(found: Map, entry: Entry, key: str) -> None:
    if key.startswith("*."):
        found.below.setdefault(key[2:], entry)
    elif key.endswith(".*"):
        found.above.setdefault(key[:-2], entry)
    else:
        found.literals.setdefault(key[1:], entry)
        found.below.setdefault(key[1:], entry)
