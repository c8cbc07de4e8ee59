"""The resolvers of a configuration: made, asked through the core, and alive as long as it is in force."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, DeferredList

from sniproxy.admin.sources import ResolverStatus
from sniproxy.config.model import ResolverTable
from sniproxy.config.schema import ConfigError, Faults, shown
from sniproxy.interfaces import BadOption, ResolverMaker, ServerNameResolver
from sniproxy.resolvers import make_resolver, makers_by_name, options_of
from sniproxy.resolvers.static import StaticResolver

# What asks is imported where somebody is asked: with the targets of routes alone nobody is, and the start is faster.
if TYPE_CHECKING:
    from sniproxy.resolvers.cache.cache import CachedResolver


class Resolvers:
    """The resolvers of a configuration, each made once. @param before: those of the one in force; None: there is none.

    A resolver is the same when its table has the same name, type and keys: it is then not made again.

    @ivar asked: the ones with a table of their own, by its place in the configuration.
    """

    def __init__(self, reactor: Any, before: Resolvers | None = None) -> None:
        self._reactor = reactor
        self._known: dict[str, ResolverMaker] = {}
        self._before: Mapping[str, tuple[ResolverTable, CachedResolver]] = {} if before is None else before.asked
        self._stopping: list[Deferred[None]] = [] if before is None else before._stopping
        self.asked: dict[str, tuple[ResolverTable, CachedResolver]] = {}

    def resolver(self, table: ResolverTable, filename: str) -> ServerNameResolver:
        """@raise ConfigError: the table does not fit."""
        if table.inner:
            from sniproxy.resolvers.cache.fallback import FallbackResolver

            return FallbackResolver([self._ask(inner, filename) for inner in table.inner])
        # What a route's own targets mean is known at once: there is nothing to keep, and nothing that can fail. There
        # may be very many, and the configuration has read them: no plugin is looked for.
        if table.templates:
            return StaticResolver(table.templates)
        return self._make(table, filename) if table.name is None else self._ask(table, filename)

    def settle(self) -> None:
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

    def _ask(self, table: ResolverTable, filename: str) -> CachedResolver:
        found = self.asked.get(table.key)
        if found is None:
            same, asked = self._before.get(table.key, (None, None))
            if asked is None or same != table:
                from sniproxy.resolvers.cache.cache import CachedResolver

                assert table.name is not None
                made = self._make(table, filename)
                asked = CachedResolver(table.name, made, self._reactor, table.deadline, table.stale)
            found = self.asked[table.key] = (table, asked)
        return found[1]

    def _make(self, table: ResolverTable, filename: str) -> ServerNameResolver:
        self._known = self._known or makers_by_name()  # once for all routes

        def make(options: Mapping[str, Any]) -> ServerNameResolver:
            return make_resolver(table.kind, options, self._reactor, os.path.dirname(filename), self._known)

        try:
            return make(table.options)
        except BadOption as error:
            # Imported here: most configurations have no error, and start faster.
            from sniproxy.resolvers.options import all_bad

            described = options_of(self._known[table.kind]) if table.kind in self._known else None
            faults = Faults()
            for one in all_bad(make, table.options, described) or [error]:
                key = f"{table.key}.{one.key}"
                with faults:
                    raise ConfigError(f"{filename}: {key} = {shown(one.value)}: {one.cure}", key, one.value) from one
            faults.check()
            raise


def _status(table: ResolverTable, asked: CachedResolver) -> ResolverStatus:
    watch = asked.watch_state()
    return ResolverStatus(
        asked.name,
        table.kind,
        attrs.asdict(asked.counts),
        str(asked.breaker.state),
        None if watch is None else watch.summary,
        None if watch is None else watch.error,
    )
