"""Draining of a target or a route: its tunnels are ended one after the other, and it gets no new ones.

Each end makes a client come back at once. At a rate, with jitter, its brokers and the proxy see a trickle; all at once
would be a storm.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.logger import Logger

from sniproxy.admin.sources import DrainStatus, UnknownDrainTarget
from sniproxy.config.model import DEFAULT, Configuration, Route
from sniproxy.config.warnings import all_routes, templates, written_targets
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Result
from sniproxy.relay.relay import Ending
from sniproxy.routing.table import RouteTable
from sniproxy.routing.targets import BadTarget, parse_target
from sniproxy.routing.upstreams import DrainTarget, UpstreamTable, address
from sniproxy.util.text import bounded, counted

log = Logger()

IDLE_S = 1.0
"""Seconds between two looks when nobody is left: a connection that was on its way may have become a tunnel."""

MAX_NAMED = 20
"""Clients that are still there and are named."""

MAX_ROUTES, MAX_TARGETS = 10, 5
"""Routes, and targets of a route, that an error names."""

FEW, FRESH = 200, 1.0
"""Seconds that a count of more connections than C{FEW} is used for."""

MIN_INTERVAL_S = 0.02
"""Seconds between two rounds; a faster rate ends several in a round."""


@attrs.define
class _Drain:
    goal: DrainTarget
    rate: float
    since: float
    closed: int = 0
    timer: Any = None
    waiting: list[Lifecycle] = attrs.field(factory=list)
    looked: tuple[float, int, list[str]] | None = None


def find_drain_target(
    name: str, configuration: Configuration, live: Iterable[Lifecycle], seen: Iterable[str] = ()
) -> DrainTarget:
    """What an operator means: a route, by its C{server_name}, a target, by its address, or by its label.

    Case, brackets around an IPv6 address, and the default port do not matter.

    @param seen: addresses of targets that resolvers have answered with.
    @raise UnknownDrainTarget: no route or target has this name; the message says where routes lead.
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
        if key in known or _may_lead(configuration, key):
            return DrainTarget("target", key)
    elif ":" in name:
        try:
            parse_target(name)
        except BadTarget as error:
            raise UnknownDrainTarget(f"{bounded(name)}: {error}") from error
    raise UnknownDrainTarget(_what_there_is(name, configuration))


def _lower(name: str) -> str:
    """A server name as routes have it: in lower case, without a dot at its end."""
    return name.strip().lower().removesuffix(".")


def _may_lead(configuration: Configuration, key: str) -> bool:
    """Whether a connection can fill a route's template so that it leads to this address."""
    for route in all_routes(configuration):
        listeners = [one for one in configuration.listeners if route.listener in (None, one.name)]
        ports = {one.endpoint.port for one in listeners}
        known = {port for port in ports if port}
        for template in templates(route):
            if template.places and template.may_lead(key, _taker(route), known if len(known) == len(ports) else None):
                return True
    return False


def _taker(route: Route) -> Callable[[str], bool] | None:
    """Whether a route takes a server name. None: it takes all that no other route does."""
    if route.server_name == DEFAULT:
        return None
    table = RouteTable([route])
    return lambda name: table.match(name, route.listener or "") is not None


def _what_there_is(name: str, configuration: Configuration) -> str:
    """The error: nothing matches the name; lists the first routes with their targets."""
    routes = all_routes(configuration)
    said = []
    for route in routes[:MAX_ROUTES]:
        texts = [str(template) for template in templates(route)]
        where = ", ".join(texts[:MAX_TARGETS]) + (", ..." if len(texts) > MAX_TARGETS else "")
        said.append(f"route {route.server_name} leads to {where or route.resolver.title}")
    if len(routes) > MAX_ROUTES:
        said.append(f"and {counted(len(routes) - MAX_ROUTES, 'more route')}")
    why = "no route has this name, and no route leads to such a target"
    return f"{bounded(name)}: {why}; {'; '.join(said) or 'there is no route'}"


class Drains:
    """All that are in force, until they are undone or the program ends.

    @param live: the connections that have not ended. @param now: seconds since 1970.
    @param dice: for jitter, and for whose turn it is.
    """

    def __init__(
        self,
        reactor: Any,
        standing: UpstreamTable,
        live: Callable[[], Iterable[Lifecycle]],
        now: Callable[[], float],
        dice: random.Random | None = None,
    ) -> None:
        self._reactor = reactor
        self._standing = standing
        self._live = live
        self._now = now
        self._dice = dice or random.Random()
        self._drains: dict[DrainTarget, _Drain] = {}

    def begin(self, goal: DrainTarget, rate: float) -> DrainStatus:
        """Drain it; one that is drained already goes on at the new rate. @param rate: tunnels a second."""
        drain = self._drains.get(goal)
        if drain is None:
            drain = self._drains[goal] = _Drain(goal, rate, self._now())
            self._standing.drain(goal)
        drain.rate = rate
        self._later(drain, self._pause(drain))
        tunnels = counted(len(self._left(goal)), "connection")
        log.info("draining {goal} at {rate:g} a second: {tunnels}", goal=str(goal), rate=rate, tunnels=tunnels)
        return self._status(drain)

    def undo(self, name: str) -> DrainStatus:
        """It gets new connections again. @return: how far it had come. @raise UnknownDrainTarget: it is not drained."""
        names = {name, _lower(name), _address(name)}
        goal = next((goal for goal in self._drains if goal.name in names), None)
        if goal is None:
            drained = ", ".join(map(str, self._drains)) or "nothing"
            raise UnknownDrainTarget(f"{bounded(name)} is not being drained; what is: {drained}")
        drain = self._drains.pop(goal)
        self._cancel(drain)
        status = self._status(drain)
        self._standing.undrain(goal)
        log.info("no longer draining {goal}: {closed} closed", goal=str(goal), closed=drain.closed)
        return status

    def stop(self) -> None:
        """End no more: the proxy is stopping, and ends all of them itself."""
        for drain in self._drains.values():
            self._cancel(drain)

    def status(self) -> list[DrainStatus]:
        """All of them, in the order in which they began."""
        return [self._status(drain) for drain in self._drains.values()]

    def _look(self, drain: _Drain) -> tuple[int, list[str]]:
        """How many connections are left, and the clients of some; with many connections at most one second old."""
        now = self._reactor.seconds()
        if drain.looked is None or now - drain.looked[0] >= FRESH:
            left = self._left(drain.goal)
            seen = drain.looked = now, len(left), [life.record.client for life in left[:MAX_NAMED]]
            if len(left) <= FEW:
                drain.looked = None
            return seen[1:]
        return drain.looked[1:]

    def _left(self, goal: DrainTarget) -> list[Lifecycle]:
        return [life for life in self._live() if goal.has(life.record.route, life.target)]

    def _status(self, drain: _Drain) -> DrainStatus:
        left, clients = self._look(drain)
        goal = drain.goal
        refused = self._standing.refused_count(goal)
        return DrainStatus(goal.kind, goal.name, drain.since, drain.rate, drain.closed, refused, left, clients)

    def _step(self, drain: _Drain) -> None:
        drain.timer = None
        if not drain.waiting:
            drain.waiting = [life for life in self._left(drain.goal) if life.tunnelling]
            self._dice.shuffle(drain.waiting)
        wanted = max(1, round(drain.rate * MIN_INTERVAL_S))
        ending = Ending(Result.DRAINED, f"{drain.goal} is being drained")
        while drain.waiting and wanted:
            life = drain.waiting.pop()
            if not life.ended:
                life.end(ending)
                drain.closed += 1
                wanted -= 1
        self._later(drain, self._pause(drain) if drain.waiting else max(IDLE_S, self._pause(drain)))

    def _pause(self, drain: _Drain) -> float:
        return max(1 / drain.rate, MIN_INTERVAL_S) * self._dice.uniform(0.5, 1.5)

    def _later(self, drain: _Drain, seconds: float) -> None:
        self._cancel(drain)
        drain.timer = self._reactor.callLater(seconds, self._step, drain)

    def _cancel(self, drain: _Drain) -> None:
        if drain.timer is not None and drain.timer.active():
            drain.timer.cancel()
        drain.timer = None


def _address(name: str) -> str:
    """A target's address, however it is written; empty: it is none."""
    try:
        return address(parse_target(name))
    except BadTarget:
        return ""
