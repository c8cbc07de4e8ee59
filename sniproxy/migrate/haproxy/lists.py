"""The map and list files of HAProxy. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from sniproxy.migrate.model import Place, SourceFile

_LINES = re.compile(r"\r?\n")


@attrs.frozen
class Entry:
    """A line of a map. @ivar value: empty in a list."""

    key: str
    value: str
    place: Place


@attrs.frozen
class Files:
    """The files that were given, to be found by the paths in the configuration."""

    files: Sequence[SourceFile]

    def find(self, path: str) -> SourceFile | None:
        """The file of a path: with this name, or with the longest end of it. None: it was not given."""
        path = re.sub(r"^(?:file|opt|virt)@", "", path)
        best, most = None, 0
        for file in self.files:
            alike = _common_end(file.name, path)
            if alike > most:
                best, most = file, alike
        return best


def _common_end(one: str, other: str) -> int:
    """How many of the last steps of two paths are the same."""
    count = 0
    for a, b in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if a != b:
            break
        count += 1
    return count


def read_map(file: SourceFile) -> list[Entry]:
    """The keys and values of a map, in order. A line without a value is skipped, as HAProxy refuses it."""
    found = []
    for key, place in _entries(file):
        parts = key.split(None, 1)
        if len(parts) == 2:
            found.append(Entry(parts[0], parts[1], attrs.evolve(place, key=parts[0])))
    return found


def read_list(file: SourceFile) -> list[Entry]:
    """The patterns of a list, one a line."""
    return [Entry(key, "", attrs.evolve(place, key=key)) for key, place in _entries(file)]


def _entries(file: SourceFile) -> list[tuple[str, Place]]:
    lines = enumerate(_LINES.split(file.text), 1)
    stripped = [(line.strip(" \t\r"), Place(file.name, number)) for number, line in lines]
    return [(text, place) for text, place in stripped if text and not text.startswith("#")]
