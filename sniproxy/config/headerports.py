"""Checks that listeners read the PROXY protocol where targets need it: C{{proxy_protocol_port}}. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sniproxy.config.checks import Check
from sniproxy.config.model import Configuration, Listener, Route
from sniproxy.config.warnings import keyed_routes
from sniproxy.routing.templates import PROXY_PORT

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
