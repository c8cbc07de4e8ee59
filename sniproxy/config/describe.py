"""What a configuration means, and what will surprise its operator: ``twistd sniproxy --check``."""

from __future__ import annotations

import ipaddress
import resource
from collections.abc import Iterator, Sequence

from sniproxy.config.health import describe_health
from sniproxy.config.limits import describe_limits
from sniproxy.config.model import DEFAULT, NO_SERVER_NAME, Configuration, ResolverTable, Route
from sniproxy.config.warnings import describe_policy, goals, plain_targets, policy_warnings, templates
from sniproxy.net.veto import LoopGuard
from sniproxy.routing.patterns import is_expression
from sniproxy.util.names import ip_literal
from sniproxy.util.text import counted, printable

MIN_IDLE_S = 60.0
"""Seconds. Pulsar's two sides PING each other every 30 s; one lost PING must not end a tunnel."""

LOW_DESCRIPTORS = 4096
DESCRIPTORS_PER_TUNNEL = 2


def describe(configuration: Configuration) -> str:
    """The configuration as a short table: listeners, routes in order of precedence, timeouts, access log."""
    lines = [f"configuration: {configuration.filename}", "", "listeners"]
    for listener in configuration.listeners:
        goal = "" if listener.plaintext is None else f"  plaintext -> {_goal(listener.plaintext)}"
        if listener.termination is not None:
            goal = f"  ends TLS: shows {listener.termination.certificates}, trusts {listener.termination.trust}"
        inspected = "  (inspected)" if listener.inspect else ""
        deferred = "  (deferred accept)" if listener.deferred_accept else ""
        lines.append(f"  {listener.name:<28} {listener.endpoint.text}{goal}{inspected}{deferred}")
    for bridge in configuration.bridges:
        inspected = "  (inspected)" if bridge.inspect else ""
        lines.append(f"  {bridge.name:<28} {bridge.endpoint.text}  bridge -> {bridge.way}{inspected}")
    lines += _routes(configuration)
    lines += _resolvers(configuration)
    lines += describe_policy(configuration)
    times = configuration.timeouts
    of_each = f"of each of {configuration.workers} workers: " if configuration.workers > 1 else ""
    lines += [
        "",
        f"timeouts (seconds)  hello {times.hello:g}, connect {times.connect:g}, idle {times.idle:g}, "
        f"half_closed {times.half_closed:g}, drain {times.drain:g}",
        f"limits              {of_each}{describe_limits(configuration.limits)}",
        f"health              {describe_health(configuration.health)}",
        f"admin               {configuration.admin.endpoint.text if configuration.admin else '(none)'}",
        f"access log          {configuration.access_log or '(the program log)'}",
    ]
    log = configuration.inspect_log
    if log is not None:
        lines.append(f"inspect log         {log.path}{', with principals' if log.reveal else ''}")
    elif any(one.inspect for one in configuration.entrances):
        lines.append("inspect log         (the program log)")
    if configuration.reload_on_change:
        lines.append("reload              when the file changes, and at HUP")
    if configuration.workers > 1:
        lines.append(f"workers             {configuration.workers}, which share the ports of the listeners")
    elif any(one.endpoint.shared for one in configuration.entrances):
        lines.append("reuse_port          other processes of this user may listen on the same ports")
    if configuration.kernel_relay:
        lines.append("relay               kernel, where it can")
    return "\n".join(lines)


def report(configuration: Configuration, warned: Sequence[str], is_file: bool) -> str:
    """All that C{--check} prints. @param is_file: the configuration is a file, and other commands can read it."""
    with_warnings = f", with {counted(len(warned), 'warning')}" if warned else ""
    lines = [describe(configuration), *(f"warning: {warning}" for warning in warned)]
    return "\n".join([*lines, f"the configuration is good{with_warnings}{untried(configuration) if is_file else ''}"])


def untried(configuration: Configuration) -> str:
    """What the end of C{--check} says of host names and resolvers: which command tries them; or nothing."""
    hosts = any(ip_literal(target.host) is None for route in goals(configuration) for target in plain_targets(route))
    if not hosts and not any(route.resolver.kind != "static" for route in goals(configuration)):
        return ""
    return f"; names are not looked up here: sniproxyctl explain --all --connect --config {configuration.filename}"


def _routes(configuration: Configuration) -> list[str]:
    """In order of precedence. Where nobody sends a server name, nothing is said of names that nobody has."""
    defaults = [route for route in (configuration.no_server_name, configuration.default) if route is not None]
    rows = [(_title(route), _goal(route)) for route in [*sorted(configuration.routes, key=_precedence), *defaults]]
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
        "routes (an exact name beats the longest wildcard beats an expression beats the default)",
        *(f"  {name:<{width}}  {goal}" for name, goal in rows),
    ]


def _resolvers(configuration: Configuration) -> list[str]:
    """Those that are asked, with what their tables have. Texts are named and not shown: a plugin's may be secret."""
    asked = [table for route in goals(configuration) for table in route.resolver.inner or (route.resolver,)]
    tables = {table.key: table for table in asked if table.name is not None}
    return ["", "resolvers", *map(_resolver, tables.values())] if tables else []


def _resolver(table: ResolverTable) -> str:
    shown = [f"{key} = {value:g}" for key, value in (("deadline", table.deadline), ("stale", table.stale))]
    for key, value in table.options.items():
        plain = isinstance(value, bool | int | float)
        shown.append(f"{key} = {str(value).lower()}" if plain else printable(key))
    return f"  {table.title}: {', '.join(shown)}"


def warnings(configuration: Configuration, descriptors: int | None = None) -> Iterator[str]:
    """What is allowed but probably not meant.

    @param descriptors: the hard limit of open files; unless given, this process's.
    """
    tls = any(listener.plaintext is None for listener in configuration.listeners)
    if tls and not configuration.routes and configuration.default is None:
        yield "there is no route and no [default]: every server name is refused"
    yield from configuration.notes
    yield from _shadowed(configuration)
    for route in configuration.routes:
        if ip_literal(route.server_name) is not None:
            yield f"route {route.server_name}: Java clients send no server name for IP addresses"
        elif is_expression(route.server_name):
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
            yield f"listener {listener.name}: plaintext beyond loopback: anybody on the way can read and change it"
    for bridge in configuration.bridges:
        if not _is_loopback(bridge.endpoint.host):
            yield f"bridge {bridge.name}: plaintext beyond loopback: anybody on the way can read and change it"
    admin = configuration.admin
    if admin is not None and admin.token_file is None and not _is_loopback(admin.endpoint.host):
        yield (
            "admin.endpoint: the admin endpoint beyond loopback without token_file: every host that reaches it "
            "can read clients and topics; only a unix socket can drain"
        )
    yield from _loops(configuration)
    yield from policy_warnings(configuration)
    idle = configuration.timeouts.idle
    if 0 < idle < MIN_IDLE_S:
        yield f"timeouts.idle = {idle:g}: Pulsar is silent for up to 30 s; below {MIN_IDLE_S:g} s live tunnels are cut"
    if descriptors is None:
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = configuration.limits.max_connections
    if most is not None and most * DESCRIPTORS_PER_TUNNEL > descriptors:
        yield (
            f"limits.max_connections = {most}: the limit of open files is {descriptors}: enough for about "
            f"{descriptors // DESCRIPTORS_PER_TUNNEL} tunnels; raise it (ulimit -n, LimitNOFILE=)"
        )
    elif descriptors < LOW_DESCRIPTORS:
        yield (
            f"the limit of open files is {descriptors}: enough for about {descriptors // DESCRIPTORS_PER_TUNNEL} "
            "tunnels; raise it (ulimit -n, LimitNOFILE=)"
        )


def _shadowed(configuration: Configuration) -> Iterator[str]:
    """A route for all listeners is never asked when each listener has its own with the same pattern."""
    names = {listener.name for listener in configuration.listeners}
    own: dict[str, set[str]] = {}
    for route in configuration.routes:
        if route.listener is not None:
            own.setdefault(route.server_name, set()).add(route.listener)
    for route in configuration.routes:
        if route.listener is None and own.get(route.server_name, set()) == names:
            yield f"route {route.server_name}: shadowed: each listener has a route of its own with this name"


def loop_guard(configuration: Configuration) -> LoopGuard:
    """Knows the addresses that the listeners will have, as far as they are written."""
    return LoopGuard(
        (listener.endpoint.host, listener.endpoint.port)
        for listener in configuration.listeners
        if listener.endpoint.host is not None
        and listener.endpoint.port
        and ip_literal(listener.endpoint.host) is not None
    )


def _loops(configuration: Configuration) -> Iterator[str]:
    guard = loop_guard(configuration)
    for route in goals(configuration):
        for target in plain_targets(route):
            if target.port not in guard.ports:
                continue
            host = {"localhost": "127.0.0.1"}.get(target.host, target.host)
            if ip_literal(host) is not None and guard.denies(host, target.port):
                yield f"route {route.server_name}: target {target} is a listener of this proxy (loop), it is denied"


def _is_loopback(host: str | None) -> bool:
    """A unix socket's path is no host, and is on this machine."""
    return host is None or (ip_literal(host) is not None and ipaddress.ip_address(host).is_loopback)


def _goal(route: Route) -> str:
    targets = [str(template) for template in templates(route)]
    if not targets:
        return f"asks {route.resolver.title}{_dealt(route) if route.least else ''}"
    return ", ".join(targets) + (_dealt(route) if len(targets) > 1 else "")


def _dealt(route: Route) -> str:
    return " (the one with the fewest connections first)" if route.least else " (in turn)"


def _title(route: Route) -> str:
    name = {DEFAULT: "(any other name)", NO_SERVER_NAME: "(no server name)"}.get(route.server_name, route.server_name)
    return name if route.listener is None else f"{name} (on {route.listener})"


def _precedence(route: Route) -> tuple[int, int, str, bool]:
    if is_expression(route.server_name):  # these stay in their order
        return (2, 0, "", False)
    wildcard = route.server_name.startswith("*.")
    labels = route.server_name.count(".") if wildcard else 0
    return (wildcard, -labels, route.server_name, route.listener is None)
