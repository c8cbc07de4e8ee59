"""A resolver that answers what a test says, when it says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sniproxy.interfaces import IWatchingResolver, Request, Resolution, Target, WatchState

PUBLIC = "public"


def request(name: str | None = "a.test", peer: str = "192.0.2.7:1", listener: str = PUBLIC) -> Request:
    """What a connection asks."""
    return Request(name, (), peer, listener, port=4443)


def answer(host: str = "b.test", ttl: float | None = 10.0) -> Resolution:
    """An answer with one target."""
    return Resolution([Target(host, 6651)], ttl)


class Scripted:
    """@ivar asked: all requests so far. @ivar pending: what it will answer, by a test. @ivar cancelled: how many.

    @ivar script: what it gives or raises at once, next; empty: a Deferred.
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
    """@ivar started: what tells that something has changed. @ivar ending: what its stop waits for."""

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
