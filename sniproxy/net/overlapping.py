"""Schedules the attempts at several targets: one after the other, or overlapping if time is short."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from sniproxy.interfaces import Target

ATTEMPT_DELAY_S = 0.25
"""Seconds before the next address of a host is tried in parallel (RFC 8305, section 5)."""

MIN_ATTEMPT_S = 1.0
"""Minimum seconds for a target, if that many are left, and for a socket before another may replace it: a lost SYN is
sent again after one second (RFC 6298, section 2)."""

MIN_PAUSE_S = 0.05
"""Minimum seconds between the starts of two overlapping attempts."""

T = TypeVar("T")


def times(left: float, count: int) -> tuple[float, float]:
    """Seconds for the next target, and seconds until the target after it starts.

    @param left: seconds for all targets. @param count: targets that have not started.
    """
    share = left / count
    if share >= MIN_ATTEMPT_S or count == 1:
        return share, share
    length = min(MIN_ATTEMPT_S, left)
    return length, max((left - length) / (count - 1), MIN_PAUSE_S)


class Overlapping(Generic[T]):
    """Starts attempts at targets in order until one succeeds, then cancels the others.

    The next target starts when the one before has failed or used its time.

    @param seconds: for all targets together.
    @param begin: starts an attempt of at most this many seconds.
    @param failed: called with each failed attempt. An exception from it ends the dial and is the result.
    @ivar result: the first target that succeeded, with its attempt's result. None: all failed, or the time is up.
        Cancelling it cancels all attempts.
    @ivar untried: the number of targets that have not started.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        targets: Sequence[Target],
        seconds: float,
        begin: Callable[[Target, float], Deferred[T]],
        failed: Callable[[Target, Failure], None],
    ) -> None:
        self._reactor = reactor
        self._waiting = deque(targets)
        self._until = reactor.seconds() + seconds
        self._begin = begin
        self._failed = failed
        self._running: set[Deferred[T]] = set()
        self._timer: Any = None
        self._beginning = False
        self.result: Deferred[tuple[Target, T] | None] = Deferred(lambda _: self._stop())
        self._next(first=True)

    @property
    def untried(self) -> int:
        return len(self._waiting)

    def _next(self, first: bool = False) -> None:
        """Start the next target, and further ones while they fail at once."""
        self._stop_timer()
        while self._waiting and not self.result.called:
            left = self._until - self._reactor.seconds()
            if left <= 0 and not first:
                break
            length, pause = times(max(left, 0.0), len(self._waiting))
            first = False
            attempt = self._attempt(self._waiting.popleft(), length)
            if attempt in self._running:
                if self._waiting and pause < length:
                    self._timer = self._reactor.callLater(pause, self._next)
                return
        if not self._running and not self.result.called:
            self.result.callback(None)

    def _attempt(self, target: Target, length: float) -> Deferred[T]:
        def succeeded(made: T) -> None:
            self._running.discard(attempt)
            self._stop()
            self.result.callback((target, made))

        def failed(failure: Failure) -> None:
            self._running.discard(attempt)
            if failure.check(CancelledError):
                return
            try:
                self._failed(target, failure)
            except Exception:
                self._stop()
                self.result.errback()
            if not self._beginning:
                self._next()

        self._beginning = True
        try:
            attempt = self._begin(target, length)
        except Exception:
            attempt = fail()
        self._running.add(attempt)
        attempt.addCallbacks(succeeded, failed)
        self._beginning = False
        return attempt

    def _stop(self) -> None:
        self._stop_timer()
        self._waiting.clear()
        running, self._running = self._running, set()
        for attempt in running:
            attempt.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
