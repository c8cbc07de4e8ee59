"""Follows C{include} among the files that were given, and finds the stream context. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import attrs

from sniproxy.migrate.model import MigrateError, Notes, Place, SourceFile
from sniproxy.migrate.nginx.directives import Directive, directives

MAX_INCLUDES = 16
"""Maximum depth of files that include each other."""

MAX_DIRECTIVES = 1_000_000
"""Maximum of directives, each counted as often as its file is included."""

_MAIN = ("http", "events")
_STREAM = ("map", "upstream", "server", "geo", "split_clients")


@attrs.define
class Loader:
    """The directives of all files. @ivar report: gets a note for each file that is not there or not used."""

    files: Sequence[SourceFile]
    report: Notes
    _parsed: dict[str, list[Directive]] = attrs.field(factory=dict)
    _used: set[str] = attrs.field(factory=set)
    _count: int = 0

    def stream(self) -> tuple[list[Directive], list[Directive]]:
        """The directives of the stream context, and those of the main context.

        Without a C{stream} block the files are its content, as an included file is.

        @raise MigrateError: a file cannot be read.
        """
        for file in self.files:
            self._parsed[file.name] = directives(file)
        roots = [file for file in self.files if any(one.name == "stream" for one in self._parsed[file.name])]
        if not roots:
            for file in self.files:
                if any(one.name in _MAIN for one in self._parsed[file.name]):
                    raise MigrateError(f"{file.name}: no stream block; give the file that has it, too")
            included = self._included()
            roots = [file for file in self.files if file.name not in included]
            return self._all(roots, decides=True), []
        main = self._all(roots, decides=False)
        found = [inner for one in main if one.name == "stream" for inner in one.block or ()]
        for file in self.files:
            if file.name not in self._used:
                self.report.left_out(
                    Place(file.name), "no include reads this file", decides=_has_stream(self._parsed[file.name])
                )
        return found, main

    def _included(self) -> set[str]:
        """The names of the files that another one includes."""
        found: set[str] = set()
        for file in self.files:
            for one in _every(self._parsed[file.name]):
                if one.name == "include":
                    found.update(other.name for other in self._named(one.first) if other.name != file.name)
        return found

    def _all(self, roots: Sequence[SourceFile], decides: bool) -> list[Directive]:
        found = []
        for file in roots:
            self._used.add(file.name)
            found += self._expanded(self._parsed[file.name], (file.name,), decides)
        return found

    def _expanded(self, given: Sequence[Directive], stack: tuple[str, ...], decides: bool) -> list[Directive]:
        """The directives with the included ones in place of each include."""
        found: list[Directive] = []
        for one in given:
            self._count += 1
            if self._count > MAX_DIRECTIVES:
                raise MigrateError(f"{one.place}: more than {MAX_DIRECTIVES} directives; a file may include itself")
            if one.name == "include":
                found += self._follow(one, stack, decides)
            elif one.block is not None and one.name not in ("http", "mail", "events"):
                block = self._expanded(one.block, stack, decides or one.name == "stream")
                found.append(attrs.evolve(one, block=block))
            else:
                found.append(one)
        return found

    def _follow(self, include: Directive, stack: tuple[str, ...], decides: bool) -> list[Directive]:
        files = [file for file in self._named(include.first) if file.name not in stack]
        if not files:
            self.report.left_out(include.place, f"{include.first}: give this file, too", decides=decides)
        if len(stack) > MAX_INCLUDES:
            raise MigrateError(f"{include.place}: files include each other more than {MAX_INCLUDES} levels deep")
        found = []
        for file in files:
            self._used.add(file.name)
            found += self._expanded(self._parsed[file.name], (*stack, file.name), decides)
        return found

    def _named(self, pattern: str) -> list[SourceFile]:
        """The given files that an include means, in nginx's order.

        They may be in other folders now, so the innermost folder and the name count, or else the name alone.
        """
        wanted = pattern.split("/")[-2:]
        found: dict[int, list[SourceFile]] = {1: [], 2: []}
        for file in self.files:
            parts = file.name.split("/")[-len(wanted) :]
            globs = wanted[-len(parts) :]
            if all(fnmatchcase(part, glob) for part, glob in zip(parts, globs, strict=True)):
                found[len(parts)].append(file)
        return sorted(found[2] or found[1], key=lambda file: file.name)


def _every(given: Sequence[Directive]) -> Iterator[Directive]:
    for one in given:
        yield one
        yield from _every(one.block or ())


def _has_stream(given: Sequence[Directive]) -> bool:
    return any(one.name in _STREAM for one in given)
