"""Short texts of haproxy.cfg for tests of its reader."""

from __future__ import annotations

from sniproxy.migrate import haproxy
from sniproxy.migrate.haproxy.acls import Scene
from sniproxy.migrate.haproxy.lists import Files
from sniproxy.migrate.haproxy.sections import Section, read_sections
from sniproxy.migrate.model import Imported, Notes, Rule, SourceFile

NAME = "haproxy.cfg"
HEAD = "tcp-request inspect-delay 5s\n tcp-request content accept if { req_ssl_hello_type 1 }\n"
BACKENDS = (
    "backend b1\n server s 10.0.0.1:6651\nbackend b2\n server s 10.0.0.2:6651\nbackend b3\n server s 10.0.0.3:6651\n"
)


def source(text: str, name: str = NAME) -> SourceFile:
    """A file."""
    return SourceFile(name, text)


def read(text: str, **files: str) -> Imported:
    """Import a configuration. @param files: maps and lists; an underscore in a name is a dot."""
    others = [source(content, name.replace("_", ".")) for name, content in files.items()]
    return haproxy.read([source(text), *others])


def frontend(lines: str, bind: str = ":4443", **files: str) -> Imported:
    """Import a frontend that reads names, with the backends b1 to b3."""
    return read(f"frontend f\n bind {bind}\n {HEAD} {lines}\n{BACKENDS}", **files)


def routes(found: Imported) -> list[tuple[str, str]]:
    """The pattern and the first target of each rule; empty: refused. Of b1 to b3 only the number."""
    return [(rule.pattern, _short(rule)) for rule in found.rules]


def _short(rule: Rule) -> str:
    target = rule.targets[0] if rule.targets else ""
    return target.removeprefix("10.0.0.").removesuffix(":6651")


def notes(found: Imported | Notes) -> list[str]:
    """The report: a mark, the line and the text of each note, without what was taken."""
    report = found.report if isinstance(found, Imported) else found
    marks = {"taken": "=", "different": "~", "left_out": "-"}
    return [
        f"{'!' if note.decides else marks[note.kind]} {note.place.line} {note.text}"
        for note in report.notes
        if note.kind != "taken"
    ]


def section(lines: str, kind: str = "backend", report: Notes | None = None) -> Section:
    """One section with these lines."""
    return read_sections([source(f"{kind} s\n{lines}\n")], report or Notes())[0]


def scene(port: int | None = 4443, terminates: bool = False, **files: str) -> Scene:
    """A listener, as conditions see it. @param files: as for L{read}."""
    others = [source(content, name.replace("_", ".")) for name, content in files.items()]
    return Scene(Files(others), Notes(), port, terminates)
