"""The resolver and the name servers of a world."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sniproxy.interfaces import (
    IServerNameResolver,
    IWatchingResolver,
    Refused,
    Request,
    Resolution,
    Target,
    Unavailable,
    WatchState,
)
from sniproxy.net.getaddrinfo import Cause, LookupFailed
from tests.simulation.plan import OF_LATE_ANSWERS, PORT, TARGETS

if TYPE_CHECKING:
    from tests.simulation.world import World


class Broken(Exception):
    """A fault of the resolver's own."""


@implementer(IServerNameResolver, IWatchingResolver)
class WorldResolver:
    """Answers late, wrong, never or with an error while the plan has such a fault; otherwise at once or soon."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._changed: Any = lambda: None
        self._stopped = False

    def start(self, changed: Any) -> None:
        self._changed = changed
        self._world.sources.append(self)

    def stop(self) -> Deferred[None] | None:
        self._stopped = True
        return None

    def state(self) -> WatchState:
        return WatchState("simulated")

    def change(self) -> None:
        """The source has changed."""
        if not self._stopped:
            self._changed()

    def resolve(self, request: Request) -> Any:
        world = self._world
        world.queries += 1
        rng = Random(f"{world.plan.seed}/query {world.queries}")
        answer = Resolution([Target(host, PORT) for host in rng.sample(TARGETS, rng.choice((1, 2)))], _ttl(rng))
        fault = rng.choice(_FAULTS) if world.faults.rate("resolver", rng) else ""
        world.note(f"the resolver is asked for {request.server_name}" + (f": {fault}" if fault else ""))
        if fault == "refuses":
            raise Refused("the seed refuses it", rng.choice((0.0, 2.0)))
        if fault == "fails":
            raise Unavailable("the seed fails it")
        if fault == "breaks":
            raise Broken("a fault of the resolver")
        if fault == "wrong":
            return rng.choice((None, "10.1.0.1:6651", Resolution([]), Broken))
        if not fault and rng.random() < 0.5:
            return answer
        return self._later(rng, fault, answer)

    def _later(self, rng: Random, fault: str, answer: Resolution) -> Deferred[Any]:
        deaf = fault in ("never", "deaf")

        def cancel(deferred: Deferred[Any]) -> None:
            self._world.open_queries.pop(deferred, None)
            if deaf:  # it answers although it was cancelled: nobody may use this
                deferred.callback(Resolution([Target(OF_LATE_ANSWERS, PORT)]))

        done: Deferred[Any] = Deferred(cancel)
        self._world.open_queries[done] = self._world.reactor.seconds()

        def fire() -> None:
            self._world.open_queries.pop(done, None)
            if done.called:
                return
            if fault == "fails late":
                done.errback(rng.choice((Unavailable("late"), Refused("late"), Broken("late"))))
            else:
                done.callback("wrong" if fault == "wrong late" else answer)

        if fault != "never":
            late = rng.uniform(0.0, 8.0) if fault in ("late", "deaf") else rng.choice((0.0, 0.01, 0.4))
            self._world.reactor.later(late, fire)
        return done


_FAULTS = ("refuses", "fails", "breaks", "wrong", "late", "never", "deaf", "fails late", "wrong late")


def _ttl(rng: Random) -> float | None:
    return rng.choice((0.0, 0.5, 3.0, None))


class ResolverMaker:
    """The type C{simulated} of the configuration."""

    name = "simulated"
    help = "of the simulated world"

    def __init__(self, world: World) -> None:
        self._world = world

    def make(self, options: Any, reactor: object) -> WorldResolver:
        return WorldResolver(self._world)


class LookupThread:
    """In place of a thread for C{getaddrinfo}: the work is done later, by the reactor. See L{of}."""

    world: World

    def __init__(self, target: Any, args: tuple[Any, ...] = (), daemon: bool = False, name: str = "") -> None:
        self._work = target, args

    def start(self) -> None:
        world = self.world
        world.lookups += 1
        rng = Random(f"{world.plan.seed}/lookup {world.lookups}")
        if world.faults.rate("names", rng):
            if rng.random() < 0.1:
                raise RuntimeError("can't start new thread")
            delay = rng.uniform(0.0, 9.0)
        else:
            delay = rng.choice((0.0, 0.003, 0.1))
        target, args = self._work
        world.reactor.later(delay, lambda: target(*args))


def lookup(world: World, host: str) -> list[str] | LookupFailed:
    """What the name servers know."""
    rng = Random(f"{world.plan.seed}/name {host} {world.lookups}")
    world.note(f"the name {host} is looked up")
    if world.faults.rate("names", rng):
        return LookupFailed(rng.choice((Cause.NO_NAME, Cause.NO_ANSWER, Cause.NO_FILES)), "the seed fails it")
    if host.endswith(".own.internal"):
        return ["10.0.0.1"]
    return rng.sample(TARGETS, rng.choice((1, 2, 5)))
