"""Puts the simulated system into the proxy's modules while a world runs.

The reactor, and all that hangs on it, comes by constructor. What remains are names of modules: sockets, random numbers
without a seed, the time of day, threads.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny

from sniproxy.net.lookup import lookups_of
from sniproxy.relay.leaving import end_watch_of
from sniproxy.util.timerwheel import timer_wheel_of
from tests.simulation.moving import NewEnd
from tests.simulation.resolving import LookupThread, ResolverMaker, lookup
from tests.simulation.sockets import SELECT, SOCKET, SimulatedSocket, substitute

if TYPE_CHECKING:
    from tests.simulation.world import World

EXPECTED = ("resolver {name} raised", "resolver of route {route} failed")
"""Beginnings of log lines with a traceback that a faulty resolver causes, as it should."""


@contextmanager
def inside(world: World) -> Iterator[None]:
    """Substitute while a world runs."""
    SimulatedSocket.kernel = world.kernel
    SimulatedSocket.count = 0
    thread = type("Thread", (LookupThread,), {"world": world})
    clock = substitute(time, time=world.time_of_day)
    dice = substitute(random, Random=lambda: Random(f"{world.plan.seed}/dice"))
    names: dict[str, Any] = {
        "sniproxy.net.listener.socket": SOCKET,
        "sniproxy.net.connect.socket": SOCKET,
        "sniproxy.net.sockopts.select": SELECT,
        "sniproxy.relay.leaving.select": SELECT,
        "sniproxy.server.upgrade.receiver.Channel": NewEnd,
        "sniproxy.server.upgrade.receiver.socket": SOCKET,
        "sniproxy.server.connections.time": clock,
        "sniproxy.server.view.time": clock,
        "sniproxy.server.healthchecks.random": dice,
        "sniproxy.server.drain.random": dice,
        "sniproxy.net.lookup.threading": substitute(threading, Thread=thread),
        "sniproxy.net.lookup.system_addresses": lambda host: lookup(world, host),
        "sniproxy.service.raise_descriptor_limit": lambda: world.plan.settings.descriptors,
        "sniproxy.service.gc_paused": nullcontext,
        "sniproxy.service.in_thread": lambda reactor: world.offload,
        "sniproxy.server.resolverset.makers_by_name": lambda: {"simulated": ResolverMaker(world)},
        "sniproxy.connection.handler.start_relay": world.start_relay,
    }
    before: list[tuple[Any, str, Any]] = []

    def close_all(numbers: Sequence[int]) -> None:
        for number in numbers:
            world.kernel.close(number)

    names["sniproxy.server.upgrade.receiver.close_all"] = close_all

    def observe_event(event: Any) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            text = str(event.get("log_format") or event.get("why") or "")
            if not text.startswith(EXPECTED):
                world.fail(f"a traceback in the log: {text}: {traceback_of(failure)}")

    observe: Any = observe_event
    globalLogPublisher.addObserver(observe)
    try:
        for name, value in names.items():
            module, _, attribute = name.rpartition(".")
            place = namedAny(module)
            before.append((place, attribute, getattr(place, attribute)))
            setattr(place, attribute, value)
        yield
    finally:
        for place, attribute, value in before:
            setattr(place, attribute, value)
        globalLogPublisher.removeObserver(observe)
        for per_reactor in (timer_wheel_of, end_watch_of, lookups_of):
            # Its objects refer to their reactor, and so would keep the world.
            per_reactor._found.pop(world.reactor, None)
            per_reactor._last = None


def traceback_of(failure: Failure | None) -> str:
    """The error and the last lines of its traceback."""
    if failure is None:
        return "unknown"
    frames = [f"{name} ({filename.rpartition('/')[2]}:{line})" for name, filename, line, *_ in failure.frames[-3:]]
    return f"{failure.type.__name__ if failure.type else ''}: {failure.value} in {', '.join(frames)}"


class LaterOffload:
    """Runs the work of a reload at once and delivers its result later, as a thread does."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, work: Any, /) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        try:
            deliver = partial(done.callback, work())
        except BaseException:
            deliver = partial(done.errback, Failure())
        self._world.reactor.later(self._world.rng.choice((0.0, 0.01, 0.5)), deliver)
        return done
