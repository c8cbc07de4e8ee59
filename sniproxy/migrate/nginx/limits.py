"""Timeouts and limits, which nginx has for each server and this proxy has once. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sniproxy.config.schema import LimitsTable, Timeouts
from sniproxy.migrate.model import Notes
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.migrate.nginx.servers import Server
from sniproxy.migrate.nginx.values import seconds

_TIMEOUTS = {"preread_timeout": "hello", "proxy_connect_timeout": "connect", "proxy_timeout": "idle"}
_CLIENT = ("$binary_remote_addr", "$remote_addr")


def timeouts_of(servers: Sequence[Server], report: Notes) -> Timeouts | None:
    """The longest of each timeout. None: no server has one."""
    found: dict[str, float] = {}
    for name, key in _TIMEOUTS.items():
        for server in servers:
            directive = server.get(name)
            if directive is None:
                continue
            value = seconds(directive.first)
            if value is None or (not value and key != "idle"):
                report.left_out(directive.place, f"{directive.first}: no time for {key}")
            elif key in found and found[key] != value:
                found[key] = max(found[key], value)
                report.different(directive.place, f"[timeouts] {key} is for all listeners: {found[key]:g} s")
            else:
                found[key] = value
    return msgspec.structs.replace(Timeouts(), **found) if found else None


def limits_of(servers: Sequence[Server], stream: Sequence[Directive], report: Notes) -> LimitsTable | None:
    """C{limit_conn} by the client's address. None: no server has one."""
    zones = {_zone(one): one.first for one in stream if one.name == "limit_conn_zone"}
    found: int | None = None
    seen: set[int] = set()
    for one in (one for server in servers for one in server.all("limit_conn")):
        if id(one) in seen:
            continue
        seen.add(id(one))
        number = one.arguments[1] if len(one.arguments) == 2 else ""
        if not (number.isascii() and number.isdigit() and len(number) <= 9 and int(number)):
            report.left_out(one.place, "no zone and number")
        elif zones.get(one.first) not in _CLIENT:
            report.left_out(
                one.place, f"a limit by {zones.get(one.first, 'a zone that is not there')}; limits are by client"
            )
        else:
            if found is not None and found != int(number):
                report.different(
                    one.place, "[limits] max_connections_per_client is for all listeners; the largest counts"
                )
            found = max(found or 0, int(number))
    return None if found is None else LimitsTable(max_connections_per_client=found)


def _zone(directive: Directive) -> str:
    return next(
        (word.removeprefix("zone=").partition(":")[0] for word in directive.arguments if word.startswith("zone=")), ""
    )
