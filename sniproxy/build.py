"""From a checked configuration to what lives: resolvers, the route table, endpoints. Nothing is opened here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from cryptography import x509
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from sniproxy.bridge.spans import LiveSpan, make_trust
from sniproxy.interfaces import BadOption, ServerNameResolver
from sniproxy.resolvers import make_resolver
from sniproxy.routing.choice import LiveRoute, Routing
from sniproxy.routing.table import RouteTable
from sniproxy.schema import ConfigError, shown
from sniproxy.settings import Bridge, Configuration, ResolverTable, Route, Termination
from sniproxy.terminating import Shown, Terminator
from sniproxy.tls.contexts import BrokerTLS
from sniproxy.tls.pem import Certified, certificates, certified
from sniproxy.tls.reloading import CannotRead, Reloaded, read

T = TypeVar("T")

Seconds = Callable[[], float]
"""A clock: it is looked at before files are looked at again."""


def build_endpoint(configuration: Configuration, key: str, text: str, reactor: Any) -> IStreamServerEndpoint:
    """@raise ConfigError: no installed endpoint is written so, or what it needs is not there."""
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # endpoint plugins raise what they like
        why = "a descriptor that systemd did not pass" if isinstance(error, IndexError) else str(error)
        cure = f"Twisted cannot use this endpoint ({why}); write it as in tcp:4443:interface=127.0.0.1"
        raise ConfigError(f"{configuration.filename}: {key} = {shown(text)}: {cure}") from error
    return endpoint


def build_terminator(configuration: Configuration, termination: Termination, seconds: Seconds) -> Terminator:
    """Read the certificates of a listener that ends TLS. @param seconds: a clock, for looking at the files again.

    @raise ConfigError: they cannot be used.
    """

    def shown() -> Shown:
        found = certified(read(termination.certificates))
        if not found:
            raise CannotRead(f"{termination.certificates}: there is no certificate in it, with its key")
        return Shown(found, lambda: datetime.now(UTC))

    place = f"{configuration.filename}: {termination.key}"
    return Terminator(
        _reloaded(f"{place}.certificates", [termination.certificates], shown, seconds),
        build_trust(f"{place}.upstream_trust", termination.trust, termination.certificate, BrokerTLS, seconds),
    )


def build_trust(
    place: str,
    trust: str,
    certificate: str | None,
    make: Callable[[list[x509.Certificate], Certified | None], T],
    seconds: Seconds,
) -> Reloaded[T]:
    """Something made of whom we trust and what we show, anew when the files change.

    @param place: in the configuration. @param trust: a path of PEM.
    @param certificate: another. None: nothing is shown.
    @raise ConfigError: the files cannot be used.
    """

    def made() -> T:
        trusted = [each for name, text in read(trust) for each in certificates(name, text)]
        if not trusted:
            raise CannotRead(f"{trust}: there is no certificate in it")
        if certificate is None:
            return make(trusted, None)
        own = certified(read(certificate))
        if len(own) != 1:
            raise CannotRead(f"{certificate}: it has {len(own)} certificates with their keys; one is needed")
        return make(trusted, own[0])

    return _reloaded(place, [trust] + ([] if certificate is None else [certificate]), made, seconds)


def build_spans(configuration: Configuration, seconds: Seconds) -> list[tuple[Bridge, LiveSpan]]:
    """The bridges, which know each other. @raise ConfigError: files of theirs cannot be used."""
    made = []
    for bridge in configuration.bridges:
        place = f"{configuration.filename}: {bridge.key}.trust"
        trust = build_trust(place, bridge.trust, bridge.certificate, make_trust, seconds)
        made.append((bridge, LiveSpan(bridge, trust, seconds, configuration.timeouts.connect)))
    for _, span in made:
        span.know([other for _, other in made])
    return made


def _reloaded(place: str, paths: Sequence[str], make: Callable[[], T], seconds: Seconds) -> Reloaded[T]:
    try:
        return Reloaded(paths, make, seconds)
    except CannotRead as error:
        raise ConfigError(f"{place}: {error}") from error


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
