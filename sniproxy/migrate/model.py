"""What a reader finds in another proxy's configuration. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from sniproxy.config.schema import HealthTable, LimitsTable, ListenerTable, PolicyTable, Timeouts

ANY = "*"
"""The pattern of a rule for every name; L{NAMELESS} is not included."""

NAMELESS = ""
"""The pattern of a rule for hellos without a server name."""


class MigrateError(Exception):
    """A file cannot be read at all. The message names the file, the line if known, and the cure."""


@attrs.frozen
class SourceFile:
    """A file of the other proxy. @ivar name: its path as the user wrote it. @ivar text: all of it."""

    name: str
    text: str

    @property
    def base(self) -> str:
        """The name without its folders."""
        return self.name.rpartition("/")[2]


@attrs.frozen
class Place:
    """Where something was read.

    @ivar line: from 1; 0: unknown. @ivar key: as the other proxy calls it; may be empty.
    """

    file: str
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where} {self.key}" if self.key else where


class Kind(StrEnum):
    """What became of a setting."""

    TAKEN = "taken"
    DIFFERENT = "different"
    LEFT_OUT = "left_out"


@attrs.frozen
class Note:
    """One line of the report.

    @ivar text: what was taken, what differs, or why it is left out and what to do instead.
    @ivar decides: what is left out decides where names go, so the result routes differently.
    """

    kind: Kind
    place: Place
    text: str
    decides: bool = False


@attrs.define
class Notes:
    """Collects the report. @ivar notes: in the order of the source."""

    notes: list[Note] = attrs.field(factory=list)

    def taken(self, place: Place, text: str) -> None:
        self.notes.append(Note(Kind.TAKEN, place, text))

    def different(self, place: Place, text: str, *, decides: bool = False) -> None:
        self.notes.append(Note(Kind.DIFFERENT, place, text, decides))

    def left_out(self, place: Place, text: str, *, decides: bool = False) -> None:
        self.notes.append(Note(Kind.LEFT_OUT, place, text, decides))

    def without_repeats(self) -> Notes:
        """The same notes, each once: what several listeners share is reported for each of them."""
        return Notes(list(dict.fromkeys(self.notes)))


@attrs.frozen
class Rule:
    """Names and where they go.

    @ivar pattern: an exact name, ``*.example.com`` (any depth), ``~`` and an expression that matches the whole name,
        L{ANY} or L{NAMELESS}. @ivar targets: as in our configuration, with placeholders and weights. Empty: names that
        match are refused.
    @ivar listener: the name of the listener that it is for. None: all. The other fields are keys of a route.
    """

    pattern: str
    place: Place
    targets: Sequence[str] = ()
    listener: str | None = None
    resolver: str | None = None
    balance: str | None = None
    max_connections: int | None = None
    only_from: Sequence[str] | None = None
    send_proxy: str | None = None
    proxy_tlvs: Sequence[str] | None = None
    target_source: str | None = None

    def same_destination(self, other: Rule) -> bool:
        """Whether both send names to the same targets in the same way."""
        return attrs.evolve(self, pattern="", place=other.place, listener=None) == attrs.evolve(
            other, pattern="", listener=None
        )


@attrs.define
class Imported:
    """The other proxy's configuration in our terms.

    @ivar rules: in the order in which the original tries them: its first match decides.
    @ivar listeners: each has a name if a rule is for it alone. @ivar resolvers: our C{[resolver.NAME]} tables, by name.
    """

    listeners: list[tuple[Place, ListenerTable]] = attrs.field(factory=list)
    rules: list[Rule] = attrs.field(factory=list)
    resolvers: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    timeouts: Timeouts | None = None
    health: HealthTable | None = None
    limits: LimitsTable | None = None
    policy: PolicyTable | None = None
    access_log: str | None = None
    report: Notes = attrs.field(factory=Notes)


@attrs.define
class Exported:
    """The text of another proxy's configuration, and what it lacks."""

    text: str
    report: Notes = attrs.field(factory=Notes)
