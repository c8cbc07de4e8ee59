"""The targets and routes of a running proxy, as the admin endpoint shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from twisted.internet.interfaces import IReactorTime

from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import ResolverStatus, RouteStatus, TargetStatus
from sniproxy.config.model import Configuration, Route
from sniproxy.config.warnings import keyed_routes, plain_targets, templates
from sniproxy.routing.targetstats import MAX_NAMES, address
from sniproxy.routing.upstreams import TargetState, UpstreamTable
from sniproxy.server.drain import DrainManager
from sniproxy.server.targetindex import TargetIndex, index_steps
from sniproxy.util.text import bounded

BATCH = 10
"""Targets or routes described in one step."""

BRIDGE = "bridge"
"""The route of all connections of a bridge."""


class TargetView:
    """Describes the targets and routes of the current configuration, and the targets of resolvers' answers.

    @param resolvers: the state of the resolvers. @param now: seconds since 1970.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        upstreams: UpstreamTable,
        drains: DrainManager,
        configuration: Configuration,
        resolvers: Callable[[], Sequence[ResolverStatus]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reactor = reactor
        self._upstreams = upstreams
        self._drains = drains
        self._configuration = configuration
        self._resolvers = resolvers
        self._now = now
        self._index: TargetIndex | None = None

    def forget_steps(self) -> Steps[None]:
        """Drop the counts of targets that are no longer used."""
        index = yield from self._index_steps()
        self._upstreams.stats.forget(self._reactor.seconds(), index.targets)

    def targets_steps(self, limit: int) -> Steps[tuple[list[TargetStatus], int]]:
        """List the targets in steps, those of the configuration first. @return: the first ones; how many there are."""
        index = yield from self._index_steps()
        stats = self._upstreams.stats.known
        answered = [
            key for key, one in list(stats.items()) if key not in index.targets and (one.routes or one.connections)
        ]
        found = []
        for number, key in enumerate(islice([*index.targets, *answered], limit), 1):
            found.append(self._target(key, index))
            if not number % BATCH:
                yield
        return found, len(index.targets) + len(answered)

    def routes_steps(self, limit: int) -> Steps[tuple[list[RouteStatus], int]]:
        """List the routes in steps, in the order of the configuration, then the bridges.

        @return: the first ones; how many there are.
        """
        index = yield from self._index_steps()
        answered = yield from self._answered_steps()
        configuration = self._configuration
        failing: dict[str | None, str] = {
            one.name: why for one in self._resolvers() if (why := _resolver_error(one)) is not None
        }
        listeners = [one.name for one in configuration.listeners if one.plaintext is None]
        found = []
        for number, (_, route) in enumerate(islice(keyed_routes(configuration), limit), 1):
            found.append(self._route(route, index.keys(route, listeners), answered, failing))
            if not number % BATCH:
                yield
        for bridge in islice(configuration.bridges, limit - len(found)):
            found.append(RouteStatus(BRIDGE, bridge.name, [str(bridge.service_url)], None, [(bridge.name, BRIDGE)]))
        return found, index.routes + len(configuration.bridges)

    def _index_steps(self) -> Steps[TargetIndex]:
        if self._index is None:
            index = yield from index_steps(self._configuration)
            for number, one in enumerate(index.targets.values(), 1):
                self._upstreams.stats.enter_configured(one.target)
                if not number % BATCH:
                    yield
            self._index = index
        return self._index

    def _answered_steps(self) -> Steps[dict[str, list[str]]]:
        """The addresses of the targets of resolvers' answers, by route."""
        found: dict[str, list[str]] = {}
        for number, (key, stats) in enumerate(list(self._upstreams.stats.known.items()), 1):
            for route in stats.routes:
                keys = found.setdefault(route, [])
                if len(keys) < MAX_NAMES:
                    keys.append(key)
            if not number % BATCH:
                yield
        return found

    def _target(self, key: str, index: TargetIndex) -> TargetStatus:
        stats, written = self._upstreams.stats.known.get(key), index.targets.get(key)
        text = key if stats is None else stats.text
        names = [] if written is None else written.names
        routes = [] if written is None else list(written.routes)
        if stats is not None:
            names += [name for name in stats.names if name not in names]
            routes += [route for route in stats.routes if route not in routes]
        state = self._upstreams.describe(key, self._reactor.seconds())
        drained = self._drained(key, text, routes)
        since = self._time(state.since) if drained is None else drained
        return TargetStatus(
            text,
            state.state if drained is None else "draining",
            0 if stats is None else stats.connections,
            state.why,
            since,
            self._time(state.checked),
            names[:MAX_NAMES],
            routes[:MAX_NAMES],
            stats,
            None if state.state == "unchecked" else state.state == "up",
        )

    def _time(self, seconds: float | None) -> float | None:
        """Seconds since 1970, of the reactor's time."""
        return None if seconds is None else self._now() - max(self._reactor.seconds() - seconds, 0.0)

    def _drained(self, key: str, text: str, routes: Sequence[str]) -> float | None:
        """When the drain of a target, or of all its routes, began. None: it gets new connections."""
        own = self._drains.since(None, (key, text))
        if own is not None or not routes:
            return own
        began = [self._drains.since(route) for route in routes]
        times = [since for since in began if since is not None]
        return max(times) if len(times) == len(began) else None

    def _route(
        self,
        route: Route,
        keys: Sequence[tuple[str, str]],
        answered: Mapping[str, Sequence[str]],
        failing: Mapping[str | None, str],
    ) -> RouteStatus:
        found = answered.get(route.server_name, ())
        written = [str(one) for one in templates(route)[:MAX_NAMES]]
        addresses = [address(one) for one in plain_targets(route)[:MAX_NAMES]] or found
        texts = written or [self._text(key) for key in found]
        return RouteStatus(route.server_name, route.listener, texts, self._error(route, addresses, failing), keys)

    def _text(self, key: str) -> str:
        stats = self._upstreams.stats.known.get(key)
        return key if stats is None else stats.text

    def _error(self, route: Route, addresses: Sequence[str], failing: Mapping[str | None, str]) -> str | None:
        if self._drains.since(route.server_name) is not None:
            return "drained"
        names = [table.name for table in route.resolver.members]
        broken = [failing[name] for name in names if name in failing]
        if broken and len(broken) == len(names):
            return "; ".join(broken)
        now = self._reactor.seconds()
        states = [(key, self._upstreams.describe(key, now)) for key in addresses]
        if not states or not all(self._is_failing(key, state) for key, state in states):
            return None
        return bounded("; ".join(self._failure(key, state) for key, state in states))

    def _is_failing(self, key: str, state: TargetState) -> bool:
        if self._drains.since(None, (key, self._text(key))) is not None or state.state in ("down", "ejected"):
            return True
        return state.state == "unchecked" and bool(state.why)

    def _failure(self, key: str, state: TargetState) -> str:
        if self._drains.since(None, (key, self._text(key))) is not None:
            return f"{self._text(key)}: drained"
        return f"{self._text(key)}: {state.why or state.state}"


def _resolver_error(one: ResolverStatus) -> str | None:
    """Why a resolver does not answer. None: nothing says that it does not."""
    if one.error is not None:
        return f"resolver {one.name}: {one.error}"
    return None if one.breaker == "closed" else f"resolver {one.name}: its circuit breaker is open"
