"""Writes an imported configuration as TOML, with the place that each part comes from. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import tomlkit

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.model import Imported, Place, Rule
from sniproxy.migrate.ordering import Ordered
from sniproxy.util.text import printable

REFUSE = "refuse"
"""The name of the resolver of routes that refuse their names."""

_ROUTE_KEYS = (
    "resolver", "balance", "max_connections", "only_from", "send_proxy", "proxy_tlvs", "target_source",
)  # fmt: skip


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(imported: Imported, routes: Ordered, sources: Sequence[str]) -> str:
    """The text of a configuration file. @param sources: names of the files that were read."""
    blocks = [
        f"# Imported by sniproxyctl import from {printable(', '.join(sources))}.\n"
        "# Check it with: sniproxyctl run --config FILE --check\n"
    ]
    blocks += [_table("[[listener]]", place, _listener(table)) for place, table in imported.listeners]
    named = [*routes.routes, *(rule for rule in routes.nameless if rule.listener is not None)]
    blocks += [_table("[[route]]", rule.place, _route(rule)) for rule in named]
    nameless = next((rule for rule in routes.nameless if rule.listener is None), None)
    for name, rule in (("default", routes.default), ("no_server_name", nameless)):
        if rule is not None and (rule.targets or rule.resolver):
            blocks.append(_table(f"[{name}]", rule.place, _destination(rule)))
    tables = dict(imported.resolvers)
    if any(not rule.targets and rule.resolver is None for rule in named):
        tables[REFUSE] = {"type": "refuse"}
    blocks += [_table(f"[resolver.{_key(name)}]", None, keys) for name, keys in tables.items()]
    if imported.access_log is not None:
        blocks.append(_table("[access_log]", None, {"path": imported.access_log}))
    for name in ("timeouts", "health", "limits", "policy"):
        table = getattr(imported, name)
        changed = {} if table is None else _changed(table)
        if changed:
            blocks.append(_table(f"[{name}]", None, changed))
    return "\n".join(blocks)


def _table(header: str, place: Place | None, keys: Mapping[str, Any]) -> str:
    """A table, with the place that it comes from behind its header."""
    shown = "" if place is None or not place.file else f" # {printable(str(Place(place.file, place.line)))}"
    return f"{header}{shown}\n" + "".join(f"{_key(key)} = {_value(value)}\n" for key, value in keys.items())


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    """A value as TOML. Written here, because tomlkit takes a second for 4,000 routes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")  # TOML forbids DEL, JSON does not
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    text: str = tomlkit.item(value).as_string()
    return text


def _changed(struct: msgspec.Struct) -> dict[str, Any]:
    """The keys that differ from their defaults, and those that have none."""
    return {
        field.name: value
        for field in msgspec.structs.fields(struct)
        if (value := getattr(struct, field.name)) is not None and value != _default(field)
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def _listener(table: ListenerTable) -> dict[str, Any]:
    return _changed(table)


def _route(rule: Rule) -> dict[str, Any]:
    keys: dict[str, Any] = {"server_name": rule.pattern}
    if rule.listener is not None:
        keys["listener"] = rule.listener
    return {**keys, **_destination(rule)}


def _destination(rule: Rule) -> dict[str, Any]:
    return dict(_destination_keys(rule))


def _destination_keys(rule: Rule) -> Iterator[tuple[str, Any]]:
    if rule.targets:
        yield "target", rule.targets[0] if len(rule.targets) == 1 else list(rule.targets)
    elif rule.resolver is None:
        yield "resolver", REFUSE
    for key in _ROUTE_KEYS:
        value = getattr(rule, key)
        if value is not None:
            yield key, list(value) if isinstance(value, tuple | list) else value
