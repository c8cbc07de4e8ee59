"""Values, upstreams and variables of an exported nginx.conf. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sniproxy.config.schema import DefaultTable, HealthTable, RouteEntry
from sniproxy.migrate.model import Notes, Place
from sniproxy.routing.templates import Template, parse_template
from sniproxy.util.names import BadName, ip_literal, server_name

Route = RouteEntry | DefaultTable

_PLACE = re.compile(r"\{([^{}]*)\}")
_VARIABLES = {"server_name": "$ssl_preread_server_name", "port": "$server_port"}
_NETWORK = re.compile(r"[0-9a-fA-F.:]+(?:/\d+)?")


def quoted(text: str) -> str:
    """A word of a configuration, in quotes if it needs them."""
    if re.fullmatch(r"[A-Za-z0-9_.:*$/\[\]=-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@attrs.define
class Values:
    """Makes the values of maps.

    @ivar blocks: of the stream context, so far. @ivar name_servers: of C{dns} resolvers. @ivar needs_resolver: nginx
        looks names up for each connection.
    """

    health: HealthTable
    resolvers: Mapping[str, Mapping[str, Any]]
    report: Notes
    blocks: list[str] = attrs.field(factory=list)
    name_servers: list[str] = attrs.field(factory=list)
    needs_resolver: bool = False
    _upstreams: dict[object, str] = attrs.field(factory=dict)
    _variables: dict[str, str] = attrs.field(factory=dict)
    _count: int = 0

    def of(self, route: Route, pattern: str, place: Place) -> str:
        """The value of C{proxy_pass} for a route; empty: its names are refused."""
        value = self._destination(route, pattern, place)
        if route.max_connections is not None:
            self.report.left_out(place, "max_connections: nginx limits clients and zones, not routes")
        if route.proxy_tlvs:
            self.report.left_out(place, "proxy_tlvs: nginx sends version 1, which has no fields")
        return self._for_clients(route.only_from, value, place) if value and route.only_from else value

    def _destination(self, route: Route, pattern: str, place: Place) -> str:
        if route.resolver is not None:
            return self._of_resolver(route.resolver, pattern, place)
        targets = [route.target] if isinstance(route.target, str) else route.target or []
        return self.of_targets(targets, route.balance, pattern, place)

    def of_targets(self, targets: Sequence[str], balance: str | None, pattern: str, place: Place) -> str:
        """The value for targets."""
        templates = [parse_template(text) for text in targets]
        filled = [one for one in templates if one.target is None]
        if filled and len(templates) > 1:
            why = "of targets with placeholders nginx takes one only: the first"
            self.report.left_out(place, why, decides=True)
        if filled:
            return self._variable(filled[0].text, pattern)
        key = (tuple(map(str, templates)), balance)
        if key not in self._upstreams:
            self._upstreams[key] = self._upstream(templates, balance, pattern)
        return self._upstreams[key]

    def _upstream(self, targets: Sequence[Template], balance: str | None, pattern: str) -> str:
        self._count += 1
        stem = re.sub(r"[^a-z0-9]+", "_", pattern.lower()).strip("_")[:40]
        name = f"to_{self._count}_{stem}" if stem else f"to_{self._count}"
        lines = ["    least_conn;"] if balance == "least_connections" else []
        fails = "max_fails=0"
        if self.health.eject:
            fails = f"max_fails={self.health.fall} fail_timeout={time_of(self.health.eject)}"
        spare_only = not any(one.weight for one in targets)
        for one in targets:
            options = f" weight={one.weight}" if one.weight > 1 else ""
            if not one.weight and not spare_only:
                options = " backup"
            lines.append(f"    server {one.target}{options} {fails};")
            if one.target is not None and ip_literal(one.target.host) is None:
                why = f"{one.target}: nginx looks the name up once, and does not start without an answer"
                self.report.different(Place("route", 0, pattern), why)
        self.blocks.append("\n".join([f"upstream {name} {{", *lines, "}"]))
        return name

    def _variable(self, text: str, pattern: str) -> str:
        """A target with placeholders as a text with variables."""
        text = text.strip().removeprefix("pulsar+ssl://").removesuffix("/")
        if not re.search(r":(?:\d+|\{port\})$", text):
            text += ":6651"
        self.needs_resolver = True
        wildcard = ""
        if pattern.startswith("*.") and "{1}" in text:
            expression = quoted(rf"~*^(.+)\.{re.escape(pattern[2:])}\.?$")
            wildcard = self._block("below", ["map $ssl_preread_server_name $NAME {", f"    {expression} $1;", "}"])

        def variable(place: re.Match[str]) -> str:
            return _VARIABLES.get(place[1]) or wildcard or f"${place[1]}"

        return _PLACE.sub(variable, text)

    def _of_resolver(self, names: str | list[str], pattern: str, place: Place) -> str:
        name = names if isinstance(names, str) else names[0]
        table = self.resolvers.get(name, {})
        if not isinstance(names, str) and len(names) > 1:
            self.report.left_out(place, f"resolver: nginx has one; {name} is taken", decides=True)
        if table.get("type") == "refuse":
            return ""
        if table.get("type") == "dns" and "srv" not in table:
            servers = table.get("servers", [])
            for server in [servers] if isinstance(servers, str) else servers:
                if server not in self.name_servers:
                    self.name_servers.append(server)
            return self._variable(str(table.get("target", "{server_name}")), pattern)
        kind = table.get("type", name)
        self.report.left_out(place, f"resolver {kind}: nginx has none; the names are refused", decides=True)
        return ""

    def _for_clients(self, clients: Sequence[str], value: str, place: Place) -> str:
        """A value that only some clients get: by C{geo}, as the address decides."""
        networks = [text for text in clients if _NETWORK.fullmatch(text)]
        for text in clients:
            if text not in networks:
                self.report.left_out(place, f"only_from {text}: nginx reads no such field of the header", decides=True)
        geo = self._block("is_client", ["geo $NAME {", "    default 0;", *(f"    {one} 1;" for one in networks), "}"])
        return self._block("for_client", [f"map {geo} $NAME {{", f"    1 {quoted(value)};", "}"])

    def _block(self, name: str, lines: Sequence[str]) -> str:
        """A variable with a block of these lines, which have $NAME in its place; the same for the same lines."""
        text = "\n".join(lines)
        if text not in self._variables:
            self._count += 1
            self._variables[text] = f"${name}_{self._count}"
            self.blocks.append(text.replace("$NAME", self._variables[text], 1))
        return self._variables[text]


def map_key(pattern: str) -> str | None:
    """A route's pattern as a key of a map with C{hostnames}. None: nginx has no such key."""
    if pattern.startswith("~"):
        return quoted(f"~*^(?:{pattern[1:]})$")
    if pattern in ("default", "hostnames", "include", "volatile"):
        return f"\\{pattern}"
    literal = pattern.strip("[]")
    if ip_literal(literal) is not None:
        return quoted(str(ip_literal(literal)))
    try:
        head = "*." if pattern.startswith("*.") else ""
        return head + server_name(pattern.removeprefix("*."))
    except BadName:
        return None


def time_of(seconds: float) -> str:
    """Seconds as nginx writes them."""
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{int(seconds * 1000)}ms"
