"""The routes and targets of a configuration, and warnings about the destination policy. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

import attrs

from sniproxy.config.model import DEFAULT, Configuration, ResolverTable, Route
from sniproxy.interfaces import Request, Target
from sniproxy.routing.patterns import MAX_GROUPS, capture_count, is_expression
from sniproxy.routing.policy import Network, Policy
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import PORT, SERVER_NAME, Template, parse_template
from sniproxy.util.names import ip_literal

_WIDE = {4: 8, 6: 7}
"""Prefix lengths of the largest private networks (10.0.0.0/8, fc00::/7)."""

_LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")


def all_routes(configuration: Configuration) -> list[Route]:
    """All routes: C{[[route]]}, C{[default]}, C{[no_server_name]}, and those of plaintext listeners."""
    return [route for _, route in keyed_routes(configuration)]


def keyed_routes(configuration: Configuration) -> Iterator[tuple[str, Route]]:
    """L{all_routes}, each with its key in the configuration."""
    for number, route in enumerate(configuration.routes):
        yield f"route[{number}]", route
    for one in (configuration.default, configuration.no_server_name):
        if one is not None:
            yield one.server_name, one
    for listener in configuration.listeners:
        if listener.plaintext is not None:
            yield listener.key, listener.plaintext


def named_resolvers(configuration: Configuration) -> list[ResolverTable]:
    """The C{[resolver.NAME]} tables that routes use, each once."""
    used = (table for route in all_routes(configuration) for table in route.resolver.members)
    return list({table.key: table for table in used if table.name is not None}.values())


def templates(route: Route) -> Sequence[Template]:
    """The targets in the configuration. Empty: they come from a plugin, or are invalid."""
    if route.resolver.templates:
        return route.resolver.templates
    value = route.resolver.options.get("target") if route.resolver.kind == "static" else None
    texts = [value] if isinstance(value, str) else value
    try:
        return [parse_template(text) for text in texts or ()]
    except (BadTarget, TypeError):  # reported when the resolver is made
        return []


def plain_targets(route: Route) -> list[Target]:
    """The targets without placeholders."""
    return [template.target for template in templates(route) if template.target is not None]


def plaintext_targets(configuration: Configuration) -> list[Target]:
    """The targets of plaintext listeners, without placeholders."""
    routes = (listener.plaintext for listener in configuration.listeners)
    return [target for route in routes if route is not None for target in plain_targets(route)]


def check_header(configuration: Configuration, route: Route) -> bytes:
    """What a TLS check sends to a route's targets before its hello: a PROXY protocol header, or nothing.

    Where the proxy terminates TLS, the header is for the connection inside TLS, and a check sends none.
    """
    if route.send_proxy is None:
        return b""
    passed = any(
        listener.plaintext is None and listener.termination is None and route.listener in (None, listener.name)
        for listener in configuration.listeners
    )
    return route.send_proxy.own() if passed else b""


def only_from_warnings(configuration: Configuration) -> Iterator[str]:
    """Warn of routes for all clients to targets that other routes have for some clients only."""
    limited = {
        (target.host, target.port): route.server_name
        for route in all_routes(configuration)
        if route.only_from is not None
        for target in plain_targets(route)
    }
    for route in all_routes(configuration) if limited else ():
        both = [one for one in plain_targets(route) if (one.host, one.port) in limited]
        if both and route.only_from is None:
            other, more = limited[both[0].host, both[0].port], f" and {len(both) - 1} more" if len(both) > 1 else ""
            place = f"route {route.server_name}" + (f" of listener {route.listener}" if route.listener else "")
            yield (
                f"{place}: no only_from, but route {other} has one for target {both[0]}{more}: clients that it refuses "
                "reach the target here"
            )


def check_headers(configuration: Configuration) -> dict[Target, bytes]:
    """The headers of L{check_header}, by target without placeholders. Targets without a header are left out."""
    return {
        target: header
        for route in all_routes(configuration)
        if (header := check_header(configuration, route))
        for target in plain_targets(route)
    }


def written_targets(configuration: Configuration) -> Iterator[tuple[Target, str | None]]:
    """The targets without placeholders, each with the server name of its broker, if known.

    The name is that of an exact route with this target alone, else of any exact route, else the target's host name.
    """
    found: dict[Target, tuple[int, str | None]] = {}
    for route in all_routes(configuration):
        plain = plain_targets(route)
        exact = "." in route.server_name and not is_expression(route.server_name) and "*" not in route.server_name
        for target in plain:
            own = None if ip_literal(target.host) is not None else target.host
            rank = (1 if len(plain) > 1 else 0) if exact else 2
            target = attrs.evolve(target, weight=1)  # the weight is not part of a target's identity
            if rank < found.get(target, (3, None))[0]:
                found[target] = (rank, route.server_name if exact else own)
    for target, (_, name) in found.items():
        yield target, name


MAX_NAMES = 3
"""Maximum names in a warning."""

HTTPS_PORTS = (443, 8443)
"""The usual ports of a broker's admin API (C{webServicePortTls})."""


def lacks_https(configuration: Configuration) -> bool:
    """Whether clients choose targets by name, and no target has one of L{HTTPS_PORTS}.

    Geo-replication from Pulsar 4.2 on needs such a route. False: there is one, or a resolver or a client's name decides
    about the port.
    """
    routes = configuration.routes + ((configuration.default,) if configuration.default is not None else ())
    for route in routes:
        filled = templates(route)
        if not filled:
            return False
        for template in filled:
            ports = template_ports(configuration, route, template)
            if not ports or not ports.isdisjoint(HTTPS_PORTS):
                return False
    return bool(routes) and any(listener.plaintext is None for listener in configuration.listeners)


def missing_https_routes(configuration: Configuration) -> Iterator[str]:
    """Warn of a listener for HTTPS without a route for each broker: their admin API redirects from one to another.

    A listener is for HTTPS if all its own routes lead to L{HTTPS_PORTS}. The other brokers are known by the names that
    routes of other listeners have; at least one name must be shared, because HTTPS may have names of its own.
    """
    own: dict[str | None, list[Route]] = {}
    for route in configuration.routes:
        own.setdefault(route.listener, []).append(route)
    if configuration.default is not None or None in own:  # each listener has a route for these names
        return
    secure = {listener for listener, routes in own.items() if all(map(_leads_to_https, routes))}
    others = {route.server_name for route in configuration.routes if route.listener not in secure}
    for listener in sorted(filter(None, secure)):
        names = {route.server_name for route in own[listener]}
        missing = sorted(name for name in others - names if _is_exact(name))
        if missing and names & others and all(map(_is_exact, names)):
            more = f" and {len(missing) - MAX_NAMES} more" if len(missing) > MAX_NAMES else ""
            yield (
                f"listener {listener}: no route for {', '.join(missing[:MAX_NAMES])}{more}: "
                "the brokers' admin API redirects clients from one broker to another"
            )


def _leads_to_https(route: Route) -> bool:
    targets = plain_targets(route)
    return bool(targets) and all(target.port in HTTPS_PORTS for target in targets)


def _is_exact(name: str) -> bool:
    return bool(name) and "*" not in name and not is_expression(name)


_SERVICE_NAME = re.compile(
    r"(?:[^.\d]*[_-])?(?:pulsar|vip|service|svc|lookup|proxy|cluster|lb|bootstrap|any)(?:[_-][^.\d]*)?(?:\.|\Z)"
)
"""Matches the first label of a likely service name: it has one of these words, and no digit."""


def no_service_route(configuration: Configuration) -> Iterator[str]:
    """Warn if each route seems to be for a single broker, so that PIP-60's lookup phase has no route.

    This is a guess: a service name usually has several brokers as targets, or shares one with a broker's own name.
    """
    tls = any(listener.plaintext is None for listener in configuration.listeners)
    if not tls or not configuration.routes or configuration.default is not None:
        return
    found: set[tuple[str, int]] = set()
    for route in configuration.routes:
        targets, name = templates(route), route.server_name
        if len(targets) != 1:
            return
        if not name:
            continue
        if name[0] in "~*":
            if not targets[0].captures:
                return
        elif len(configuration.routes) == 1 or _SERVICE_NAME.match(name):
            return
        elif (target := targets[0].target) is not None:
            if (target.host, target.port) in found:
                return
            found.add((target.host, target.port))
    yield (
        "no route seems to match the service name: clients first look topics up at the host of their service URL; "
        "unless a route above matches it, add a [[route]] with that name and all brokers as targets"
    )


def policy_warnings(configuration: Configuration) -> Iterator[str]:
    """Warnings about policies and targets that are valid but probably not intended."""
    policy = configuration.policy
    formed = False
    for route in all_routes(configuration):
        filled = [template for template in templates(route) if template.places]
        if not filled:
            continue
        named = not route.nameless and not any(route is x.plaintext for x in configuration.listeners)
        for template in filled:
            place = f"route {route.server_name}: target {template.text}"
            why_not = template.why_not(capture_count(route.server_name), named)
            if why_not is not None:
                yield f"{place}: {why_not}: every connection is refused"
            elif template.client_formed:
                formed = True
                yield from (f"{place}: {warning}" for warning in _useless(configuration, route, template))
                if route.server_name == DEFAULT and template.name_formed and policy.allow_names is None:
                    yield f"{place}: an open proxy: clients can reach any public host; set policy.allow_names"
    for network in policy.allow_cidrs:
        if network.prefixlen < _WIDE[network.version]:
            yield f"policy.allow_cidrs: {network} is wider than any private network; write smaller ones"
        elif _overlap(network, _LINK_LOCAL):
            yield f"policy.allow_cidrs: {network} includes 169.254.169.254, where clouds serve credentials"
    if (
        policy != Policy()
        and not formed
        and all(route.resolver.kind == "static" for route in all_routes(configuration))
    ):
        yield "[policy] has no effect: no target has {server_name}, {1} ...; targets without them are always allowed"


def _useless(configuration: Configuration, route: Route, template: Template) -> Iterator[str]:
    """Why the policy denies every target of a template."""
    policy = configuration.policy
    ports = template_ports(configuration, route, template)
    if ports and not ports & policy.allow_ports:
        few = ", ".join(map(str, sorted(ports)))
        yield f"policy.allow_ports does not include {few}: every connection is denied"
    suffix = _suffix(route, template)
    if policy.allow_names is not None and suffix and not any(_can_end(name, suffix) for name in policy.allow_names):
        yield f"policy.allow_names has no name that ends in {suffix}: every connection is denied"


def template_ports(configuration: Configuration, route: Route, template: Template) -> set[int]:
    """The ports of a template's targets. Empty: unknown."""
    if template.target is not None:
        return {template.target.port}
    listeners = [x for x in configuration.listeners if route.listener in (None, x.name) and x.plaintext is None]
    own = {listener.endpoint.port for listener in listeners if listener.endpoint.port}
    found = set()
    for port in own if PORT in template.places else {None}:
        # With two names: the ports differ if the name is part of the port.
        one, other = (
            Request(digit, (), "", "", (digit,) * MAX_GROUPS, port, proxy_protocol_port=int(digit)) for digit in "12"
        )
        try:
            ports = {template.fill(one).port, template.fill(other).port}
        except BadTarget:
            return set()
        if len(ports) > 1:
            return set()
        found |= ports
    return found


def _suffix(route: Route, template: Template) -> str:
    """The suffix of all hosts of a template. Empty: unknown."""
    host = template.text.strip().removeprefix("pulsar+ssl://").split(":")[0]
    fixed = host.rpartition("}")[2].lower()
    if "[" in host:
        return ""
    if fixed or not host.endswith(f"{{{SERVER_NAME}}}"):
        return fixed
    name = route.server_name
    return "" if is_expression(name) or name == DEFAULT else name.removeprefix("*")


def _can_end(pattern: str, suffix: str) -> bool:
    """Whether a name that matches a pattern can have a suffix."""
    if is_expression(pattern):
        return True
    if not pattern.startswith("*"):
        return pattern.endswith(suffix)
    return pattern[1:].endswith(suffix) or suffix.endswith(pattern[1:])


def _overlap(network: Network, other: Network) -> bool:
    return network.version == other.version and network.overlaps(other)
