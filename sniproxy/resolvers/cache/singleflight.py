"""A query in flight, and the connections that wait for its answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from sniproxy.interfaces import Request, Resolution

Waiter = Deferred[Resolution]

CacheKey = tuple[str | None, str, int | None, int | None, tuple[str, ...]]
"""Server name, listener, port, port of a PROXY protocol header, captures. A cached answer may depend on these alone."""


def cache_key_of(request: Request) -> CacheKey:
    """The key of the answer to a request."""
    return request.server_name, request.listener, request.port, request.proxy_protocol_port, request.captures


@attrs.define(eq=False)
class SingleFlight:
    """One query to a resolver, shared by all connections that need its answer.

    @ivar key: by which other connections find this query.
    @ivar cache_key: the cache key of its answer.
    @ivar generation: the cache's generation when the query was sent.
    @ivar refreshes: the cache has an old answer; the query continues when no connection waits any more.
    @ivar peer: address and port of the client that caused the query.
    @ivar asker: the waiter of that client.
    @ivar answer: the resolver's answer.
    @ivar timer: the query's timeout.
    """

    key: Hashable
    cache_key: Hashable
    generation: int
    refreshes: bool
    peer: str = ""
    asker: Waiter | None = None
    answer: Deferred[Any] | None = None
    timer: Any = None
    _waiters: dict[Waiter, tuple[Request, Any]] = attrs.field(factory=dict)
    _moved: dict[Waiter, Waiter] = attrs.field(factory=dict)

    def add_waiter(self, request: Request, on_cancel: Callable[[SingleFlight], None]) -> Waiter:
        """Wait for the answer. @param on_cancel: called when this waiter is cancelled."""

        def cancelled(waiter: Waiter) -> None:
            if waiter in self._moved:
                self._moved[waiter].cancel()
            elif waiter in self._waiters:
                self.remove_waiter(waiter)
                on_cancel(self)

        waiter: Waiter = Deferred(cancelled)
        self._waiters[waiter] = (request, None)
        return waiter

    def set_timer(self, waiter: Waiter, timer: Any) -> None:
        """Give a waiter a timer of its own, which is cancelled when the waiter is removed."""
        self._waiters[waiter] = (self._waiters[waiter][0], timer)

    def remove_waiter(self, waiter: Waiter) -> Request:
        """Remove a waiter and cancel its timer. @return: its request."""
        request, timer = self._waiters.pop(waiter)
        if timer is not None and timer.active():
            timer.cancel()
        return request

    def move_waiter(self, waiter: Waiter, other: Waiter) -> None:
        """Let a removed waiter wait for another answer. Cancelling the waiter cancels C{other}."""
        self._moved[waiter] = other
        other.addBoth(self._fire_moved, waiter)

    def _fire_moved(self, result: Any, waiter: Waiter) -> None:
        del self._moved[waiter]
        waiter.callback(result)

    def waiters(self) -> list[Waiter]:
        """All that wait for the answer."""
        return list(self._waiters)

    def cancel_timer(self) -> None:
        """Cancel the query's timeout."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()

    def cancel(self) -> None:
        """Cancel the query."""
        self.cancel_timer()
        if self.answer is not None:
            self.answer.cancel()
