"""How the targets of a running proxy stand: their connections, which are drained, which are down. Pure.

It outlives a reload: it is about the targets, not about the configuration that names them. What clients form is not
looked after: they could form any number of targets, and have the proxy knock at any door.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import attrs

from sniproxy.interfaces import Target
from sniproxy.routing.health import Health
from sniproxy.util.names import host_port

MAX_UPSTREAMS = 10_000
"""Targets that are looked after; resolvers may answer with ever new ones."""

FORGET_S = 600.0
"""Seconds after which a target is forgotten that no resolver has answered with."""


def address(target: Target) -> str:
    """What tells targets apart: host and port, whatever their label."""
    return host_port(target.host, target.port)


@attrs.frozen
class DrainTarget:
    """What is drained. @ivar kind: ``route`` or ``target``. @ivar name: a route's, a target's address or its label."""

    kind: str
    name: str

    def has(self, route: str | None, target: Target | None) -> bool:
        """Whether a connection by this route to this target is meant. None: it has none yet."""
        if self.kind == "route":
            return self.name == route
        return target is not None and self.name in (address(target), target.label)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@attrs.define
class Upstream:
    """A target that is looked after.

    @ivar server_name: what a TLS check asks for. None: nothing.
    @ivar seen: when a resolver last answered with it, by the reactor's clock. None: the configuration names it.
    @ivar up: by the checks. @ivar streak: checks in a row that said otherwise.
    @ivar checked: at least once; before that nothing speaks for C{up}, and the first check decides alone.
    @ivar failures: connections in a row that could not be made. @ivar until: it is avoided until then.
    @ivar why: why the last check or connection failed; empty: it did not.
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

    def state(self, now: float) -> str:
        """``up``, ``down`` by the checks, or ``ejected`` for a time after connections failed."""
        return "down" if not self.up else "ejected" if now < self.until else "up"


class UpstreamTable:
    """What is known of targets. @ivar health: how they are looked after. @ivar known: by address.

    @ivar answered: addresses that resolvers have answered with, the last one at the end.
    """

    def __init__(self) -> None:
        self.health = Health()
        self.known: dict[str, Upstream] = {}
        self.answered: dict[str, None] = {}
        self.plaintext: set[str] = set()
        """Addresses of targets that plaintext listeners lead to."""
        self._connections: Counter[str] = Counter()
        self._drained: dict[DrainTarget, int] = {}

    def add_connection(self, target: Target) -> None:
        """One more connection dials this target, or has it."""
        self._connections[address(target)] += 1

    def remove_connection(self, target: Target) -> None:
        """It has it no longer."""
        key = address(target)
        self._connections[key] -= 1
        if self._connections[key] <= 0:
            del self._connections[key]

    def connections(self, target: Target) -> int:
        """How many dial this target, or have it."""
        return self._connections[address(target)]

    def drain(self, goal: DrainTarget) -> None:
        """From now on it gets no new connection."""
        self._drained.setdefault(goal, 0)

    def undrain(self, goal: DrainTarget) -> None:
        """It gets new connections again."""
        self._drained.pop(goal, None)

    def refused_count(self, goal: DrainTarget) -> int:
        """How many new connections it did not get, though it had been its turn."""
        return self._drained.get(goal, 0)

    def usable(self, route: str | None, targets: Sequence[Target]) -> list[Target]:
        """The targets that a new connection may be led to: none, when its route is drained, or all of them are."""
        if not self._drained:
            return list(targets)
        found = []
        for number, target in enumerate(targets):
            goal = next((goal for goal in self._drained if goal.has(route, target)), None)
            if goal is None:
                found.append(target)
            elif number == 0:  # its turn
                self._drained[goal] += 1
        return found

    def reconfigure(
        self,
        health: Health,
        written: Iterable[tuple[Target, str | None]],
        plaintext: Iterable[Target] = (),
    ) -> None:
        """Another configuration is in force.

        @param written: the targets that it names, with what TLS checks ask for.
        @param plaintext: those of plaintext listeners, which no TLS check suits.
        """
        self.health = health
        self.plaintext = {address(target) for target in plaintext}
        named = {address(target): Upstream(target, name, None) for target, name in written}
        kept = {key: known for key, known in self.known.items() if key in named or known.seen is not None}
        self.known = {**named, **kept}
        for key, known in self.known.items():
            if key in named:
                known.server_name, known.seen = named[key].server_name, None
            if health.check is None:  # nobody would ever say that it is up again
                known.up, known.streak, known.checked = True, 0, False

    def record_answer(
        self, targets: Iterable[Target], server_name: str | None, now: float, *, plaintext: bool = False
    ) -> None:
        """A resolver has answered with these, for this name. C{plaintext}: for a client of a plaintext listener."""
        for target in targets:
            key = address(target)
            self.answered.pop(key, None)
            self.answered[key] = None
            if len(self.answered) > MAX_UPSTREAMS:
                del self.answered[next(iter(self.answered))]
        if self.health.check is None and not self.health.eject:
            return
        for target in targets:
            known = self.known.get(address(target))
            if known is not None:
                if known.seen is not None:
                    known.seen, known.target = now, target  # its addresses may be others now
            elif not target.client_formed and len(self.known) < MAX_UPSTREAMS:
                self.known[address(target)] = Upstream(target, server_name, now)
            if plaintext and address(target) in self.known:
                self.plaintext.add(address(target))

    def forget(self, now: float) -> None:
        """Let go of those that no resolver has answered with for long."""
        old = [key for key, known in self.known.items() if known.seen is not None and now - known.seen > FORGET_S]
        for key in old:
            del self.known[key]
            self.plaintext.discard(key)

    def order(self, targets: Sequence[Target], least: bool, now: float) -> list[Target]:
        """The order to dial them in. One that is down comes last, but it comes: when all are down, the checks may err.

        @param targets: in turn. @param least: the one with the fewest connections for its weight comes first.
        """
        found = list(targets)
        if len(found) > 1:
            if least:
                found.sort(key=lambda one: self.connections(one) / one.weight if one.weight > 0 else float("inf"))
            if self.known:
                found.sort(key=lambda one: self.state(one, now) != "up")
        return found

    def state(self, target: Target, now: float) -> str:
        """As L{Upstream.state}; what is not looked after is up."""
        known = self.known.get(address(target))
        return "up" if known is None else known.state(now)

    def record_success(self, target: Target) -> None:
        """A connection has been made."""
        if not self.known:  # the rule: nothing is looked after
            return
        known = self.known.get(address(target))
        if known is not None:
            known.failures, known.until = 0, 0.0

    def record_failure(self, target: Target, why: str, now: float) -> bool:
        """A connection could not be made. @return: for that it is avoided from now on."""
        known = self.known.get(address(target))
        if known is None or not self.health.eject:
            return False
        known.failures, known.why = known.failures + 1, why
        if known.failures < self.health.fall or now < known.until:
            return False
        known.until = now + self.health.eject
        return True

    def record_check(self, known: Upstream, why: str) -> bool:
        """A check is done. @param why: it has failed; empty: it has not. @return: the target has gone up or down."""
        known.why = why
        good = not why
        needed = 1 if not known.checked else self.health.rise if good else self.health.fall
        known.checked = True
        known.streak = 0 if good == known.up else known.streak + 1
        if known.streak < needed:
            return False
        known.up, known.streak = good, 0
        if good:
            known.failures, known.until = 0, 0.0
        return True
