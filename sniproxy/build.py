"""From a checked configuration to what lives: resolvers, the route table, endpoints. Nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from sniproxy.interfaces import BadOption, ServerNameResolver
from sniproxy.resolvers import make_resolver
from sniproxy.routing.choice import LiveRoute, Routing
from sniproxy.routing.table import RouteTable
from sniproxy.schema import ConfigError, shown
from sniproxy.settings import Configuration, ResolverTable, Route, Termination
from sniproxy.terminating import Shown, Terminator
from sniproxy.tls.contexts import BrokerTLS
from sniproxy.tls.pem import certificates, certified
from sniproxy.tls.reloading import CannotRead, Reloaded, read

T = TypeVar("T")


def build_endpoint(configuration: Configuration, key: str, text: str, reactor: Any) -> IStreamServerEndpoint:
    """@raise ConfigError: no installed endpoint is written so, or what it needs is not there."""
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # endpoint plugins raise what they like
        why = "a descriptor that systemd did not pass" if isinstance(error, IndexError) else str(error)
        cure = f"Twisted cannot use this endpoint ({why}); write it as in tcp:4443:interface=127.0.0.1"
        raise ConfigError(f"{configuration.filename}: {key} = {shown(text)}: {cure}") from error
    return endpoint


def build_terminator(
    configuration: Configuration, termination: Termination, seconds: Callable[[], float]
) -> Terminator:
    """Read the certificates of a listener that ends TLS. @param seconds: a clock, for looking at the files again.

    @raise ConfigError: they cannot be used.
    """

    def shown() -> Shown:
        found = certified(read(termination.certificates))
        if not found:
            raise CannotRead(f"{termination.certificates}: there is no certificate in it, with its key")
        return Shown(found, lambda: datetime.now(UTC))

    def broker() -> BrokerTLS:
        trust = [each for place, text in read(termination.trust) for each in certificates(place, text)]
        if not trust:
            raise CannotRead(f"{termination.trust}: there is no certificate in it")
        if termination.certificate is None:
            return BrokerTLS(trust)
        own = certified(read(termination.certificate))
        if len(own) != 1:
            what = f"it has {len(own)} certificates with their keys; one is needed"
            raise CannotRead(f"{termination.certificate}: {what}")
        return BrokerTLS(trust, own[0])

    def reloaded(name: str, paths: Sequence[str], make: Callable[[], T]) -> Reloaded[T]:
        try:
            return Reloaded(paths, make, seconds)
        except CannotRead as error:
            raise ConfigError(f"{configuration.filename}: {termination.key}.{name}: {error}") from error

    towards = [termination.trust] + ([] if termination.certificate is None else [termination.certificate])
    return Terminator(
        reloaded("certificates", [termination.certificates], shown), reloaded("upstream_trust", towards, broker)
    )


def build_routing(configuration: Configuration, reactor: Any) -> Routing:
    """Make the resolvers, and the table that leads to them.

    @raise ConfigError: a resolver's table does not fit.
    """
    made: dict[str, ServerNameResolver] = {}
    folder = os.path.dirname(configuration.filename)

    def resolver(table: ResolverTable) -> ServerNameResolver:
        if table.key not in made:
            try:
                made[table.key] = make_resolver(table.kind, table.options, reactor, folder)
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
