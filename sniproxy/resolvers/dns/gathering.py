"""Waits for several lookups, but only a limited time for those that are late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")


def gather(
    reactor: IReactorTime, lookups: Sequence[Deferred[T]], grace: Callable[[T], float | None]
) -> Deferred[list[T | BaseException | None]]:
    """Wait for all lookups, or until the grace period after one of the answers ends.

    @param grace: seconds that an answer leaves the other lookups. None: no limit.
    @return: for each lookup its answer, its error, or None if it was late and has been cancelled. Cancelling the result
        cancels all lookups.
    """
    return _Gathering(reactor, lookups, grace).done  # type: ignore[return-value]  # a list is invariant


class _Gathering:
    def __init__(
        self, reactor: IReactorTime, lookups: Sequence[Deferred[T]], grace: Callable[[T], float | None]
    ) -> None:
        self._reactor = reactor
        self._lookups = list(lookups)
        self._grace: Callable[[Any], float | None] = grace
        self._results: list[object] = [None] * len(self._lookups)
        self._left = len(self._lookups)
        self._timer: Any = None
        self._ended = False
        self.done: Deferred[list[object]] = Deferred(lambda _: self._end())
        if not self._lookups:
            self.done.callback([])
        for number, one in enumerate(self._lookups):
            one.addBoth(self._finish_one, number)

    def _finish_one(self, result: Any, number: int) -> None:
        if self._ended:
            return
        failed = isinstance(result, Failure)
        self._results[number] = result.value if failed else result
        self._left -= 1
        if not self._left:
            self._finish()
            return
        seconds = None if failed else self._grace(result)
        if seconds is None:
            return
        if self._timer is None:
            self._timer = self._reactor.callLater(seconds, self._finish)
        elif self._reactor.seconds() + seconds < self._timer.getTime():
            self._timer.reset(seconds)

    def _finish(self) -> None:
        self._end()
        self.done.callback(self._results)

    def _end(self) -> None:
        self._ended = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for one in self._lookups:
            one.cancel()
