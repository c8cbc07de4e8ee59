"""Reads haproxy.cfg into sections, each with the settings of its defaults. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import attrs

from sniproxy.migrate.haproxy.words import BadWords, split_words
from sniproxy.migrate.model import MigrateError, Notes, Place, SourceFile

PROXIES = ("frontend", "listen", "backend")
_OTHERS = (
    "peers", "resolvers", "mailers", "userlist", "program", "ring", "cache", "http-errors", "fcgi-app", "log-forward",
    "log-profile", "crt-store", "traces", "acme",
)  # fmt: skip
_KINDS = ("global", "defaults", *PROXIES, *_OTHERS)
_SECTION = re.compile(rf"^[ \t]*(?:{'|'.join(_KINDS)})(?:[ \t]|\r?$)", re.MULTILINE)
_LINES = re.compile(r"\r?\n")


@attrs.frozen
class Line:
    """A line of a section. @ivar words: at least one."""

    words: tuple[str, ...]
    place: Place

    @property
    def key(self) -> str:
        return self.words[0]

    def starts(self, *words: str) -> bool:
        return self.words[: len(words)] == words


@attrs.frozen
class Section:
    """A section. @ivar lines: those of its defaults, then its own. @ivar own: where its own lines begin."""

    kind: str
    name: str
    place: Place
    lines: tuple[Line, ...] = ()
    own: int = 0

    def find(self, *words: str) -> Iterator[Line]:
        """The lines that begin with these words."""
        return (line for line in self.lines if line.starts(*words))

    def last(self, *words: str) -> Line | None:
        """The line that counts, of those that replace each other."""
        return next(reversed(list(self.find(*words))), None)

    def has(self, *words: str) -> bool:
        """Whether an option is on: the last of C{option x} and C{no option x} decides."""
        found = [line for line in self.lines if line.starts(*words) or line.starts("no", *words)]
        return bool(found) and found[-1].words[0] != "no"

    @property
    def is_http(self) -> bool:
        mode = self.last("mode")
        return mode is not None and mode.words[1:2] == ("http",)

    @property
    def is_disabled(self) -> bool:
        return any(line.starts("disabled") for line in self.lines[self.own :])


def is_configuration(file: SourceFile) -> bool:
    """Whether a file has sections; the others are maps and lists."""
    return _SECTION.search(file.text) is not None


def read_sections(files: Iterable[SourceFile], report: Notes) -> list[Section]:
    """The sections in order. @raise MigrateError: a line cannot be split into words, or is before every section."""
    found: list[Section] = []
    named: dict[str, tuple[Line, ...]] = {}
    latest: tuple[Line, ...] = ()
    for head, own in _blocks(files, report):
        name, parent = _name_and_parent(head.words[1:])
        inherited = latest if parent is None else _parent(parent, named, head, report)
        if head.key not in PROXIES and parent is None:
            inherited = ()
        place = attrs.evolve(head.place, key=" ".join(head.words[:2]))
        found.append(Section(head.key, name, place, (*inherited, *own), len(inherited)))
        if head.key == "defaults":
            latest = named[name] = found[-1].lines
    return found


def _blocks(files: Iterable[SourceFile], report: Notes) -> list[tuple[Line, list[Line]]]:
    """The first line of each section, and its other lines. @raise MigrateError: as L{read_sections}."""
    found: list[tuple[Line, list[Line]]] = []
    for line in _lines(files, report):
        if line.key in _KINDS:
            found.append((line, []))
        elif found:
            found[-1][1].append(line)
        else:
            cure = "a section, as defaults or frontend, must come first"
            raise MigrateError(f"{line.place.file}:{line.place.line}: {line.key}: {cure}")
    return found


def _lines(files: Iterable[SourceFile], report: Notes) -> Iterator[Line]:
    environment: dict[str, str] = {}
    for file in files:
        for number, text in enumerate(_LINES.split(file.text), 1):
            try:
                found = split_words(text, environment)
            except BadWords as error:
                raise MigrateError(f"{file.name}:{number}: {error}; HAProxy refuses this line, too") from error
            if not found.words:
                continue
            place = Place(file.name, number, found.words[0])
            for name in found.variables:
                cure = f"the environment variable {name} is unknown here; write its value into the file"
                report.left_out(place, cure, decides=True)
            if found.words[0].startswith("."):
                report.left_out(place, "conditions are not evaluated; all lines are read", decides=True)
                continue
            _set_variables(environment, found.words)
            yield Line(found.words, place)


def _set_variables(environment: dict[str, str], words: Sequence[str]) -> None:
    """What a line changes in the environment: the next lines have it (HAProxy's manual, section 3.1)."""
    key, *names = words
    if key == "setenv" and len(names) > 1:
        environment[names[0]] = names[1]
    elif key in ("unsetenv", "resetenv"):
        for name in list(environment):
            if (name in names) is (key == "unsetenv"):
                del environment[name]


def _name_and_parent(words: Sequence[str]) -> tuple[str, str | None]:
    """The name of a section, and that of its defaults. None: the latest ones."""
    if len(words) > 1 and words[-2] == "from":
        return " ".join(words[:-2]), words[-1]
    return (words[0] if words else ""), None


def _parent(name: str, named: dict[str, tuple[Line, ...]], line: Line, report: Notes) -> tuple[Line, ...]:
    if name in named:
        return named[name]
    report.left_out(line.place, f"there is no defaults section {name}", decides=True)
    return ()
