"""Writes a configuration as nginx.conf, for the stream module. Pure.

A map with C{hostnames} has our precedence: exact name, longest wildcard, expressions in order, default. An empty value
closes the connection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sniproxy.config.schema import DefaultTable, File, ListenerTable, RouteEntry, Timeouts
from sniproxy.migrate.export.nginxvalues import Route, Values, map_key, quoted, time_of
from sniproxy.migrate.export.precedence import chosen
from sniproxy.migrate.export.termination import folder_of, report_files
from sniproxy.migrate.model import Exported, Notes, Place
from sniproxy.net.endpoints import parse_endpoint
from sniproxy.util.names import host_port, ip_literal

_HEAD = """\
# Exported by sniproxyctl export --to nginx. Check it with: nginx -t -c FILE
include /etc/nginx/modules-enabled/*.conf;
worker_processes {workers};
events {{
    worker_connections 8192;
}}

stream {{
"""
_FOREVER_S = 10 * 365 * 86400
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IP_LITERALS = (f'"~^(?:{_OCTET}\\\\.){{3}}{_OCTET}$" "";', '"~:" "";')
"""Names that are IP addresses get no default and match no expression here."""


def write(file: File) -> Exported:
    """The nginx.conf of a configuration, and what it lacks."""
    return _Writer(file).exported()


class _Writer:
    def __init__(self, file: File) -> None:
        self._file = file
        self._report = Notes()
        self._values = Values(file.health, file.resolver, self._report)
        self._maps: list[str] = []
        self._servers: list[str] = []

    def exported(self) -> Exported:
        for number, listener in enumerate(self._file.listener, 1):
            self._listener(number, listener)
        self._rest()
        names = len(self._file.route)
        lines = [f"map_hash_max_size {1 << max(11, (4 * names).bit_length())};", "map_hash_bucket_size 512;"]
        if any(route.only_from for route in self._routes()):
            lines.append("variables_hash_max_size 8192;")
        if self._file.limits.max_connections_per_client is not None:
            lines.append("limit_conn_zone $binary_remote_addr zone=clients:10m;")
            lines.append(f"limit_conn clients {self._file.limits.max_connections_per_client};")
        lines += [*_timeouts(self._file.timeouts), "proxy_half_close on;", *self._resolver()]
        blocks = ["\n".join(lines), *self._values.blocks, *self._maps, *self._servers]
        text = _HEAD.format(workers=self._file.workers)
        text += "\n\n".join(_indented(block) for block in blocks) + "\n}\n"
        return Exported(text, self._report)

    def _routes(self) -> list[Route]:
        single = [one for one in (self._file.default, self._file.no_server_name) if one is not None]
        return [*self._file.route, *single]

    def _resolver(self) -> list[str]:
        if self._values.name_servers:
            return [f"resolver {' '.join(map(quoted, self._values.name_servers))};"]
        if not self._values.needs_resolver:
            return []
        why = "nginx looks names that clients form up at name servers of its own: write resolver ADDRESS; in the file"
        self._report.left_out(Place("route", 0, "target"), why, decides=True)
        return ["# resolver 192.0.2.53;"]

    def _listener(self, number: int, listener: ListenerTable) -> None:
        place = Place(f"listener[{number - 1}]", 0, "endpoint")
        listen = self._listen(listener, place)
        if listen is None:
            return
        ends_tls = listener.certificates is not None
        if ends_tls and (key := folder_of(listener)) is not None:
            why = f"{key}: nginx takes a file; write the name of one, with the ending .pem"
            self._report.left_out(place, why, decides=True)
            return
        lines = [f"listen {listen};", *self._trusted(listener, place)]
        if listener.plaintext:
            value = self._values.of(_as_default(listener), listener.name or "", place)
            routes: Sequence[Route] = [_as_default(listener)]
        else:
            value = f"$target_{number}"
            routes = self._map(number, listener)
            lines += self._tls(listener, place) if ends_tls else ["ssl_preread on;"]
        lines += self._sending(routes, place, ends_tls)
        lines.append(f"proxy_pass {value};" if value else 'return "";')
        self._servers.append("\n".join(["server {", *(f"    {line}" for line in lines), "}"]))

    def _listen(self, listener: ListenerTable, place: Place) -> str | None:
        endpoint = parse_endpoint(listener.endpoint)
        if endpoint.kind == "unix":
            path = re.split(r"(?<!\\):", endpoint.text)[1].removeprefix("address=")
            unescaped = re.sub(r"\\(.)", r"\1", path)
            listen = quoted(f"unix:{unescaped}")
        elif endpoint.port and endpoint.host:
            listen = host_port(endpoint.host, endpoint.port) + (" ipv6only=off" if endpoint.host == "::" else "")
        else:
            self._report.left_out(place, f"{listener.endpoint}: nginx needs an address and a port", decides=True)
            return None
        if self._file.reuse_port or self._file.workers > 1:
            listen += " reuseport" if endpoint.kind != "unix" else ""
        if listener.proxy_protocol == "optional":
            why = "proxy_protocol optional: nginx requires the header, or takes none: it is required"
            self._report.different(place, why, decides=True)
        listen += " ssl" if listener.certificates is not None else ""
        return listen + (" proxy_protocol" if listener.proxy_protocol else "")

    def _tls(self, listener: ListenerTable, place: Place) -> list[str]:
        """TLS with the client, and with the target, which is verified for the client's server name."""
        report_files(listener, place, "nginx", self._report)
        why = "certificates: nginx shows the only one to all names, so clients refuse it instead of nginx them"
        self._report.different(place, why)
        shown, trust = quoted(listener.certificates or ""), quoted(listener.upstream_trust or "")
        lines = [f"ssl_certificate {shown};", f"ssl_certificate_key {shown};"]
        lines += ["proxy_ssl on;", "proxy_ssl_verify on;", "proxy_ssl_verify_depth 100;"]
        lines += [f"proxy_ssl_trusted_certificate {trust};", "proxy_ssl_protocols TLSv1.2 TLSv1.3;"]
        lines += ["proxy_ssl_server_name on;", "proxy_ssl_name $ssl_server_name;", "proxy_ssl_session_reuse off;"]
        if listener.upstream_certificate is not None:
            own = quoted(listener.upstream_certificate)
            lines += [f"proxy_ssl_certificate {own};", f"proxy_ssl_certificate_key {own};"]
        return lines

    def _trusted(self, listener: ListenerTable, place: Place) -> list[str]:
        if listener.inspect is not None:
            self._report.left_out(place, "inspect: nginx reads no Pulsar")
        if listener.closed_when_down is not None:
            self._report.left_out(place, "closed_when_down: nginx listens while it runs")
        if not listener.proxy_protocol:
            return []
        trusted = listener.proxy_protocol_from or ["127.0.0.0/8", "::1", "unix:"]
        self._report.different(place, "nginx takes a header of other peers, too, and ignores the client in it")
        return [f"set_real_ip_from {network};" for network in trusted]

    def _sending(self, routes: Sequence[Route], place: Place, ends_tls: bool) -> list[str]:
        """What nginx has for a listener and this proxy for each route."""
        lines = []
        leading = [route for route in routes if not self._refuses(route)]
        versions = {route.send_proxy for route in leading}
        if versions - {None}:
            if ends_tls:
                why = "send_proxy: the header goes inside TLS here; nginx sends it before TLS, so it is left out"
                self._report.left_out(place, why, decides=True)
            elif len(versions) > 1 and None in versions:
                why = "send_proxy: nginx sends the header to all targets of a listener, or to none: to none"
                self._report.left_out(place, why, decides=True)
            else:
                lines.append("proxy_protocol on;")
            if "v2" in versions:
                self._report.different(place, 'send_proxy = "v2": nginx sends version 1 (2 since 1.31.4)')
        sources = {route.target_source for route in leading}
        if "client" in sources:
            if len(sources) > 1:
                why = "target_source: nginx has it for all targets of a listener, or for none: for none"
                self._report.left_out(place, why)
            else:
                lines.append("proxy_bind $remote_addr transparent;")
        return lines

    def _refuses(self, route: Route) -> bool:
        name = route.resolver if isinstance(route.resolver, str) else None
        return name is not None and self._file.resolver.get(name, {}).get("type") == "refuse"

    def _map(self, number: int, table: ListenerTable) -> list[Route]:
        """Add the map of a listener. @return: its routes."""
        listener, ends_tls = table.name or table.endpoint, table.certificates is not None
        routes = self._of_listener(listener)
        if ends_tls:  # names that are IP addresses are refused
            routes = [one for one in routes if ip_literal(one[1].server_name) is None]
        lines: list[str] = []
        expressions: list[str] = []
        used: list[Route] = []
        for index, route in routes:
            place = Place(f"route[{index}]", 0, route.server_name)
            key = map_key(route.server_name)
            if key is None:
                self._report.left_out(place, "nginx has no such key", decides=True)
                continue
            entry = f"{key} {quoted(self._values.of(route, route.server_name, place))};"
            (expressions if key.startswith(('"~', "~")) else lines).append(entry)
            used.append(route)
        default = self._file.default
        if default is not None:
            used.append(default)
        if expressions or default is not None:
            lines += _IP_LITERALS
        lines += expressions
        nameless = '""' if ends_tls else self._nameless(number, listener, used)
        lines.append(f'"" {nameless};')
        if default is not None:
            lines.append(f"default {quoted(self._values.of(default, 'default', Place('default')))};")
        head = f"map ${'ssl' if ends_tls else 'ssl_preread'}_server_name $target_{number} {{"
        self._maps.append("\n".join([head, "    hostnames;", *(f"    {line}" for line in lines), "}"]))
        return used

    def _of_listener(self, listener: str) -> list[tuple[int, RouteEntry]]:
        """The routes with a name, each pattern once: the listener's own before one for all."""
        routes = self._file.route
        numbers = chosen([(_key(route.server_name), route.listener) for route in routes], listener)
        return [(number, routes[number]) for number in numbers if routes[number].server_name]

    def _nameless(self, number: int, listener: str, used: list[Route]) -> str:
        """The value for hellos without a name. Other bytes than TLS have no protocol, and are refused."""
        own = [one for one in self._file.route if not one.server_name and one.listener in (None, listener)]
        route: Route | None = own[0] if own else self._file.no_server_name
        if route is None:
            return '""'
        used.append(route)
        value = self._values.of(route, "no_server_name", Place("no_server_name"))
        name = f"$nameless_{number}"
        lines = [f"map $ssl_preread_protocol {name} {{", '    "" "";', f"    default {quoted(value)};", "}"]
        self._maps.append("\n".join(lines))
        return name

    def _rest(self) -> None:
        """Notes of tables that nginx does not have."""
        file = self._file
        for index, bridge in enumerate(file.bridge):
            place = Place(f"bridge[{index}]", 0, bridge.endpoint)
            self._report.left_out(place, "bridges are not written")
        for key, given, why in (
            ("admin", file.admin is not None, "nginx has no admin endpoint for streams"),
            ("access_log", file.access_log is not None, "write log_format and access_log"),
            ("inspect_log", file.inspect_log is not None, "nginx reads no Pulsar"),
            ("fault", bool(file.fault), "nginx makes no faults on purpose"),
            ("reload", file.reload.on_change, "run nginx -s reload"),
            ("health.check", file.health.check is not None, "nginx has no health checks of its own for streams"),
            ("limits.rate_per_client", file.limits.rate_per_client is not None, "nginx limits no rate of connections"),
            ("limits.max_hellos", file.limits.max_hellos is not None, "nginx has no such limit"),
            ("limits.max_connections", file.limits.max_connections is not None, "see worker_connections"),
            (
                "timeouts.half_closed",
                file.timeouts.half_closed != Timeouts().half_closed,
                "proxy_timeout is for it, too",
            ),
        ):
            if given:
                self._report.left_out(Place(key), why)
        if self._values.needs_resolver:
            why = "nginx connects to any address and port that a name forms; write firewall rules"
            self._report.left_out(Place("policy"), why, decides=True)


def _as_default(listener: ListenerTable) -> DefaultTable:
    return DefaultTable(
        target=listener.target,
        resolver=listener.resolver,
        only_from=listener.only_from,
        send_proxy=listener.send_proxy,
        proxy_tlvs=listener.proxy_tlvs,
        target_source=listener.target_source,
    )


def _timeouts(given: Timeouts) -> list[str]:
    return [
        f"preread_timeout {time_of(given.hello)};",
        f"proxy_connect_timeout {time_of(given.connect)};",
        f"proxy_timeout {time_of(given.idle or _FOREVER_S)};",
    ]


def _indented(block: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in block.splitlines())


def _key(name: str) -> str:
    """The same text for the same pattern."""
    return name if name.startswith("~") else name.lower().removesuffix(".")
