"""Drains a target or a route: ends its tunnels one by one, and gives it no new connections.

A client reconnects as soon as its tunnel ends. A rate with jitter spreads the reconnects over time, so that they do not
overload the brokers and the proxy. Tunnels without traffic end first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.admin.sources import DrainStatus, UnknownDrainTarget
from sniproxy.config.model import DEFAULT, Configuration, Route
from sniproxy.config.warnings import all_routes, templates, written_targets
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Result
from sniproxy.relay.relay import Ending
from sniproxy.routing.table import RouteTable
from sniproxy.routing.targets import BadTarget, parse_target
from sniproxy.routing.targetstats import address
from sniproxy.routing.upstreams import DrainTarget, UpstreamTable
from sniproxy.server.silentfirst import SilentFirst
from sniproxy.util.text import bounded, counted

log = Logger()

IDLE_INTERVAL_S = 1.0
"""Seconds between rounds when no tunnel is left. A connection that was still being made may have become one."""

MAX_NAMED = 20
"""Clients of remaining connections that the status names, at most."""

MAX_ROUTES, MAX_TARGETS = 10, 5
"""Routes, and targets of a route, that an error message lists, at most."""

MAX_UNCACHED_CONNECTIONS, CACHE_S = 200, 1.0
"""A count of more connections than the first is reused for this many seconds."""

ROUND_S, COMPARED_PER_S = 1.0, 10_000
"""Seconds between two comparisons of the tunnels' bytes, at least; and how many tunnels are compared per second."""

MIN_INTERVAL_S = 0.02
"""Seconds between rounds, at least. A faster rate ends several tunnels in a round."""


@attrs.define
class _Drain:
    goal: DrainTarget
    rate: float
    since: float
    closed: int = 0
    timer: Any = None
    silent_first: SilentFirst = attrs.field(factory=SilentFirst)
    waiting: list[Lifecycle] = attrs.field(factory=list)
    next_round: float = 0.0
    cached_count: tuple[float, int, list[str]] | None = None


def find_drain_target(
    name: str, configuration: Configuration, live: Iterable[Lifecycle], seen: Iterable[str] = ()
) -> DrainTarget:
    """Find what an operator names: a route by its C{server_name}, or a target by its address or its label.

    Case, brackets around an IPv6 address, and the default port do not matter.

    @param seen: addresses of targets in resolvers' answers.
    @raise UnknownDrainTarget: no route or target matches. The message lists the routes and their targets.
    """
    routes = all_routes(configuration)
    for wanted in (name, _lower(name)):
        if any(wanted == route.server_name for route in routes):
            return DrainTarget("route", wanted)
    at = {life.target for life in live if life.target is not None}
    if name and any(name == target.label for target in at):
        return DrainTarget("target", name)
    key = _address(name)
    if key:
        known = {address(target) for target, _ in written_targets(configuration)}
        known.update(seen, map(address, at))
        if key in known or _can_reach(configuration, key):
            return DrainTarget("target", key)
    elif ":" in name:
        try:
            parse_target(name)
        except BadTarget as error:
            raise UnknownDrainTarget(f"{bounded(name)}: {error}") from error
    raise UnknownDrainTarget(_unknown_target(name, configuration))


def _lower(name: str) -> str:
    """A server name as in routes: in lower case, without a final dot."""
    return name.strip().lower().removesuffix(".")


def _can_reach(configuration: Configuration, key: str) -> bool:
    """Whether some connection can fill a route's template so that it gives this address."""
    for route in all_routes(configuration):
        listeners = [one for one in configuration.listeners if route.listener in (None, one.name)]
        ports = {one.endpoint.port for one in listeners}
        known = {port for port in ports if port}
        for template in templates(route):
            if template.places and template.may_lead(key, _matcher(route), known if len(known) == len(ports) else None):
                return True
    return False


def _matcher(route: Route) -> Callable[[str], bool] | None:
    """Tells whether a route matches a server name. None for the default route, which matches all other names."""
    if route.server_name == DEFAULT:
        return None
    table = RouteTable([route])
    return lambda name: table.match(name, route.listener or "") is not None


def _unknown_target(name: str, configuration: Configuration) -> str:
    """The message of L{UnknownDrainTarget}: lists the first routes with their targets."""
    routes = all_routes(configuration)
    leads = []
    for route in routes[:MAX_ROUTES]:
        texts = [str(template) for template in templates(route)]
        where = ", ".join(texts[:MAX_TARGETS]) + (", ..." if len(texts) > MAX_TARGETS else "")
        leads.append(f"route {route.server_name} leads to {where or route.resolver.title}")
    if len(routes) > MAX_ROUTES:
        leads.append(f"and {counted(len(routes) - MAX_ROUTES, 'more route')}")
    why = "no such route or target"
    return f"{bounded(name)}: {why}; {'; '.join(leads) or 'no routes'}"


class DrainManager:
    """The drains of a proxy. A drain is active until it is cancelled or the program ends.

    @param live: returns the open connections. @param now: seconds since 1970.
    @param dice: for the jitter, and for the order of tunnels that are equally silent.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        upstreams: UpstreamTable,
        live: Callable[[], Iterable[Lifecycle]],
        now: Callable[[], float],
        dice: random.Random | None = None,
    ) -> None:
        self._reactor = reactor
        self._upstreams = upstreams
        self._live = live
        self._now = now
        self._dice = dice or random.Random()
        self._drains: dict[DrainTarget, _Drain] = {}

    def begin(self, goal: DrainTarget, rate: float) -> DrainStatus:
        """Start a drain, or change the rate of an active one. @param rate: tunnels per second."""
        drain = self._drains.get(goal)
        if drain is None:
            drain = self._drains[goal] = _Drain(goal, rate, self._now())
            drain.silent_first = SilentFirst(self._left(goal))
            self._upstreams.drain(goal)
        drain.rate = rate
        self._schedule(drain, self._pause(drain))
        tunnels = counted(len(self._left(goal)), "connection")
        log.info("draining {goal} at {rate:g} a second: {tunnels}", goal=str(goal), rate=rate, tunnels=tunnels)
        return self._status(drain)

    def undo(self, name: str, kind: str | None = None) -> DrainStatus:
        """Cancel a drain. @param kind: C{target} or C{route}. None: either. @return: its last status.

        @raise UnknownDrainTarget: there is no such drain.
        """
        names = {name, _lower(name), _address(name)}
        goal = next((goal for goal in self._drains if goal.name in names and kind in (None, goal.kind)), None)
        if goal is None:
            drained = ", ".join(map(str, self._drains)) or "nothing"
            raise UnknownDrainTarget(f"{bounded(name)} is not being drained; being drained: {drained}")
        drain = self._drains.pop(goal)
        self._cancel(drain)
        status = self._status(drain)
        self._upstreams.undrain(goal)
        log.info("stopped draining {goal}: {closed} closed", goal=str(goal), closed=drain.closed)
        return status

    def stop(self) -> None:
        """End no more tunnels: the proxy is stopping, and ends all of them itself."""
        for drain in self._drains.values():
            self._cancel(drain)

    def status(self) -> list[DrainStatus]:
        """The status of all drains, oldest first."""
        return [self._status(drain) for drain in self._drains.values()]

    def since(self, route: str | None, names: Collection[str] = ()) -> float | None:
        """When the drain of a route or a target began, in seconds since 1970. None: it is not being drained.

        @param names: of the target: its address and its label.
        """
        for goal, drain in self._drains.items():
            if goal.name == route if goal.kind == "route" else goal.name in names:
                return drain.since
        return None

    def _count_left(self, drain: _Drain) -> tuple[int, list[str]]:
        """The number of remaining connections, and some of their clients. Cached for L{CACHE_S} if there are many."""
        now = self._reactor.seconds()
        if drain.cached_count is None or now - drain.cached_count[0] >= CACHE_S:
            left = self._left(drain.goal)
            seen = drain.cached_count = now, len(left), [life.record.client for life in left[:MAX_NAMED]]
            if len(left) <= MAX_UNCACHED_CONNECTIONS:
                drain.cached_count = None
            return seen[1:]
        return drain.cached_count[1:]

    def _left(self, goal: DrainTarget) -> list[Lifecycle]:
        return [life for life in self._live() if goal.has(life.record.route, life.target)]

    def _status(self, drain: _Drain) -> DrainStatus:
        left, clients = self._count_left(drain)
        goal = drain.goal
        refused = self._upstreams.refused_count(goal)
        return DrainStatus(goal.kind, goal.name, drain.since, drain.rate, drain.closed, refused, left, clients)

    def _step(self, drain: _Drain) -> None:
        drain.timer = None
        if not drain.waiting or self._reactor.seconds() >= drain.next_round:
            self._compare(drain)
        wanted = max(1, round(drain.rate * MIN_INTERVAL_S))
        ending = Ending(Result.DRAINED, f"{drain.goal} is being drained")
        while drain.waiting and wanted:
            life = drain.waiting.pop()
            if not life.ended:
                life.end(ending)
                drain.closed += 1
                wanted -= 1
        self._schedule(drain, self._pause(drain) if drain.waiting else max(IDLE_INTERVAL_S, self._pause(drain)))

    def _compare(self, drain: _Drain) -> None:
        """Order the tunnels that are left, the silent ones last: the last one ends next."""
        tunnels = [life for life in self._left(drain.goal) if life.tunnelling]
        self._dice.shuffle(tunnels)
        drain.waiting = drain.silent_first.order(tunnels)[::-1]
        drain.next_round = self._reactor.seconds() + max(ROUND_S, len(tunnels) / COMPARED_PER_S)

    def _pause(self, drain: _Drain) -> float:
        return max(1 / drain.rate, MIN_INTERVAL_S) * self._dice.uniform(0.5, 1.5)

    def _schedule(self, drain: _Drain, seconds: float) -> None:
        self._cancel(drain)
        drain.timer = self._reactor.callLater(seconds, self._step, drain)

    def _cancel(self, drain: _Drain) -> None:
        if drain.timer is not None and drain.timer.active():
            drain.timer.cancel()
        drain.timer = None


def _address(name: str) -> str:
    """A target's address in its usual spelling; empty if the name is no address."""
    try:
        return address(parse_target(name))
    except BadTarget:
        return ""
