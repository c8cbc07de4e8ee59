"""From a checked configuration to what lives: resolvers, the route table, endpoints. Nothing is opened here."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from sniproxy.config import Configuration, ResolverTable, Route
from sniproxy.interfaces import BadOption, ServerNameResolver
from sniproxy.resolvers import make_resolver
from sniproxy.routing.choice import LiveRoute, Routing
from sniproxy.routing.table import RouteTable
from sniproxy.schema import ConfigError, shown


def build_endpoint(configuration: Configuration, key: str, text: str, reactor: Any) -> IStreamServerEndpoint:
    """@raise ConfigError: no installed endpoint is written so, or what it needs is not there."""
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # endpoint plugins raise what they like
        why = "a descriptor that systemd did not pass" if isinstance(error, IndexError) else str(error)
        cure = f"Twisted cannot use this endpoint ({why}); write it as in tcp:4443:interface=127.0.0.1"
        raise ConfigError(f"{configuration.filename}: {key} = {shown(text)}: {cure}") from error
    return endpoint


def build_routing(configuration: Configuration, reactor: Any) -> Routing:
    """Make the resolvers, and the table that leads to them.

    @raise ConfigError: a resolver's table does not fit.
    """
    made: dict[str, ServerNameResolver] = {}

    def resolver(table: ResolverTable) -> ServerNameResolver:
        if table.key not in made:
            try:
                made[table.key] = make_resolver(table.kind, table.options, reactor)
            except BadOption as error:
                place = f"{configuration.filename}: {table.key}.{error.key}"
                raise ConfigError(f"{place} = {shown(error.value)}: {error.cure}") from error
        return made[table.key]

    def live(route: Route | None) -> LiveRoute | None:
        return None if route is None else LiveRoute(route.server_name, route.listener, resolver(route.resolver))

    return Routing(
        RouteTable([LiveRoute(r.server_name, r.listener, resolver(r.resolver)) for r in configuration.routes]),
        live(configuration.default),
        live(configuration.no_server_name),
        {
            listener.name: LiveRoute(route.server_name, route.listener, resolver(route.resolver))
            for listener in configuration.listeners
            if (route := listener.plaintext) is not None
        },
    )
