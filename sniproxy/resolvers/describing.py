"""What ``--help-resolvers`` and ``--help-resolver TYPE`` print."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.config.model import DEFAULT_DEADLINE_S as DEADLINE_S
from sniproxy.config.model import DEFAULT_STALE_S as STALE_S
from sniproxy.interfaces import NEEDED, Option, ResolverMaker
from sniproxy.resolvers import missing, options_of

ALL_HAVE = f"""\
Every [resolver.NAME] also has: type; deadline, seconds for an answer ({DEADLINE_S:g}); stale, seconds for which an old
answer may be used while asking fails ({STALE_S:g}; 0: never)."""
"""What the proxy itself takes from every table."""


def describe_all(makers: Iterable[ResolverMaker]) -> str:
    """One type a line, its name first; what must be installed first is said."""
    lines = []
    known = sorted(makers, key=lambda maker: maker.name)
    width = max((len(maker.name) for maker in known), default=0)
    for maker in known:
        command = missing(maker)
        lines.append(f"{maker.name:<{width}}  {maker.help}" + ("" if command is None else f"  (needs: {command})"))
    return "\n".join(lines)


def describe_one(maker: ResolverMaker) -> str:
    """A type with all its options: name, kind, default, meaning."""
    lines = [f"{maker.name}: {maker.help}"]
    command = missing(maker)
    if command is not None:
        lines.append(f"It needs what is not installed: {command}")
    options = options_of(maker)
    if options is None:
        return "\n".join([*lines, "", "It does not describe its options.", "", ALL_HAVE])
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
        return "needed"
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
