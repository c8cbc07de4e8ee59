"""Several questions at once, of which some may be late: what came in time is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def gather(
    reactor: Any, asked: Sequence[Deferred[T]], patience: Callable[[T], float | None]
) -> Deferred[list[T | BaseException | None]]:
    """Wait for all answers, or until the patience that one of them leaves for the others ends.

    @param patience: seconds that the other questions get after this answer. None: as long as they take.
    @return: for each question its answer or its error. None: it did not come in time, and the question is cancelled.
        Cancelling this cancels all questions.
    """
    return _Gathering(reactor, asked, patience).done  # type: ignore[return-value]  # a list is invariant


class _Gathering:
    def __init__(self, reactor: Any, asked: Sequence[Deferred[T]], patience: Callable[[T], float | None]) -> None:
        self._reactor = reactor
        self._asked = list(asked)
        self._patience: Callable[[Any], float | None] = patience
        self._results: list[object] = [None] * len(self._asked)
        self._left = len(self._asked)
        self._timer: Any = None
        self._ended = False
        self.done: Deferred[list[object]] = Deferred(lambda _: self._end())
        if not self._asked:
            self.done.callback([])
        for number, one in enumerate(self._asked):
            one.addBoth(self._came, number)

    def _came(self, result: Any, number: int) -> None:
        if self._ended:
            return
        failed = isinstance(result, Failure)
        self._results[number] = result.value if failed else result
        self._left -= 1
        if not self._left:
            self._finish()
            return
        seconds = None if failed else self._patience(result)
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
        for one in self._asked:
            one.cancel()
