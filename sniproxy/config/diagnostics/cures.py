"""Suggests what to write instead of a wrong key or value. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sniproxy.config.diagnostics.syntax import close_to
from sniproxy.config.diagnostics.units import flag, number, unit_of
from sniproxy.config.tables import LISTED_TABLES

_ALIASES = {
    "endpoint": ("listen", "bind", "address", "addr", "port", "host", "listen_on", "socket"),
    "server_name": ("sni", "hostname", "host", "fqdn", "name", "domain", "names", "match"),
    "target": ("backend", "backends", "upstream", "upstreams", "destination", "dest", "server", "servers", "to",
               "tunnel_route", "address", "proxy_pass", "host"),
    "route": ("routes", "rule", "rules", "sni", "backend"),
    "listener": ("listen", "frontend", "server", "bind"),
    "timeouts": ("timeout",),
    "access_log": ("log", "logs", "logging", "accesslog"),
    "admin": ("metrics", "status", "prometheus"),
    "type": ("kind",),
    "certificates": ("certificate", "cert", "tls_cert", "ssl_certificate"),
    "upstream_trust": ("trust", "ca", "cafile"),
    "trust": ("ca", "ca_file", "upstream_trust"),
    "path": ("file", "filename"),
    "max_connections": ("maxconn", "connections"),
    "idle": ("timeout", "client", "server"),
}  # fmt: skip
"""Keys, and their names in other programs."""


def unknown_key(name: str, table: str, known: Sequence[str], elsewhere: Mapping[str, Sequence[str]]) -> str:
    """The cure for an unknown key.

    @param table: its table; empty: the top level. @param known: the keys of that table.
    @param elsewhere: the keys of all tables; top-level keys have an empty table name.
    """
    if table and name in elsewhere[""] and name not in elsewhere:
        return f"{name} belongs at the top of the file, before the first [table]"
    close = close_to(name, known)
    if close is not None:
        return f"did you mean {close}?"
    alias = next((key for key in known if name.lower() in _ALIASES.get(key, ())), None)
    if alias is not None:
        return f"did you mean {alias}?"
    listed = f"known keys: {', '.join(known)}"
    if name in elsewhere and table:
        return f"[{name}] is a table of its own; {listed}"
    places = [place for place, keys in elsewhere.items() if place and place != table and name in keys]
    return f"{listed}; {name} belongs to {' or '.join(map(heading, places))}" if places else listed


def heading(table: str) -> str:
    """A table's header: C{[timeouts]}, C{[[route]]}."""
    return f"[[{table}]]" if table in LISTED_TABLES else f"[{table}]"


def wrong_type(key: str, value: object, wanted: str) -> str:
    """What to write for a value of the wrong type, to append to the wanted types; or empty.

    @param key: its name without the table. @param wanted: the types in msgspec's words.
    """
    types = wanted.split(" | ")
    if isinstance(value, str):
        if "bool" in types:
            word = flag(value)
            return f", without quotes: {word}" if word else ""
        if "int" in types or "float" in types:
            unit = unit_of(key)
            amount = number(value, key)
            of = f" of {unit}" if unit else ""
            if amount is None or ("int" in types and "float" not in types and "." in amount):
                return of
            return f"{of}{'' if of else ', without quotes'}: {amount}"
    if isinstance(value, bool) or "str" not in types:
        return ""
    if key == "endpoint" and isinstance(value, int):
        return f': "tcp:{value}"'
    if key == "target" and isinstance(value, int):
        return f', a host and a port: "10.0.0.7:{value}"'
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return f', not a list: "{value[0]}"'
    return ""


def name_cure(text: str) -> str:
    """What to write instead of a wrong C{server_name}, to append to the reason; or empty."""
    rest = text.strip()
    if not rest.startswith("~") and re.search(r"[\^$|()+?\\\[{]", rest) and "://" not in rest and rest[:1] != "[":
        return "; a regular expression begins with ~"
    if re.search(r"[,;]|\S\s+\S", rest):
        return "; write a [[route]] for each name"
    host = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", rest).split("/")[0]
    host = re.sub(r":\d*$", "", host) if host.count(":") == 1 or "]" in host else host
    if host.startswith(".") and host.strip("."):
        return f"; write *{host}"
    if host and host != text:
        return f"; write the host alone: {host}; SNI carries no scheme and no port"
    return ""
