"""Help texts of ``--help-resolvers`` and ``--help-resolver TYPE``."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.config.model import DEFAULT_DEADLINE_S as DEADLINE_S
from sniproxy.config.model import DEFAULT_STALE_S as STALE_S
from sniproxy.interfaces import NEEDED, IResolverMaker, Option
from sniproxy.resolvers import missing, options_of

ALL_HAVE = f"""\
Every [resolver.NAME] also takes: type; deadline, seconds until a query times out ({DEADLINE_S:g}); stale, seconds for
which a stale answer is served while the resolver fails ({STALE_S:g}; 0: never)."""
"""The keys that every resolver's table takes."""


def describe_all(makers: Iterable[IResolverMaker]) -> str:
    """One line for each type: name, help, and the command that installs a missing dependency."""
    lines = []
    known = sorted(makers, key=lambda maker: maker.name)
    width = max((len(maker.name) for maker in known), default=0)
    for maker in known:
        command = missing(maker)
        lines.append(f"{maker.name:<{width}}  {maker.help}" + ("" if command is None else f"  (requires: {command})"))
    return "\n".join(lines)


def describe_one(maker: IResolverMaker) -> str:
    """A type with its options: name, kind, default, help."""
    lines = [f"{maker.name}: {maker.help}"]
    command = missing(maker)
    if command is not None:
        lines.append(f"A dependency is not installed; run {command}")
    options = options_of(maker)
    if options is None:
        return "\n".join([*lines, "", "This type does not describe its options.", "", ALL_HAVE])
    lines.append("")
    rows = [(option.name, str(option.kind), _default(option), option.help) for option in options]
    widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        lines.append("  " + "  ".join([*cells, row[3]]))
    return "\n".join([*lines, "", ALL_HAVE])


def _default(option: Option) -> str:
    value = option.default
    if value is NEEDED:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(f'"{text}"' for text in value) + "]"
    return str(value)
