"""A resolver that answers as a test scripts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sniproxy.interfaces import IServerNameResolver, IWatchingResolver, Request, Resolution, Target, WatchState
from sniproxy.routing.brokernames import BrokerName, IBrokerDirectory

PUBLIC = "public"


def request(name: str | None = "a.test", peer: str = "192.0.2.7:1", listener: str = PUBLIC) -> Request:
    """A request of a connection."""
    return Request(name, (), peer, listener, port=4443)


def answer(host: str = "b.test", ttl: float | None = 10.0) -> Resolution:
    """An answer with one target."""
    return Resolution([Target(host, 6651)], ttl)


@implementer(IServerNameResolver)
class Scripted:
    """A resolver without a source.

    @ivar asked: all requests so far. @ivar pending: the answers that a test has to fire.
    @ivar cancelled: how many answers were cancelled.
    @ivar script: what the next calls return or raise. Empty: they return a Deferred.
    """

    def __init__(self, *script: Any) -> None:
        self.asked: list[Request] = []
        self.pending: list[Deferred[Any]] = []
        self.cancelled = 0
        self.script = list(script)

    def resolve(self, request: Request) -> Any:
        self.asked.append(request)
        if self.script:
            said = self.script.pop(0)
            if isinstance(said, Exception):
                raise said
            return said
        later: Deferred[Any] = Deferred(self._cancelled)
        self.pending.append(later)
        return later

    def _cancelled(self, later: Deferred[Any]) -> None:
        self.cancelled += 1


@implementer(IWatchingResolver)
class Watching(Scripted):
    """@ivar started: the callback for changes. @ivar ending: what C{stop} returns."""

    started: Callable[[], None] | None = None
    stopped = 0
    ending: Any = None
    says = WatchState("3 brokers", "a\nb")

    def start(self, changed: Callable[[], None]) -> None:
        assert self.started is None
        self.started = changed

    def stop(self) -> Any:
        self.stopped += 1
        return self.ending

    def state(self) -> WatchState:
        return self.says


@implementer(IBrokerDirectory)
class Directory(Watching):
    """A resolver that knows brokers. @ivar names: all names of a broker, by one of its addresses."""

    names: Mapping[tuple[str, int], Sequence[BrokerName]] = MappingProxyType({})

    def names_of(self, host: str, port: int) -> Sequence[BrokerName]:
        return self.names.get((host, port), ())
