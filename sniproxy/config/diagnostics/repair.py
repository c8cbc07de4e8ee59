"""Replaces wrong values by harmless ones, so that the rest of a configuration can be checked. Pure."""

from __future__ import annotations

from typing import Any

from sniproxy.config.diagnostics.lines import Path
from sniproxy.config.schema import has_type
from sniproxy.config.tables import LISTED_TABLES

REPAIRED = "repaired.pem"
"""A missing file, to replace the path of a file."""

_NETWORK = "10.0.0.0/8"
_ITEMS: dict[str | int, object] = {
    "allow_ports": 6651, "commands": "LOOKUP", "proxy_tlvs": "authority",
    **dict.fromkeys(("allow_cidrs", "exempt_cidrs", "only_from", "proxy_protocol_from"), _NETWORK),
}  # fmt: skip
_NEEDED_BY_OTHERS: dict[str, object] = {"send_proxy": "v2", "rate_per_client": 1, "opened": True, "check": "tcp"}
"""Keys that get a valid value, because other keys need them."""

_TOGETHER: dict[str | int, dict[str, object]] = {
    "listener": {"proxy_protocol": "optional", "proxy_protocol_from": [_NETWORK]},
    "bridge": {"proxy_service_url": "pulsar+ssl://repaired.invalid:4443", "proxy_protocol": "SNI"},
}
"""Keys of a table that need each other, with valid values."""

_EITHER = {"target": "resolver", "resolver": "target"}
_GROUPS = "(b)(c)(d)(e)(f)(g)(h)(i)"
_TLS_KEYS = ("certificates", "upstream_trust", "upstream_certificate")


def repair(data: dict[str, Any], path: Path, value: object, meant: str | None, number: int) -> bool:
    """Replace a wrong value in place.

    @param path: of the wrong value. @param value: the value found, or one item of the list found.
    @param meant: for an unknown key, the probably intended key, or empty. None: the key is known.
    @param number: a different number for each error of a file.
    @return: whether the data has changed.
    """
    parent: Any = data
    for step in path[:-1]:
        try:
            parent = parent[step]
        except (KeyError, IndexError, TypeError):
            return False
    leaf = path[-1]
    if isinstance(parent, list):
        if not isinstance(leaf, int) or leaf >= len(parent):
            return False
        if path[-2] == "resolver":
            return repair(data, path[:-1], parent, None, number)
        if path[0] in LISTED_TABLES and len(path) == 2:
            parent[leaf] = _table(str(path[0]), parent[leaf], number)
        else:
            parent[leaf] = _ITEMS.get(path[-2], "repaired.invalid")
        return True
    if not isinstance(parent, dict) or not isinstance(leaf, str):
        return False
    if path[0] == "fault" and len(path) == 3:  # what a fault needs depends on its action
        name = {"name": parent["name"]} if leaf != "name" and isinstance(parent.get("name"), str) else {}
        parent.clear()
        parent.update(name, action="reset")
        return True
    if meant is not None:
        found = parent.pop(leaf, None)
        if meant and meant not in parent and _EITHER.get(meant) not in parent:
            parent[meant] = found
            tables = len(path) == 1 and isinstance(found, dict | list)  # each of their keys has an error of its own
            if not tables and not has_type("" if len(path) == 1 else str(path[0]), meant, found):
                _repair_key(data, (*path[:-1], meant), parent, meant, found, number)
        return True
    before = repr(parent)
    _repair_key(data, path, parent, leaf, value, number)
    return repr(parent) != before


def _repair_key(data: dict[str, Any], path: Path, table: dict[str, Any], leaf: str, value: object, number: int) -> None:
    found = table.get(leaf)
    if len(path) == 1 and leaf in LISTED_TABLES:
        table[leaf] = [_table(leaf, None, number)] if leaf == "listener" else []
    elif path[:-1] == ("resolver",):
        table[leaf] = {"type": "static"}
    elif leaf == "endpoint":
        if path[0] != "admin" and isinstance(found, str):
            others = [one for one in (*_all(data, "listener"), *_all(data, "bridge")) if one.get("endpoint") == found]
            if len(others) == 1 and found.strip():
                table.setdefault("name", found)  # routes may refer to it
        table[leaf] = _endpoint(number)
    elif leaf == "server_name" and path[0] == "route":
        table[leaf] = _name(number)
    elif leaf == "listener" and path[0] == "route":
        table.pop(leaf, None)
        same = [one for one in _all(data, "route") if one.get("server_name") == table.get("server_name")]
        if len(same) > 1 or not table.get("server_name"):
            table["server_name"] = _name(number)
    elif leaf == "plaintext":
        table[leaf] = ("target" in table or "resolver" in table) and "certificates" not in table
    elif leaf in ("target", "resolver") and path[0] in ("route", "default", "no_server_name", "listener"):
        _repair_target(path, table, leaf, value)
    elif leaf in _TLS_KEYS and path[0] == "listener":
        for key in _TLS_KEYS:
            if table.get("plaintext") is True:
                table.pop(key, None)
        if table.get("plaintext") is not True:
            table[leaf] = REPAIRED
            for key in _TLS_KEYS[:2]:
                table.setdefault(key, REPAIRED)
    elif leaf in ("service_url", "trust", "path", "type") and path[0] != "route":
        table[leaf] = {"service_url": "pulsar+ssl://repaired.invalid:6651", "type": "static"}.get(leaf, "-")
    elif leaf in _NEEDED_BY_OTHERS and (path[0] != "listener" or table.get("plaintext") is True):
        table[leaf] = _NEEDED_BY_OTHERS[leaf]
    else:
        table.pop(leaf, None)
        if isinstance(found, list) and not isinstance(value, list) and value in found:
            rest = [one for one in found if one != value]
            table.update({leaf: rest} if rest else {})
        together = _TOGETHER.get(path[0], {})
        for key in together if leaf in together else ():
            table.setdefault(key, together[key])


def _repair_target(path: Path, table: dict[str, Any], leaf: str, value: object) -> None:
    found = table.get(leaf)
    if path[0] == "listener" and table.get("plaintext") is not True:
        table.pop(leaf, None)
    elif leaf == "target" and isinstance(found, list) and value in found:
        table[leaf] = ["repaired.invalid:6651" if one == value else one for one in found]
    elif value is None and "target" in table and table.pop("resolver", None) is not None:
        pass  # both were set
    else:
        table.pop("resolver", None)
        table["target"] = "repaired.invalid:6651"


def _all(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = data.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _table(kind: str, found: object, number: int) -> dict[str, Any]:
    name = {"name": found["name"]} if isinstance(found, dict) and isinstance(found.get("name"), str) else {}
    if kind == "route":
        return {"server_name": _name(number), "target": "repaired.invalid:6651"}
    if kind == "listener":
        return {"endpoint": _endpoint(number), **name}
    if kind == "fault":
        return {"action": "reset", **name}
    return {
        "endpoint": _endpoint(number), "service_url": "pulsar+ssl://repaired.invalid:6651", "trust": "-", **name,
    }  # fmt: skip


def _endpoint(number: int) -> str:
    return f"tcp:1:interface=127.255.{number // 250}.{number % 250 + 1}"


def _name(number: int) -> str:
    """A pattern with nine groups, so that it fills any placeholder of the route's target."""
    return f"~(repaired-{number}){_GROUPS}"
