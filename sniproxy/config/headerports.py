"""Checks and warnings about PROXY protocol headers: whether listeners read them where a target
(C{{proxy_protocol_port}}) or C{only_from} needs it, whom to believe, and which targets do not understand them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sniproxy.config.checks import Check
from sniproxy.config.model import Configuration, Listener, ResolverTable, Route
from sniproxy.config.warnings import all_routes, check_header, keyed_routes, template_ports, templates
from sniproxy.routing.clientlist import is_endpoint_id
from sniproxy.routing.targets import DEFAULT_PORT, BadTarget
from sniproxy.routing.templates import PROXY_PORT, SERVER_NAME, Template, parse_template

_CURE = 'its listener reads no PROXY protocol headers; write proxy_protocol = "required" in the [[listener]]'


def check_header_ports(check: Check, configuration: Configuration) -> None:
    """Check each target with C{{proxy_protocol_port}}.

    @raise ConfigError: no listener of its route reads PROXY protocol headers.
    """
    for key, route, text in _targets(configuration):
        listeners = _listeners(configuration.listeners, route)
        if all(listener.proxy_protocol is None for listener in listeners):
            raise check.error(f"{key}.target", text, f"no header has a value for {{{PROXY_PORT}}}: {_CURE}")


def header_port_warnings(configuration: Configuration) -> Iterator[str]:
    """Warn of listeners without headers among those of a route whose target has C{{proxy_protocol_port}}."""
    for _, route, text in _targets(configuration):
        for listener in _listeners(configuration.listeners, route):
            settings = listener.proxy_protocol
            if settings is None or not settings.required:
                which = "all connections" if settings is None else "connections without a header"
                yield (
                    f"route {route.server_name}: target {text}: listener {listener.name} refuses {which}; "
                    'write proxy_protocol = "required" there'
                )


def endpoint_warnings(configuration: Configuration) -> Iterator[str]:
    """Warn of texts in C{only_from} that match no client: they look like no id, or no listener reads such ids."""
    for _, route in keyed_routes(configuration):
        ids = sorted(route.only_from.endpoints) if route.only_from is not None else []
        place = f"route {route.server_name}" + (f" of listener {route.listener}" if route.listener else "")
        for text in ids:
            if not is_endpoint_id(text):
                yield (
                    f"{place}: only_from {text} matches no client: it is neither a network nor the id of a private "
                    "endpoint, which is vpce- and hexadecimal digits, or a number"
                )
        ids = list(filter(is_endpoint_id, ids))
        if ids and all(one.proxy_protocol is None for one in _listeners(configuration.listeners, route)):
            more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
            yield f"{place}: only_from {ids[0]}{more} matches no client: {_CURE}"


def proxy_protocol_warnings(configuration: Configuration) -> Iterator[str]:
    """Warn of headers that anybody can forge, and of headers that a broker's TLS port does not understand."""
    for listener in configuration.listeners:
        headers = listener.proxy_protocol
        if headers is not None and any(not network.prefixlen for network in headers.networks):
            yield f"listener {listener.name}: proxy_protocol_from has all addresses: every client can claim any other"
    for route in all_routes(configuration):
        if check_header(configuration, route):
            for what in _broker_ports(configuration, route):
                yield (
                    f"{what}: send_proxy writes the header before the hello, but a Pulsar broker's TLS port "
                    f"({DEFAULT_PORT}) reads it inside TLS, and refuses this one (docs/howto/proxy-protocol.md)"
                )


def _broker_ports(configuration: Configuration, route: Route) -> Iterator[str]:
    """What of a route leads to the TLS ports of Pulsar brokers."""
    for template in templates(route):
        if DEFAULT_PORT in template_ports(configuration, route, template):
            yield f"target {template.target or template.text}"
    for table in route.resolver.members:
        dns = _dns_template(table)
        leads = dns is not None and DEFAULT_PORT in template_ports(configuration, route, dns)
        if leads or table.kind in _BROKER_RESOLVERS:
            yield f"route {route.server_name}: {table.title}"


def _dns_template(table: ResolverTable) -> Template | None:
    """The target of a C{dns} resolver. None: it is another resolver, or SRV records have the ports."""
    if table.kind != "dns" or table.options.get("srv") is not None:
        return None
    try:
        return parse_template(table.options.get("target") or f"{{{SERVER_NAME}}}")
    except (BadTarget, TypeError):  # reported when the resolver is made
        return None


_BROKER_RESOLVERS = ("pulsar", "zookeeper")
"""Resolvers that answer with the TLS ports that brokers advertise."""


def _targets(configuration: Configuration) -> Iterator[tuple[str, Route, str]]:
    """The targets with the placeholder, each with its route and the key of the route."""
    for key, route in keyed_routes(configuration):
        for template in route.resolver.templates:
            if PROXY_PORT in template.places:
                yield key, route, template.text


def _listeners(listeners: Iterable[Listener], route: Route) -> Sequence[Listener]:
    """The listeners whose connections can take a route."""
    own = [one for one in listeners if one.plaintext is route]
    return own or [one for one in listeners if one.plaintext is None and route.listener in (None, one.name)]
