"""From a checked configuration to what lives: resolvers, the route table, endpoints. Nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from sniproxy.admin.sources import ResolverStatus
from sniproxy.asking.asked import Asked
from sniproxy.asking.inorder import InOrder
from sniproxy.check import warnings
from sniproxy.interfaces import BadOption, ServerNameResolver
from sniproxy.listening import Wanted
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


@attrs.frozen
class Built:
    """What a configuration is made into, before anything of it is opened.

    @ivar terminators: by the name of a listener that ends TLS. @ivar admin: None: there is no admin endpoint.
    @ivar warnings: what the operator should look at.
    """

    configuration: Configuration
    routing: Routing
    listeners: Sequence[Wanted]
    terminators: Mapping[str, Terminator]
    admin: IStreamServerEndpoint | None
    resolvers: Resolvers
    warnings: Sequence[str]


def build(configuration: Configuration, reactor: Any, before: Built | None = None) -> Built:
    """Make all that a configuration asks for.

    @param before: what is in force: a resolver whose table has not changed is taken from there, with what it knows.
    @raise ConfigError: the configuration cannot be used.
    """
    resolvers = Resolvers(reactor, None if before is None else before.resolvers)
    admin = configuration.admin
    return Built(
        configuration,
        build_routing(configuration, reactor, resolvers),
        [
            Wanted(
                listener, build_endpoint(configuration, f"listener[{number}].endpoint", listener.endpoint.text, reactor)
            )
            for number, listener in enumerate(configuration.listeners)
        ],
        {
            listener.name: build_terminator(configuration, listener.termination, reactor.seconds)
            for listener in configuration.listeners
            if listener.termination is not None
        },
        build_endpoint(configuration, "admin.endpoint", admin.endpoint.text, reactor) if admin else None,
        resolvers,
        list(warnings(configuration)),
    )


class Resolvers:
    """The resolvers of a configuration, each made once. @param before: those of the one in force; None: there is none.

    A resolver is the same when its table has the same name, type and keys: it is then not made again.

    @ivar asked: the ones with a table of their own, by its place in the configuration.
    """

    def __init__(self, reactor: Any, before: Resolvers | None = None) -> None:
        self._reactor = reactor
        self._before: Mapping[str, tuple[ResolverTable, Asked]] = {} if before is None else before.asked
        self._stopping: list[Deferred[None]] = [] if before is None else before._stopping
        self.asked: dict[str, tuple[ResolverTable, Asked]] = {}

    def resolver(self, table: ResolverTable, filename: str) -> ServerNameResolver:
        """@raise ConfigError: the table does not fit."""
        if table.inner:
            return InOrder([self._ask(inner, filename) for inner in table.inner])
        # What a route's own targets mean is known at once: there is nothing to keep, and nothing that can fail.
        return self._make(table, filename) if table.name is None else self._ask(table, filename)

    def settled(self) -> None:
        """These are in force now: they begin to watch, and those before that are no longer used end."""
        kept = [asked for _, asked in self.asked.values()]
        for _, asked in self._before.values():
            if asked not in kept:
                self._stopping.append(asked.stop())
        self._stopping[:] = [stopping for stopping in self._stopping if not stopping.called]
        self._before = {}
        for asked in kept:
            asked.start()

    def stop(self) -> Deferred[None]:
        """End all. @return: fires when they have ended."""
        ending = [*self._stopping, *(asked.stop() for _, asked in self.asked.values())]
        return DeferredList(ending).addCallback(lambda _: None)

    def status(self) -> list[ResolverStatus]:
        """How each does, in the configuration's order."""
        return [_status(table, asked) for table, asked in self.asked.values()]

    def _ask(self, table: ResolverTable, filename: str) -> Asked:
        found = self.asked.get(table.key)
        if found is None:
            same, asked = self._before.get(table.key, (None, None))
            if asked is None or same != table:
                assert table.name is not None
                made = self._make(table, filename)
                asked = Asked(table.name, made, self._reactor, table.deadline, table.stale)
            found = self.asked[table.key] = (table, asked)
        return found[1]

    def _make(self, table: ResolverTable, filename: str) -> ServerNameResolver:
        try:
            return make_resolver(table.kind, table.options, self._reactor, os.path.dirname(filename))
        except BadOption as error:
            place = f"{filename}: {table.key}.{error.key}"
            raise ConfigError(f"{place} = {shown(error.value)}: {error.cure}") from error


def _status(table: ResolverTable, asked: Asked) -> ResolverStatus:
    watch = asked.watch_state()
    return ResolverStatus(
        asked.name,
        table.kind,
        attrs.asdict(asked.counts),
        str(asked.breaker.state),
        None if watch is None else watch.summary,
        None if watch is None else watch.error,
    )


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


def build_routing(configuration: Configuration, reactor: Any, resolvers: Resolvers | None = None) -> Routing:
    """Make the resolvers, and the table that leads to them.

    @param resolvers: makes them, or has them already.
    @raise ConfigError: a resolver's table does not fit.
    """
    made = resolvers or Resolvers(reactor)

    def live(route: Route) -> LiveRoute:
        return LiveRoute(route.server_name, route.listener, made.resolver(route.resolver, configuration.filename))

    def goal(route: Route | None) -> LiveRoute | None:
        return None if route is None else live(route)

    return Routing(
        RouteTable([live(route) for route in configuration.routes]),
        goal(configuration.default),
        goal(configuration.no_server_name),
        {
            listener.name: live(listener.plaintext)
            for listener in configuration.listeners
            if listener.plaintext is not None
        },
    )
