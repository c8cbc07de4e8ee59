"""The resolvers of a configuration: makes them with their caches, starts them, and stops them after a reload."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from sniproxy.admin.sources import ResolverStatus
from sniproxy.config.model import ResolverTable
from sniproxy.config.schema import ConfigError, Faults, shown
from sniproxy.interfaces import BadOption, IResolverMaker, IServerNameResolver
from sniproxy.resolvers import make_resolver, makers_by_name, options_of
from sniproxy.resolvers.static import StaticResolver
from sniproxy.routing.brokernames import BrokerName
from sniproxy.util.text import bounded

# Imported when a resolver with a table is made: a configuration with static targets alone starts faster without it.
if TYPE_CHECKING:
    from sniproxy.resolvers.cache.cache import CachedResolver

MAX_SHOWN_NAMES = 100
"""Names of a resolver in its status."""


class Resolvers:
    """The resolvers of a configuration, each made once.

    A reload keeps a resolver, with its cache, if its table has the same name, type and keys.

    @param before: the resolvers of the current configuration. None: there is none yet.
    @ivar cached: the resolvers that have a table, by the table's key in the configuration.
    """

    def __init__(self, reactor: IReactorTime, before: Resolvers | None = None) -> None:
        self._reactor = reactor
        self._known: dict[str, IResolverMaker] = {}
        self._before: Mapping[str, tuple[ResolverTable, CachedResolver]] = {} if before is None else before.cached
        self._stopping: list[Deferred[None]] = [] if before is None else before._stopping
        self.cached: dict[str, tuple[ResolverTable, CachedResolver]] = {}

    def resolver(self, table: ResolverTable, filename: str) -> IServerNameResolver:
        """The resolver of a table, made at the first call. @raise ConfigError: the table is invalid."""
        if table.inner:
            from sniproxy.resolvers.cache.fallback import FallbackResolver

            return FallbackResolver([self._cached_resolver(inner, filename) for inner in table.inner])
        # Static targets need no cache. There may be very many, and the parser has read them: plugin discovery would
        # only cost time.
        if table.templates:
            return StaticResolver(table.templates)
        return self._make(table, filename) if table.name is None else self._cached_resolver(table, filename)

    def activate(self, read_only: bool = False) -> None:
        """Start these resolvers, because their configuration is now the current one, and stop those that it dropped.

        @param read_only: they must not write to their sources.
        """
        kept = [cached for _, cached in self.cached.values()]
        for _, cached in self._before.values():
            if cached not in kept:
                self._stopping.append(cached.stop())
        self._stopping[:] = [stopping for stopping in self._stopping if not stopping.called]
        self._before = {}
        for cached in kept:
            cached.start(read_only)

    def stop(self) -> Deferred[None]:
        """Stop all resolvers. @return: fires when they have stopped."""
        ending = [*self._stopping, *(cached.stop() for _, cached in self.cached.values())]
        return DeferredList(ending).addCallback(lambda _: None)

    def names_of(self, host: str, port: int) -> Sequence[BrokerName]:
        """All names of the broker that advertises this address. Empty: no resolver knows it."""
        for _, cached in self.cached.values():
            if cached.directory is not None and (names := cached.directory.names_of(host, port)):
                return names
        return ()

    def status(self) -> list[ResolverStatus]:
        """The status of each resolver, in the order of the configuration."""
        return [_status(table, cached) for table, cached in self.cached.values()]

    def _cached_resolver(self, table: ResolverTable, filename: str) -> CachedResolver:
        found = self.cached.get(table.key)
        if found is None:
            same, cached = self._before.get(table.key, (None, None))
            if cached is None or same != table:
                from sniproxy.resolvers.cache.cache import CachedResolver

                assert table.name is not None
                made = self._make(table, filename)
                cached = CachedResolver(table.name, made, self._reactor, table.deadline, table.stale)
            found = self.cached[table.key] = (table, cached)
        return found[1]

    def _make(self, table: ResolverTable, filename: str) -> IServerNameResolver:
        self._known = self._known or makers_by_name()  # once for all routes

        def make(options: Mapping[str, Any]) -> IServerNameResolver:
            return make_resolver(table.kind, options, self._reactor, os.path.dirname(filename), self._known)

        try:
            return make(table.options)
        except BadOption as error:
            # Imported here: a valid configuration starts faster without it.
            from sniproxy.resolvers.options import find_errors

            described = options_of(self._known[table.kind]) if table.kind in self._known else None
            faults = Faults()
            for one in find_errors(make, table.options, described) or [error]:
                key = f"{table.key}.{one.key}"
                with faults:
                    raise ConfigError(f"{filename}: {key} = {shown(one.value)}: {one.cure}", key, one.value) from one
            faults.check()
            raise


def _status(table: ResolverTable, cached: CachedResolver) -> ResolverStatus:
    watch = cached.watch_state()
    return ResolverStatus(
        cached.name,
        table.kind,
        attrs.asdict(cached.counts),
        str(cached.breaker.state),
        None if watch is None else watch.summary,
        None if watch is None else watch.error,
        {} if watch is None else _shown_names(watch.names),
    )


def _shown_names(names: Mapping[str, str]) -> dict[str, str]:
    return {bounded(str(name)): bounded(str(what)) for name, what in islice(names.items(), MAX_SHOWN_NAMES)}
