"""The state of targets: their connections, drains, health checks and ejection. Pure.

A reload keeps it. Targets that clients' names form are not tracked: clients could form any number of them, and make the
proxy check any host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import attrs

from sniproxy.interfaces import Target
from sniproxy.routing.health import Health
from sniproxy.routing.targetstats import TargetStats, TargetStatsTable, address

MAX_UPSTREAMS = 10_000
"""Targets that are tracked; further answers of resolvers are not."""

FORGET_S = 600.0
"""Seconds after the last resolver answer with a target until it is no longer tracked."""


class TargetState(NamedTuple):
    """The state of a target, for people. Times are the reactor's.

    @ivar state: as L{Upstream.state}, or ``unchecked``: nothing has told yet whether it is up.
    @ivar since: when this state began. None: unknown. @ivar checked: the last health check. None: there was none.
    @ivar why: why the last check or connect failed; empty: it succeeded.
    """

    state: str
    since: float | None
    checked: float | None
    why: str


@attrs.frozen
class DrainTarget:
    """A route or a target to drain.

    @ivar kind: ``route`` or ``target``. @ivar name: a route's name, or a target's address or label.
    """

    kind: str
    name: str

    def has(self, route: str | None, target: Target | None) -> bool:
        """Whether it includes a connection of this route to this target. None: not chosen yet."""
        if self.kind == "route":
            return self.name == route
        return target is not None and self.name in (address(target), target.label)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@attrs.define
class Upstream:
    """A tracked target. Times are the reactor's.

    @ivar server_name: the server name of its TLS checks. None: none is sent.
    @ivar seen: when a resolver last answered with it. None: the configuration names it.
    @ivar up: by health checks. @ivar streak: consecutive checks with the opposite result.
    @ivar checked: whether it has been checked; the first check decides alone.
    @ivar failures: consecutive failed connects. @ivar until: the end of its ejection.
    @ivar why: why the last check or connect failed; empty: it succeeded.
    @ivar changed: when a check or an ejection last changed its state. None: none has.
    @ivar checked_at: the last health check. None: there was none.
    """

    target: Target
    server_name: str | None
    seen: float | None
    up: bool = True
    streak: int = 0
    failures: int = 0
    until: float = 0.0
    why: str = ""
    checked: bool = False
    changed: float | None = None
    checked_at: float | None = None

    def state(self, now: float) -> str:
        """``up``, ``down`` by health checks, or ``ejected`` after failed connects."""
        return "down" if not self.up else "ejected" if now < self.until else "up"


class UpstreamTable:
    """Tracks targets. @ivar known: by address. @ivar stats: counts of all targets, tracked or not.

    @ivar answered: addresses in resolvers' answers, the latest at the end.
    """

    def __init__(self) -> None:
        self.health = Health()
        self.known: dict[str, Upstream] = {}
        self.answered: dict[str, None] = {}
        self.plaintext: set[str] = set()
        """Addresses of the targets of plaintext listeners."""
        self.headers: dict[str, bytes] = {}
        """By address: the PROXY protocol header that a TLS check sends before its hello."""
        self.stats = TargetStatsTable()
        self._drained: dict[DrainTarget, int] = {}

    def add_connection(self, target: Target) -> None:
        """Count a connection that dials a target."""
        self.stats.add_connection(target)

    def adopt_connection(self, target: Target, bytes_up: int, bytes_down: int) -> None:
        """Count a connection that another process has dialled. That process has counted its bytes so far."""
        self.stats.adopt_connection(target, bytes_up, bytes_down)

    @property
    def all_alike(self) -> bool:
        """Whether no drain and no health of targets has to be considered."""
        return not (self._drained or self.known or self.health.check is not None or self.health.eject)

    def add_planned(self, key: str) -> TargetStats:
        """Count a connection to the only target of its route: L{record_answer} and L{add_connection} in one.

        Call it only if targets are L{all_alike}. @param key: L{address} of the target. @return: its counts.
        """
        self._remember(key)
        return self.stats.add_planned(key)

    def remove_connection(self, target: Target, bytes_up: int = 0, bytes_down: int = 0) -> None:
        """Stop counting a connection of a target. @param bytes_up: to the target. @param bytes_down: to the client."""
        self.stats.remove_connection(target, bytes_up, bytes_down)

    def connections(self, target: Target) -> int:
        """The number of connections that dial or use a target."""
        return self.stats.connections(target)

    def drain(self, goal: DrainTarget) -> None:
        """Stop sending new connections to a route or target."""
        self._drained.setdefault(goal, 0)

    def undrain(self, goal: DrainTarget) -> None:
        """Send new connections to it again."""
        self._drained.pop(goal, None)

    def refused_count(self, goal: DrainTarget) -> int:
        """The number of new connections that it would have got without the drain."""
        return self._drained.get(goal, 0)

    def usable(self, route: str | None, targets: Sequence[Target]) -> list[Target]:
        """The targets that are not drained. Empty: the route is drained, or all its targets are."""
        if not self._drained:
            return list(targets)
        found = []
        for number, target in enumerate(targets):
            goal = next((goal for goal in self._drained if goal.has(route, target)), None)
            if goal is None:
                found.append(target)
            elif number == 0:  # the round robin choice
                self._drained[goal] += 1
        return found

    def reconfigure(
        self,
        health: Health,
        written: Iterable[tuple[Target, str | None]],
        plaintext: Iterable[Target] = (),
        headers: Mapping[Target, bytes] | None = None,
    ) -> None:
        """Apply a configuration.

        @param written: the targets that it names, each with the server name of its TLS checks.
        @param plaintext: the targets of plaintext listeners, which get no TLS checks.
        @param headers: what TLS checks of a target send before their hello.
        """
        self.health = health
        self.plaintext = {address(target) for target in plaintext}
        self.headers = {address(target): header for target, header in (headers or {}).items()}
        named = {address(target): Upstream(target, name, None) for target, name in written}
        kept = {key: known for key, known in self.known.items() if key in named or known.seen is not None}
        self.known = {**named, **kept}
        for key, known in self.known.items():
            if key in named:
                known.server_name, known.seen = named[key].server_name, None
            if health.check is None:  # no check would set it up again
                known.up, known.streak, known.checked = True, 0, False
                known.changed = known.checked_at = None

    def record_answer(
        self,
        targets: Iterable[Target],
        server_name: str | None,
        now: float,
        *,
        plaintext: bool = False,
        header: bytes = b"",
        route: str | None = None,
    ) -> None:
        """Record a resolver's answer for a name. @param plaintext: for a client of a plaintext listener.

        @param header: what TLS checks of these targets send before their hello.
        @param route: the name of the route. None: the configuration names its targets.
        """
        for target in targets:
            self._remember(address(target))
            self.stats.record_answer(target, now, server_name, route)
        if self.health.check is None and not self.health.eject:
            return
        for target in targets:
            known = self.known.get(address(target))
            if known is not None:
                if known.seen is not None:
                    known.seen, known.target = now, target  # its addresses may have changed
            elif not target.client_formed and len(self.known) < MAX_UPSTREAMS:
                self.known[address(target)] = Upstream(target, server_name, now)
            if plaintext and address(target) in self.known:
                self.plaintext.add(address(target))
            if header and address(target) in self.known:
                self.headers[address(target)] = header

    def _remember(self, key: str) -> None:
        """Move a target to the end of L{answered}, and drop the first one if there are too many."""
        self.answered.pop(key, None)
        self.answered[key] = None
        if len(self.answered) > MAX_UPSTREAMS:
            del self.answered[next(iter(self.answered))]

    def forget(self, now: float) -> None:
        """Remove targets that no resolver has answered with for L{FORGET_S}."""
        old = [key for key, known in self.known.items() if known.seen is not None and now - known.seen > FORGET_S]
        for key in old:
            del self.known[key]
            self.plaintext.discard(key)
            self.headers.pop(key, None)

    def order(self, targets: Sequence[Target], least_connections: bool, now: float) -> list[Target]:
        """The order in which to dial targets. Targets that are down come last: if all are down, all are tried.

        @param targets: in round robin order.
        @param least_connections: order by connections per weight, the fewest first.
        """
        found = list(targets)
        if len(found) > 1:
            if least_connections:
                found.sort(key=lambda one: self.connections(one) / one.weight if one.weight > 0 else float("inf"))
            if self.known:
                found.sort(key=lambda one: self.state(one, now) != "up")
        return found

    def state(self, target: Target, now: float) -> str:
        """As L{Upstream.state}; a target that is not tracked is up."""
        known = self.known.get(address(target))
        return "up" if known is None else known.state(now)

    def describe(self, key: str, now: float) -> TargetState:
        """The state of a target, for people. @param key: its address."""
        known, stats, health = self.known.get(key), self.stats.known.get(key), self.health
        why = "" if stats is None else stats.why
        if known is None or (health.check is None and not health.eject):
            return TargetState("unchecked", None, None, why)
        state = known.state(now)
        if state == "up" and health.check is not None and not known.checked:
            return TargetState("unchecked", None, None, why)
        since = known.changed
        if state == "up" and known.until:
            since = max(known.until, since or 0.0)
        return TargetState(state, since, known.checked_at, known.why)

    def record_success(self, target: Target, seconds: float, now: float) -> None:
        """Record a successful connect. @param seconds: that it took."""
        self.stats.find(target).record_connect(seconds, now)
        if not self.known:  # the usual case: no target is tracked
            return
        known = self.known.get(address(target))
        if known is not None:
            if known.until:
                known.changed = min(known.until, now)
            known.failures, known.until = 0, 0.0
            if self.health.check is None:
                known.why = ""

    def record_failure(self, target: Target, why: str, now: float, kind: str = "failed") -> bool:
        """Record a failed connect. @param kind: see L{sniproxy.routing.targetstats}. @return: whether it ejects it."""
        self.stats.find(target).record_failure(kind, why, now)
        known = self.known.get(address(target))
        if known is None or not self.health.eject:
            return False
        known.failures, known.why = known.failures + 1, why
        if known.failures < self.health.fall or now < known.until:
            return False
        known.until, known.changed = now + self.health.eject, now
        return True

    def record_check(self, known: Upstream, why: str, now: float) -> bool:
        """Record a health check. @param why: why it failed; empty: it succeeded. @return: whether the state changed."""
        known.why, known.checked_at = why, now
        if known.changed is None:
            known.changed = now
        good = not why
        needed = 1 if not known.checked else self.health.rise if good else self.health.fall
        known.checked = True
        known.streak = 0 if good == known.up else known.streak + 1
        if known.streak < needed:
            return False
        known.up, known.streak, known.changed = good, 0, now
        if good:
            known.failures, known.until = 0, 0.0
        return True
