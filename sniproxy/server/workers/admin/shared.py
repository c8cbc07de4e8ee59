"""Shares the answer to equal requests that wait at the same time, and bounds the number of different ones."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.admin.query import ErrorAnswer

MAX_PENDING = 16
"""Maximum of different requests that are being answered."""


class SharedAnswers:
    """The answers that are being made, by request."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Deferred[bytes]]] = {}

    def get(self, request: str, make: Callable[[], Coroutine[Any, Any, bytes]]) -> Deferred[bytes]:
        """The answer to a request. If a client leaves, others that wait for the same answer are unaffected.

        @param make: makes the answer, unless it is being made already.
        @raise ErrorAnswer: 503: L{MAX_PENDING} others are being made.
        """
        first = request not in self._waiting
        if first and len(self._waiting) >= MAX_PENDING:
            raise ErrorAnswer(503, "too many requests wait for the workers: try again")
        done: Deferred[bytes] = Deferred()
        self._waiting.setdefault(request, []).append(done)
        if first:
            Deferred.fromCoroutine(make()).addBoth(self._deliver, request)
        return done

    def _deliver(self, result: bytes | Failure, request: str) -> None:
        for done in self._waiting.pop(request):
            if not done.called:
                done.callback(result)
