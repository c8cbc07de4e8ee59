"""The backends of a written haproxy.cfg: one for each destination of routes. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sniproxy.config.schema import DefaultTable, HealthTable, ListenerTable, RouteEntry
from sniproxy.migrate.model import Notes, Place
from sniproxy.routing.targets import parse_target
from sniproxy.routing.templates import PORT, PROXY_PORT, Template, parse_template
from sniproxy.util.names import bracketed, host_port, ip_literal

NAME = "var(sess.name)"
"""The server name of a connection, in lower case."""

REFUSED = "refused"
FILE = "sniproxy.toml"
MAX_WEIGHT = 256
Table = RouteEntry | DefaultTable | ListenerTable

_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_REFUSE = "refuse"


def placeholders(listeners: Sequence[ListenerTable]) -> frozenset[str]:
    """The placeholder of the port that HAProxy gives a server without one; empty: listeners differ."""
    found = {PORT if table.proxy_protocol is None else PROXY_PORT for table in listeners}
    return frozenset(found) if len(found) == 1 else frozenset()


def place(key: str) -> Place:
    """Where a key of our configuration is."""
    return Place(FILE, 0, key)


def quoted(text: str) -> str:
    """A text as one word of haproxy.cfg."""
    if re.fullmatch(r"[A-Za-z0-9_.:/@%,=+*~^-]+", text):
        return text
    if "'" not in text:
        return f"'{text}'"
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


@attrs.define
class Backends:
    """Makes the backends.

    @ivar ports: the placeholder of the port that a server without one has; empty: listeners differ.
    @ivar sections: the lines of each, by name. @ivar resolves: a server has a host name.
    """

    health: HealthTable
    resolvers: Mapping[str, Mapping[str, Any]]
    report: Notes
    ports: frozenset[str] = frozenset((PORT,))
    sections: dict[str, list[str]] = attrs.field(factory=dict)
    names: dict[tuple[str, ...], str] = attrs.field(factory=dict)
    resolves: bool = False
    refuses: bool = False

    def name(self, key: str, wanted: str, table: Table, listener: ListenerTable | None = None) -> str:
        """The backend of a route: a new one, or that of a route with the same destination.

        @param key: of the route. @param wanted: a text for the backend's name.
        @param listener: where the connections come in: servers get TLS if it terminates TLS. None: it does not.
        """
        lines = self.lines(key, table, listener)
        if lines is None:
            self.refuses = True
            return REFUSED
        limited = isinstance(table, RouteEntry | DefaultTable) and table.max_connections is not None
        identity = (*lines, key) if limited else tuple(lines)
        if identity not in self.names:
            name = stem = _NAME.sub("-", wanted.replace("*", "any")).strip("-.") or "backend"
            while name in self.sections or name == REFUSED:
                name = f"{stem}-{len(self.sections) + 1}"
            self.names[identity] = name
            self.sections[name] = list(lines)
        return self.names[identity]

    def lines(self, key: str, table: Table, listener: ListenerTable | None = None) -> list[str] | None:
        """The lines of a backend. None: connections are refused."""
        if table.resolver is not None:
            self._report_resolver(key, table.resolver)
            return None
        texts = [table.target] if isinstance(table.target, str) else list(table.target or ())
        templates = [parse_template(text) for text in texts]
        for template in templates:
            if not template.places <= self.ports:
                text = f"{template.text}: HAProxy cannot form this target; these names are refused"
                self.report.left_out(place(f"{key}.target"), text, decides=True)
                return None
        return [*self._route_lines(key, table), *self._servers(key, table, templates, listener)]

    def _report_resolver(self, key: str, resolver: str | Sequence[str]) -> None:
        names = [resolver] if isinstance(resolver, str) else list(resolver)
        if any(self.resolvers.get(name, {}).get("type") != _REFUSE for name in names):
            text = f"{', '.join(names)}: HAProxy has no such resolver; these names are refused"
            self.report.left_out(place(f"{key}.resolver"), text, decides=True)

    def _route_lines(self, key: str, table: Table) -> list[str]:
        found = []
        only_from = getattr(table, "only_from", None)
        if only_from is not None:
            networks = [text for text in only_from if _is_network(text)]
            for text in only_from:
                if text not in networks:
                    why = f"{text}: HAProxy 2.6 does not know the ids of private endpoints; their clients are refused"
                    self.report.left_out(place(f"{key}.only_from"), why, decides=True)
            condition = f"if !{{ src {' '.join(networks)} }}" if networks else ""
            found.append(f"tcp-request content reject {condition}".rstrip())
        most = getattr(table, "max_connections", None)
        if most is not None:
            found.append(f"tcp-request content reject if {{ be_conn gt {most} }}")
        if getattr(table, "balance", None) == "least_connections":
            found.append("balance leastconn")
        if table.target_source is not None:
            found.append("source 0.0.0.0 usesrc clientip")
        return found

    def _servers(
        self, key: str, table: Table, templates: Sequence[Template], listener: ListenerTable | None
    ) -> list[str]:
        most = max(template.weight for template in templates)
        spares = any(template.weight == 0 for template in templates) and most > 0
        if spares and self.health.check is None:
            text = "spares: HAProxy uses them when checks find the others down, so its servers are checked"
            self.report.different(place(f"{key}.target"), text)
        for name in table.proxy_tlvs or ():
            text = f"{name}: HAProxy has this field only of TLS that it ends itself"
            self.report.left_out(place(f"{key}.proxy_tlvs"), text)
        more = self._options(key, table, spares, listener)
        found = []
        for number, template in enumerate(templates, 1):
            weight = template.weight if most <= MAX_WEIGHT else -(-template.weight * MAX_WEIGHT // most)
            if weight != template.weight:
                text = f"{template}: HAProxy has weights up to {MAX_WEIGHT}; they are scaled"
                self.report.different(place(f"{key}.target"), text)
            own = [] if weight == 1 or not most else ["backup"] if not weight else [f"weight {weight}"]
            found.append(" ".join([f"server s{number} {self._address(template, own)}", *own, *more]))
        return found

    def _address(self, template: Template, options: list[str]) -> str:
        """The address of a server; without a port it has that of the listener."""
        if template.target is not None:
            host, port = template.target.host, template.target.port
        else:
            # The only placeholder is that of the port.
            host, port = parse_target(re.sub(r"\{.*\}", "1", template.text)).host, 0
        if ip_literal(host) is None:
            self.resolves = True
            options += ["resolvers", "system", "init-addr", "last,libc,none"]
        return host_port(host, port) if port else bracketed(host)

    def _options(self, key: str, table: Table, spares: bool, listener: ListenerTable | None) -> list[str]:
        found = []
        health = self.health
        checked = health.check is not None or spares
        tls = [] if listener is None or listener.certificates is None else _tls(listener)
        if checked:
            found.append(f"check inter {milliseconds(health.interval)} rise {health.rise} fall {health.fall}")
        if health.check == "tls" and not tls:
            found.append("check-ssl verify none")
        elif checked and tls and health.check != "tls":
            found.append("no-check-ssl")
        if table.send_proxy is not None and tls:
            text = "the header goes inside TLS here; HAProxy sends it before TLS, so it is left out"
            self.report.left_out(place(f"{key}.send_proxy"), text, decides=True)
        elif table.send_proxy is not None:
            found.append("send-proxy-v2" if table.send_proxy == "v2" else "send-proxy")
            if checked:
                found.append("check-send-proxy")
        return [*found, *tls]


def _tls(listener: ListenerTable) -> list[str]:
    """The options of a server that is spoken to by TLS, and verified for the name in the variable of the frontend."""
    trust = ["verify required", f"ca-file {quoted(listener.upstream_trust or '')}"]
    own = listener.upstream_certificate
    return ["ssl", *trust, f"sni {NAME}", *([] if own is None else [f"crt {quoted(own)}"])]


def milliseconds(seconds: float) -> str:
    """A time for HAProxy."""
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{max(1, round(seconds * 1000))}ms"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
