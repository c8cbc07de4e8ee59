"""Queries that wait until a resolver has heard from its cluster."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Waiters:
    """Deferreds that fire together. A cancelled one is forgotten."""

    def __init__(self) -> None:
        self._waiting: deque[Deferred[None]] = deque()

    def wait(self) -> Deferred[None]:
        """@return: fires at the next L{release}."""
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def release(self) -> None:
        """Fire all that wait now. The callback of one may cancel another, or wait again for the next release."""
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            waiting.popleft().callback(None)
