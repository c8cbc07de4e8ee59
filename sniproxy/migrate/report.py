"""The report of an import or an export: what was taken, what is different here, what cannot be had. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sniproxy.migrate.model import ANY, NAMELESS, Kind, Note, Notes
from sniproxy.migrate.ordering import Ordered
from sniproxy.util.text import counted, printable

MAX_TARGETS = 3
"""Targets of a route in the report, at most."""

_NAMES = {ANY: "other names", NAMELESS: "hellos without a name"}

_HEADINGS = {
    Kind.TAKEN: "taken",
    Kind.DIFFERENT: "different here",
    Kind.LEFT_OUT: "left out",
}


def note_routes(routes: Ordered, report: Notes) -> None:
    """Note each route as taken, unless the reader has noted the line of its rule."""
    noted = {(note.place.file, note.place.line) for note in report.notes if note.kind == Kind.TAKEN}
    default = [] if routes.default is None else [routes.default]
    for rule in [*routes.routes, *default, *routes.nameless]:
        if (rule.place.file, rule.place.line) in noted:
            continue
        name = _NAMES.get(rule.pattern, rule.pattern) + ("" if rule.listener is None else f" on {rule.listener}")
        shown = ", ".join(rule.targets[:MAX_TARGETS]) + (", ..." if len(rule.targets) > MAX_TARGETS else "")
        report.taken(rule.place, f"{name} to {shown or rule.resolver or 'no target: refused'}")


def decides(notes: Sequence[Note]) -> bool:
    """Whether something that decides where names go was left out."""
    return any(note.decides for note in notes)


def to_text(notes: Sequence[Note]) -> str:
    """The report as text: a heading for each kind, a line for each note, and a summary. Ends with a line feed."""
    lines = []
    for kind, heading in _HEADINGS.items():
        found = [note for note in notes if note.kind == kind]
        if found:
            lines.append(f"{heading}:")
            lines += [f"  {_line(note)}" for note in found]
    lines.append(_summary(notes))
    return "".join(f"{line}\n" for line in lines)


def _line(note: Note) -> str:
    mark = "! " if note.decides else ""
    return printable(f"{mark}{note.place}: {note.text}")


def _summary(notes: Sequence[Note]) -> str:
    counts = [(sum(note.kind == kind for note in notes), heading) for kind, heading in _HEADINGS.items()]
    text = ", ".join(f"{count} {heading}" for count, heading in counts)
    wrong = sum(note.decides for note in notes)
    if not wrong:
        return text
    verb = "decides" if wrong == 1 else "decide"
    return f"{text}; {counted(wrong, 'setting')} marked ! {verb} where names go: the result routes differently"


def to_json(notes: Sequence[Note]) -> str:
    """The report as a JSON object: C{decides}, and C{notes} with C{kind}, C{file}, C{line}, C{key}, C{text} and
    C{decides} each. Ends with a line feed."""
    entries = [
        {
            "kind": note.kind.value,
            "file": note.place.file,
            "line": note.place.line or None,
            "key": note.place.key or None,
            "text": note.text,
            "decides": note.decides,
        }
        for note in notes
    ]
    return json.dumps({"decides": decides(notes), "notes": entries}, indent=2) + "\n"
