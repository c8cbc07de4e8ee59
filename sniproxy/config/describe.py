"""Describes a configuration, with warnings, for ``twistd sniproxy --check``."""

from __future__ import annotations

import ipaddress
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sniproxy.config.dump import dump_configuration
from sniproxy.config.headerports import endpoint_warnings, header_port_warnings, proxy_protocol_warnings
from sniproxy.config.health import describe_health
from sniproxy.config.limits import describe_limits
from sniproxy.config.model import DEFAULT, NO_SERVER_NAME, Bridge, Configuration, Listener, ResolverTable, Route
from sniproxy.config.warnings import (
    HTTPS_PORTS,
    all_routes,
    lacks_https,
    missing_https_routes,
    named_resolvers,
    only_from_warnings,
    plain_targets,
    policy_warnings,
    templates,
)
from sniproxy.net.veto import LoopGuard
from sniproxy.routing.patterns import is_expression
from sniproxy.routing.policy import Policy
from sniproxy.util.names import ip_literal
from sniproxy.util.text import counted, printable

MIN_IDLE_S = 60.0
"""Seconds. Pulsar sends a PING every 30 s in each direction; one lost PING must not end a tunnel."""

LOW_DESCRIPTORS = 4096
DESCRIPTORS_PER_TUNNEL = 2


def describe(configuration: Configuration, relay: str = "") -> str:
    """Describe a configuration: listeners, routes in order of precedence, resolvers, timeouts, limits, logs.

    @param relay: which relay plain tunnels will get. Empty: what the configuration asks for.
    """
    document = dump_configuration(configuration, sys.maxsize)
    lines = [f"configuration: {configuration.filename}", "", "listeners"]
    lines += map(_listener, configuration.entrances, document["listeners"])
    lines += _routes(configuration, document)
    lines += _resolvers(configuration)
    lines += _policy(configuration, document["policy"])
    per_worker = "per worker: " if configuration.workers > 1 else ""
    lines += [
        "",
        "timeouts (seconds)  " + ", ".join(f"{key} {value:g}" for key, value in document["timeouts"].items()),
        f"limits              {per_worker}{describe_limits(configuration.limits)}",
        f"health              {describe_health(configuration.health)}",
        f"admin               {document['admin'] or '(none)'}",
        f"access log          {document['access_log'] or '(the program log)'}",
    ]
    if lacks_https(configuration):
        ports = " or ".join(map(str, HTTPS_PORTS))
        lines.append(
            f"https               no route to port {ports}: "
            "pulsar-admin, and geo-replication from Pulsar 4.2 on, need one"
        )
    inspect_log = document["inspect_log"]
    if inspect_log is not None:
        lines.append(f"inspect log         {inspect_log['path']}{', with principals' if inspect_log['reveal'] else ''}")
    elif any(one.inspect for one in configuration.entrances):
        lines.append("inspect log         (the program log)")
    if configuration.reload_on_change:
        lines.append("reload              on HUP, and when the file changes")
    if configuration.workers > 1:
        lines.append(f"workers             {configuration.workers}, sharing the listeners' ports")
    elif any(one.endpoint.shared for one in configuration.entrances):
        lines.append("reuse_port          other processes of this user may listen on the same ports")
    lines.append(f"relay               {relay or configuration.relay}")
    return "\n".join(lines)


def report(configuration: Configuration, warned: Sequence[str], is_file: bool, relay: str = "") -> str:
    """The output of C{--check}. @param is_file: whether the configuration is a file. @param relay: as L{describe}."""
    with_warnings = f", with {counted(len(warned), 'warning')}" if warned else ""
    lines = [describe(configuration, relay), *(f"warning: {warning}" for warning in warned)]
    return "\n".join([*lines, f"the configuration is valid{with_warnings}{untried(configuration) if is_file else ''}"])


def untried(configuration: Configuration) -> str:
    """A hint to the command that tries host names and resolvers; empty: there are none."""
    hosts = any(
        ip_literal(target.host) is None for route in all_routes(configuration) for target in plain_targets(route)
    )
    if not hosts and not any(route.resolver.kind != "static" for route in all_routes(configuration)):
        return ""
    return f"; to look names up: sniproxyctl explain --all --connect --config {configuration.filename}"


def _listener(one: Listener | Bridge, shown: Mapping[str, Any]) -> str:
    """A line for a listener or bridge. @param shown: what L{dump_configuration} has of it."""
    if isinstance(one, Bridge):
        mode = f"  bridge -> {one.destination}"
    elif one.plaintext is not None:
        mode = f"  plaintext -> {_targets(one.plaintext, shown)}"
    elif one.termination is not None:
        mode = f"  terminates TLS: certificates {shown['certificates']}, trust {shown['upstream_trust']}"
    else:
        mode = ""
    inspected = "  (inspected)" if shown["inspect"] else ""
    deferred = "  (deferred accept)" if shown.get("deferred_accept") else ""
    headers = f"  (PROXY protocol {shown['proxy_protocol']})" if shown.get("proxy_protocol") else ""
    return f"  {shown['name']:<28} {shown['endpoint']}{mode}{inspected}{deferred}{headers}"


def _routes(configuration: Configuration, document: Mapping[str, Any]) -> list[str]:
    """The routes in order of precedence, and what happens to other names if there is a TLS listener."""
    routes = sorted(zip(configuration.routes, document["routes"], strict=True), key=lambda pair: _precedence(pair[0]))
    for route in (configuration.no_server_name, configuration.default):
        if route is not None:
            routes.append((route, document[route.server_name]))
    rows = [(_title(route), _targets(route, shown)) for route, shown in routes]
    named = any(listener.plaintext is None for listener in configuration.listeners)
    for route, name, alert in (
        (configuration.no_server_name, "(no server name)", "missing_extension or handshake_failure"),
        (configuration.default, "(any other name)", "unrecognized_name"),
    ):
        if named and route is None:
            rows.append((name, f"refused: alert {alert}"))
    if not rows:
        return []
    width = min(max(len(name) for name, _ in rows), 60)
    return [
        "",
        "routes (precedence: exact name, longest wildcard, expression, default)",
        *(f"  {name:<{width}}  {targets}" for name, targets in rows),
    ]


def _resolvers(configuration: Configuration) -> list[str]:
    """The resolvers in use and their options. Strings are not shown: a plugin's option may be a secret."""
    tables = named_resolvers(configuration)
    return ["", "resolvers", *map(_resolver, tables)] if tables else []


def _resolver(table: ResolverTable) -> str:
    shown = [f"{key} = {value:g}" for key, value in (("deadline", table.deadline), ("stale", table.stale))]
    for key, value in table.options.items():
        plain = isinstance(value, bool | int | float)
        shown.append(f"{key} = {str(value).lower()}" if plain else printable(key))
    return f"  {table.title}: {', '.join(shown)}"


def warnings(configuration: Configuration, descriptors: int | None = None) -> Iterator[str]:
    """Warnings about what is valid but probably not intended.

    @param descriptors: the hard limit of open files. None: this process's.
    """
    tls = any(listener.plaintext is None for listener in configuration.listeners)
    if tls and not configuration.routes and configuration.default is None:
        yield "there is no [[route]] and no [default]: every server name is refused"
    yield from configuration.notes
    yield from _shadowed(configuration)
    for route in configuration.routes:
        if ip_literal(route.server_name) is not None:
            yield f"route {route.server_name}: Java clients send no server name for IP addresses"
        elif not route.server_name or is_expression(route.server_name):
            continue
        elif "." not in route.server_name:
            yield (
                f"route {route.server_name}: a name without a dot: Java clients never send it; "
                "use a dotted name, or a [no_server_name] table"
            )
        elif "_" in route.server_name:
            yield f"route {route.server_name}: a name with '_': the Java client refuses such a service URL"
    for listener in configuration.listeners:
        if listener.plaintext is not None and not _is_loopback(listener.endpoint.host):
            yield f"listener {listener.name}: plaintext beyond loopback: others on the network can read and change it"
    for bridge in configuration.bridges:
        if not _is_loopback(bridge.endpoint.host):
            yield f"bridge {bridge.name}: plaintext beyond loopback: others on the network can read and change it"
    admin = configuration.admin
    if admin is not None and admin.token_file is None and not _is_loopback(admin.endpoint.host):
        yield (
            "admin.endpoint: the admin endpoint beyond loopback without token_file: every host that reaches it "
            "can read clients and topics; only a unix socket can drain"
        )
    yield from _loops(configuration)
    yield from policy_warnings(configuration)
    yield from missing_https_routes(configuration)
    yield from proxy_protocol_warnings(configuration)
    yield from only_from_warnings(configuration)
    yield from header_port_warnings(configuration)
    yield from endpoint_warnings(configuration)
    idle = configuration.timeouts.idle
    if 0 < idle < MIN_IDLE_S:
        yield f"timeouts.idle = {idle:g}: Pulsar can be silent for 30 s; write {MIN_IDLE_S:g} or more"
    if descriptors is None:
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = configuration.limits.max_connections
    enough = (
        f"the limit of open files is {descriptors}: enough for about {descriptors // DESCRIPTORS_PER_TUNNEL} tunnels; "
        "raise it (ulimit -n, LimitNOFILE=)"
    )
    if most is not None and most * DESCRIPTORS_PER_TUNNEL > descriptors:
        yield f"limits.max_connections = {most}: {enough}"
    elif descriptors < LOW_DESCRIPTORS:
        yield enough


def _shadowed(configuration: Configuration) -> Iterator[str]:
    """Routes for all listeners that never match, because each listener has a route with the same pattern."""
    names = {listener.name for listener in configuration.listeners}
    own: dict[str, set[str]] = {}
    for route in configuration.routes:
        if route.listener is not None:
            own.setdefault(route.server_name, set()).add(route.listener)
    for route in configuration.routes:
        if route.listener is None and own.get(route.server_name, set()) == names:
            yield f"route {route.server_name}: shadowed: every listener has its own route with this name"


def loop_guard(configuration: Configuration) -> LoopGuard:
    """A guard for the listeners' addresses, as far as the configuration has them."""
    return LoopGuard(
        (listener.endpoint.host, listener.endpoint.port)
        for listener in configuration.listeners
        if listener.endpoint.host is not None
        and listener.endpoint.port
        and ip_literal(listener.endpoint.host) is not None
    )


def _loops(configuration: Configuration) -> Iterator[str]:
    guard = loop_guard(configuration)
    for route in all_routes(configuration):
        for target in plain_targets(route):
            if target.port not in guard.ports:
                continue
            host = {"localhost": "127.0.0.1"}.get(target.host, target.host)
            if ip_literal(host) is not None and guard.denies(host, target.port):
                yield f"route {route.server_name}: target {target} is a listener of this proxy (loop), it is denied"


def _is_loopback(host: str | None) -> bool:
    """Whether a host is a loopback address. None: a unix socket, which is local."""
    return host is None or (ip_literal(host) is not None and ipaddress.ip_address(host).is_loopback)


def _targets(route: Route, shown: Mapping[str, Any]) -> str:
    targets = shown["targets"]
    balance = " (least connections)" if route.least_connections else " (round robin)"
    more = f" (send_proxy {shown['send_proxy']})" if shown["send_proxy"] else ""
    more += " (dialled from the client's address)" if route.from_client else ""
    more += f" (only from {shown['only_from']})" if shown["only_from"] else ""
    if not targets:
        return f"asks {route.resolver.title}{balance if route.least_connections else ''}{more}"
    return ", ".join(targets) + (balance if len(targets) > 1 else "") + more


def _policy(configuration: Configuration, shown: Mapping[str, Any]) -> list[str]:
    """Describe the policy. Empty: it is the default, and no target uses it."""
    formed = any(template.client_formed for route in all_routes(configuration) for template in templates(route))
    if not formed and configuration.policy == Policy():
        return []
    names = shown["allow_names"]
    return [
        "",
        "policy (where a client's name becomes part of a target)",
        "  addresses  " + ", ".join(["public", *shown["allow_cidrs"]]),
        "  ports      " + ", ".join(map(str, shown["allow_ports"])),
        "  names      " + ("all that the routes allow" if names is None else ", ".join(names)),
    ]


def _title(route: Route) -> str:
    return {DEFAULT: "(any other name)", NO_SERVER_NAME: "(no server name)"}.get(route.server_name) or route.title


def _precedence(route: Route) -> tuple[int, int, str, bool]:
    if is_expression(route.server_name):  # in file order
        return (2, 0, "", False)
    wildcard = route.server_name.startswith("*.")
    labels = route.server_name.count(".") if wildcard else 0
    return (wildcard, -labels, route.server_name, route.listener is None)
