"""Writes a configuration as haproxy.cfg, for HAProxy 2.6 and newer. Pure.

HAProxy takes the first rule that matches, so the rules are in the order of our precedence: exact names, the longest
wildcards, expressions, the default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from sniproxy.config.schema import DefaultTable, File, ListenerTable
from sniproxy.migrate.export.haproxybackends import NAME, REFUSED, Backends, milliseconds, place, placeholders, quoted
from sniproxy.migrate.export.precedence import EXACT, chosen, rank
from sniproxy.migrate.export.termination import report_files
from sniproxy.migrate.haproxy.matching import ADDRESSES, EVERY_NAME
from sniproxy.migrate.model import Exported, Notes
from sniproxy.net.endpoints import parse_endpoint
from sniproxy.routing.patterns import is_expression, route_pattern

_HAS_NAME = "{ req.ssl_sni -m found }"
_BETWEEN_WORDS = re.compile(r"[^A-Za-z0-9_.-]+")

_UNWRITTEN = {
    "access_log": "see log and option tcplog",
    "inspect_log": "HAProxy does not read Pulsar's commands",
    "admin": "see stats",
    "fault": "HAProxy makes no faults on purpose",
}
_UNWRITTEN_OF_LISTENERS = {
    "inspect": "HAProxy does not read Pulsar's commands",
    "closed_when_down": "HAProxy's ports stay open while no server is up",
}
_UNWRITTEN_LIMITS = (
    "max_connections_per_client", "max_hellos", "max_hellos_per_client", "max_connecting", "max_connecting_per_route",
    "rate_per_client", "burst_per_client", "max_buffered", "exempt_cidrs",
)  # fmt: skip


def write(file: File) -> Exported:
    """Write a configuration. @param file: it is valid."""
    report = Notes()
    backends = Backends(file.health, file.resolver, report, placeholders(file.listener))
    writer = _Writer(file, backends, report)
    frontends = list(writer.frontends())
    sections = [("global", list(_global(file))), ("defaults", list(_defaults(file, report)))]
    if backends.resolves:
        sections.append(("resolvers system", ["parse-resolv-conf"]))
    sections += frontends
    sections += [(f"backend {name}", lines) for name, lines in backends.sections.items()]
    if backends.refuses:
        sections.append((f"backend {REFUSED}", ["tcp-request content reject"]))
    _report_unwritten(file, report)
    head = "# Exported by sniproxyctl export --to haproxy.\n# Check it with: haproxy -c -f FILE\n"
    text = "".join(f"\n{name}\n" + "".join(f"    {line}\n" for line in lines) for name, lines in sections if lines)
    return Exported(head + text, report)


def _global(file: File) -> Iterator[str]:
    if file.workers > 1:
        yield f"nbthread {file.workers}"
    if file.limits.max_connections is not None:
        yield f"maxconn {file.limits.max_connections * max(1, file.workers)}"
    if file.timeouts.drain:
        yield f"hard-stop-after {milliseconds(file.timeouts.drain)}"


def _defaults(file: File, report: Notes) -> Iterator[str]:
    times = file.timeouts
    yield "mode tcp"
    yield "option redispatch 1"
    yield "retries 3"
    yield f"timeout connect {milliseconds(times.connect)}"
    if times.idle:
        yield f"timeout client {milliseconds(times.idle)}"
        yield f"timeout server {milliseconds(times.idle)}"
    yield f"timeout client-fin {milliseconds(times.half_closed)}"
    yield f"timeout server-fin {milliseconds(times.half_closed)}"
    if file.health.eject:
        report.left_out(place("health.eject"), "see observe layer4 and on-error")


@attrs.frozen
class _Writer:
    file: File
    backends: Backends
    report: Notes

    def frontends(self) -> Iterator[tuple[str, list[str]]]:
        used: set[str] = set()
        for number, table in enumerate(self.file.listener):
            key = f"listener[{number}]"
            bind = self._bind(key, table)
            if bind is None:
                continue
            if table.certificates is not None:
                report_files(table, place(f"{key}.certificates"), "HAProxy", self.report)
            name = stem = _BETWEEN_WORDS.sub("-", table.name or table.endpoint).strip("-.") or "listener"
            while name in used:
                name = f"{stem}-{number + 1}"
            used.add(name)
            rules = self._plaintext(key, name, table) if table.plaintext else self._rules(table)
            yield f"frontend {name}", [bind, *self._headers(key, table), *rules]

    def _bind(self, key: str, table: ListenerTable) -> str | None:
        endpoint = parse_endpoint(table.endpoint)
        options = [" accept-proxy"] if table.proxy_protocol == "required" else []
        options += [" defer-accept"] if table.deferred_accept else []
        options += [f" ssl crt {quoted(table.certificates)} strict-sni"] if table.certificates is not None else []
        if endpoint.port is not None:
            host = endpoint.host or ""
            address = f"[{host}]" if ":" in host else host if host != "0.0.0.0" else ""
            if not endpoint.port:
                text = f"{table.endpoint}: HAProxy takes no port of the system's choice; write a port"
                self.report.left_out(place(f"{key}.endpoint"), text, decides=True)
                return None
            return f"bind {address}:{endpoint.port}" + "".join(options)
        if endpoint.kind == "unix":
            path = table.endpoint.partition(":")[2].partition(":")[0]
            return f"bind unix@{quoted(path)}" + "".join(options)
        text = f"{table.endpoint}: HAProxy has no such endpoint; write a port"
        self.report.left_out(place(f"{key}.endpoint"), text, decides=True)
        return None

    def _headers(self, key: str, table: ListenerTable) -> Iterator[str]:
        networks = " ".join(table.proxy_protocol_from)
        if table.proxy_protocol == "required" and networks:
            yield f"tcp-request connection reject if !{{ src {networks} }}"
        elif table.proxy_protocol == "optional":
            condition = f" if {{ src {networks} }}" if networks else ""
            yield f"tcp-request connection expect-proxy layer4{condition}"
            text = "optional: HAProxy refuses connections without a header from peers that may send one"
            self.report.different(place(f"{key}.proxy_protocol"), text)

    def _plaintext(self, key: str, name: str, table: ListenerTable) -> list[str]:
        return [f"default_backend {self.backends.name(key, name, table, table)}"]

    def _rules(self, table: ListenerTable) -> Iterator[str]:
        routes = self._routes(table)
        named = sorted((one for one in routes if one[1]), key=lambda one: rank(one[1]))
        exact = [one for one in named if rank(one[1]) == EXACT]
        if table.certificates is None:
            nameless = next((one[0] for one in routes if one[1] == ""), None)
            yield from self._hello_rules(nameless or self._table("no_server_name", self.file.no_server_name, table))
            yield from _exact_rules(exact)
            yield f"use_backend {self._refused()} if {{ {NAME} -m reg {quoted(ADDRESSES)} }}"
        else:
            # The handshake is done, and had a server name that a certificate covers: strict-sni.
            yield f"tcp-request content set-var({NAME[4:-1]}) ssl_fc_sni,lower,rtrim(.)"
            yield f"tcp-request content reject if {{ {NAME} -m reg {quoted(ADDRESSES)} }}"
            yield from _exact_rules(exact)
        for backend, pattern in named[len(exact) :]:
            if is_expression(pattern):
                yield f"use_backend {backend} if {{ {NAME} -i -m reg {quoted(f'^(?:{pattern[1:]})$')} }}"
            else:
                yield f"use_backend {backend} if {{ {NAME} -m end {quoted(pattern[1:])} }}"
        yield f"default_backend {self._table('default', self.file.default, table)}"

    def _hello_rules(self, nameless: str) -> Iterator[str]:
        """Rules that read the hello. @param nameless: the backend of hellos without a name."""
        yield f"tcp-request inspect-delay {milliseconds(self.file.timeouts.hello)}"
        yield "tcp-request content reject unless { req.ssl_hello_type 1 }"
        # A name is compared in lower case, and without the dot that may end it.
        yield f"tcp-request content set-var({NAME[4:-1]}) req.ssl_sni,lower,rtrim(.)"
        yield f"tcp-request content reject if {_HAS_NAME} !{{ req.ssl_sni -i -m reg {quoted(EVERY_NAME)} }}"
        yield f"use_backend {nameless} unless {_HAS_NAME}"

    def _routes(self, listener: ListenerTable) -> list[tuple[str, str]]:
        """The backend and pattern of each route of a listener. A route for it alone replaces one for all."""
        routes = self.file.route
        patterns = [route.server_name and route_pattern(route.server_name) for route in routes]
        owners = (route.listener for route in routes)
        numbers = chosen(zip(patterns, owners, strict=True), listener.name or listener.endpoint)
        wanted = [number for number in numbers if patterns[number] or listener.certificates is None]
        return [(self._route(number, patterns[number], listener), patterns[number]) for number in wanted]

    def _route(self, number: int, pattern: str, listener: ListenerTable) -> str:
        wanted = f"expression-{number}" if is_expression(pattern) else pattern or "no-server-name"
        return self.backends.name(f"route[{number}]", wanted, self.file.route[number], listener)

    def _table(self, name: str, table: DefaultTable | None, listener: ListenerTable) -> str:
        if table is None:
            return self._refused()
        return self.backends.name(name, name.replace("_", "-"), table, listener)

    def _refused(self) -> str:
        self.backends.refuses = True
        return REFUSED


def _exact_rules(exact: Sequence[tuple[str, str]]) -> Iterator[str]:
    return (f"use_backend {backend} if {{ {NAME} -m str {quoted(pattern)} }}" for backend, pattern in exact)


def _report_unwritten(file: File, report: Notes) -> None:
    for number, route in enumerate(file.route):
        if ":" in route.server_name and not is_expression(route.server_name):
            text = "HAProxy refuses server names that are IPv6 addresses, as written here"
            report.left_out(place(f"route[{number}].server_name"), text, decides=True)
    for number, _ in enumerate(file.bridge):
        report.left_out(place(f"bridge[{number}]"), "HAProxy has no bridges for Pulsar clients")
    for number, table in enumerate(file.listener):
        for key, cure in _UNWRITTEN_OF_LISTENERS.items():
            if getattr(table, key) is not None:
                report.left_out(place(f"listener[{number}].{key}"), cure)
    for key, cure in _UNWRITTEN.items():
        if getattr(file, key) not in (None, []):
            report.left_out(place(key), cure)
    for key in _UNWRITTEN_LIMITS:
        if getattr(file.limits, key):
            report.left_out(place(f"limits.{key}"), "see stick-table and sc_conn_cur, sc_conn_rate")
