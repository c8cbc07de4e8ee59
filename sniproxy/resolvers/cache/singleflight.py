"""A question that a resolver has been asked, and who waits for its answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from sniproxy.interfaces import Request, Resolution

Waiter = Deferred[Resolution]


@attrs.define(eq=False)
class SingleFlight:
    """@ivar key: by which others find it. @ivar question: what its answer is kept by.

    @ivar generation: of what was known when it was asked.
    @ivar refreshes: there is an old answer; the question goes on when nobody waits any more.
    @ivar peer: address and port of the client that asked.
    @ivar asker: whose request it was. @ivar answer: the resolver's. @ivar timer: its deadline.
    """

    key: Hashable
    question: Hashable
    generation: int
    refreshes: bool
    peer: str = ""
    asker: Waiter | None = None
    answer: Deferred[Any] | None = None
    timer: Any = None
    _waiting: dict[Waiter, tuple[Request, Any]] = attrs.field(factory=dict)
    _moved: dict[Waiter, Waiter] = attrs.field(factory=dict)

    def wait(self, request: Request, left: Callable[[SingleFlight], None]) -> Waiter:
        """Wait for the answer. @param left: called when one that waited was cancelled."""

        def cancelled(waiter: Waiter) -> None:
            if waiter in self._moved:
                self._moved[waiter].cancel()
            elif waiter in self._waiting:
                self.leave(waiter)
                left(self)

        waiter: Waiter = Deferred(cancelled)
        self._waiting[waiter] = (request, None)
        return waiter

    def limit(self, waiter: Waiter, timer: Any) -> None:
        """Give the wait a timer of its own, which is cancelled with it."""
        self._waiting[waiter] = (self._waiting[waiter][0], timer)

    def leave(self, waiter: Waiter) -> Request:
        """It no longer waits here. @return: what it asked."""
        request, timer = self._waiting.pop(waiter)
        if timer is not None and timer.active():
            timer.cancel()
        return request

    def move(self, waiter: Waiter, other: Waiter) -> None:
        """It waits for another answer now; cancelling it cancels that."""
        self._moved[waiter] = other
        other.addBoth(self._pass, waiter)

    def _pass(self, result: Any, waiter: Waiter) -> None:
        del self._moved[waiter]
        waiter.callback(result)

    def waiting(self) -> list[Waiter]:
        """Who waits."""
        return list(self._waiting)

    def end(self) -> None:
        """No deadline any more."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()

    def cancel(self) -> None:
        """The resolver need not answer any more."""
        self.end()
        if self.answer is not None:
            self.answer.cancel()
