"""Checks C{[resolver.NAME]} tables, and lists of their names. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sniproxy.config.model import DEFAULT_DEADLINE_S, DEFAULT_STALE_S, ResolverTable
from sniproxy.config.schema import MakeError


def resolver_tables(tables: Mapping[str, Mapping[str, Any]], error: MakeError) -> dict[str, ResolverTable]:
    """Check the tables. C{type}, C{deadline} and C{stale} are the proxy's keys; the rest are the plugin's options."""
    found = {}
    for name, table in tables.items():
        kind = table.get("type")
        if not isinstance(kind, str):
            raise error(f"resolver.{name}.type", kind, 'write the resolver\'s type, as in type = "static"')
        options = {key: value for key, value in table.items() if key not in ("type", "deadline", "stale")}
        deadline, stale = table.get("deadline", DEFAULT_DEADLINE_S), table.get("stale", DEFAULT_STALE_S)
        for key, value, least in (("deadline", deadline, "more than 0"), ("stale", stale, "0 or more")):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and (0 < value <= 1e9 or (value == 0 and key == "stale"))):
                raise error(f"resolver.{name}.{key}", value, f"must be a number of seconds, {least}")
        found[name] = ResolverTable(kind, options, f"resolver.{name}", name, float(deadline), float(stale))
    return found


def resolver_list(
    key: str, names: str | list[str], tables: Mapping[str, ResolverTable], error: MakeError
) -> ResolverTable:
    """The resolver of one name, or a list of the resolvers of several names, in order."""
    found = []
    for name in [names] if isinstance(names, str) else names:
        if name not in tables:
            raise error(key, name, f"unknown resolver; write a table [resolver.{name}]")
        if tables[name] in found:
            raise error(key, names, f"{name} is listed twice; remove one")
        found.append(tables[name])
    if not found:
        raise error(key, names, "name at least one resolver")
    if len(found) == 1:
        return found[0]
    return ResolverTable("", {}, ", then ".join(table.key for table in found), inner=tuple(found))
