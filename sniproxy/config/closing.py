"""Checks C{closed_when_down} of listeners. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sniproxy.config.model import DEFAULT, Configuration, Listener, Route
from sniproxy.config.schema import MakeError
from sniproxy.config.warnings import plain_targets, templates
from sniproxy.interfaces import Target


def check_closing(configuration: Configuration, workers: int, error: MakeError) -> None:
    """Check that each listener with C{closed_when_down} can be closed, and that its targets are known and checked.

    @raise ConfigError: it is not so.
    """
    for listener in configuration.listeners:
        wanted = listener.closed_when_down
        if wanted is None:
            continue
        key, route = f"{listener.key}.closed_when_down", _route(configuration, listener)
        if configuration.health.check is None:
            raise error(key, wanted, 'targets are up or down by health checks; write [health] check = "tcp" or "tls"')
        if listener.endpoint.kind == "systemd" or workers > 1:
            holder = "systemd" if listener.endpoint.kind == "systemd" else "the supervisor of workers"
            raise error(key, wanted, f"{holder} keeps the port open; remove the key")
        if route is None:
            names = [one.server_name for one in configuration.routes if one.listener in (None, listener.name)]
            known = ", ".join([*names[:10], *([DEFAULT] if configuration.default is not None else [])])
            raise error(key, wanted, f"no route of this listener has this server_name; routes: {known or 'none'}")
        if not plain_targets(route) or len(plain_targets(route)) < len(templates(route)):
            raise error(key, wanted, "its targets are not known before a client asks; name a route with plain targets")


def closing_targets(configuration: Configuration, listener: Listener) -> Sequence[Target]:
    """The targets that must all be down for the listener to be closed. Empty: it is always open."""
    route = _route(configuration, listener) if listener.closed_when_down is not None else None
    return () if route is None else plain_targets(route)


def _route(configuration: Configuration, listener: Listener) -> Route | None:
    """The route that C{closed_when_down} names: the listener's own before one of all listeners."""
    wanted = listener.closed_when_down
    for owner in (listener.name, None):
        for route in configuration.routes:
            if route.server_name == wanted and route.listener == owner:
                return route
    return configuration.default if wanted == DEFAULT else None
