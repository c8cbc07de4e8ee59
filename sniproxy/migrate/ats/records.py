"""``records.yaml`` and ``records.config``: settings by name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from sniproxy.migrate.model import Notes, Place, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode

PREFIX = "proxy.config."
_LINE = re.compile(r"\s*(CONFIG|LOCAL)\s+(\S+)\s+(INT|FLOAT|STRING|COUNTER|LLONG)\b[ \t]*(.*)")
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_NUMBER = re.compile(r"([0-9]{1,12})([KMG]?)")


@attrs.frozen
class Record:
    """A setting. @ivar value: as written, without spaces around it; empty: it is C{NULL}."""

    value: str
    place: Place


@attrs.define
class Records:
    """All settings, by their whole name (C{proxy.config.http.server_ports}).

    @ivar used: the names that were looked up.
    """

    found: dict[str, Record] = attrs.field(factory=dict)
    used: set[str] = attrs.field(factory=set)

    def get(self, *names: str) -> Record | None:
        """The first of several settings that has a value. @param names: without L{PREFIX}."""
        self.used |= {f"{PREFIX}{name}" for name in names}
        records = (self.found.get(f"{PREFIX}{name}") for name in names)
        return next((record for record in records if record is not None and record.value), None)

    def number(self, name: str, notes: Notes) -> tuple[int, Record] | None:
        """The value of a whole number. None: it is absent, or no number, which is noted."""
        record = self.get(name)
        if record is None:
            return None
        match = _NUMBER.fullmatch(record.value.upper())
        if match is None:
            notes.left_out(record.place, f"{record.value!r} is no number")
            return None
        return int(match[1]) * _SIZES.get(match[2], 1), record

    def rest(self) -> list[tuple[str, Record]]:
        """The settings that were not looked up, by their whole names, in the order of the files."""
        return [(name, record) for name, record in self.found.items() if name not in self.used]


def read_records(trees: Sequence[YamlNode], files: Sequence[SourceFile], notes: Notes) -> Records:
    """Read all files; of a setting that is there several times, the last counts."""
    records = Records()
    for file in files:
        for number, line in enumerate(file.text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                notes.left_out(Place(file.name, number), "no line of records.config: CONFIG NAME TYPE VALUE")
                continue
            name = match[2]
            records.found[name] = Record(_value(match[4]), Place(file.name, number, name))
    for tree in trees:
        for name, record in _flat(tree, PREFIX.removesuffix(".")):
            records.found[name] = record
    return records


def _flat(node: YamlNode, name: str) -> Iterator[tuple[str, Record]]:
    """The settings of a mapping. A list is a setting, with its items separated by spaces."""
    if isinstance(node.value, dict):
        for key, value in node.items():
            yield from _flat(value, f"{name}.{key}")
        return
    text = " ".join(one.text() for one in node.value) if isinstance(node.value, list) else node.text()
    yield name, Record(_value(text), attrs.evolve(node.place, key=name))


def _value(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return "" if text == "NULL" else text
