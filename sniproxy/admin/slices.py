"""Runs long work in slices between iterations of the reactor, so that it delays tunnels by at most one slice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work in steps of about 0.1 ms. The generator yields after each step, and returns the result."""

SLICE_S = 0.0005
"""Seconds of work in one iteration of the reactor, for all pending work together."""


class Slices:
    """Runs the steps of all pending work in turn.

    @param reactor: schedules the slices. @param seconds: a clock to measure a slice.
    """

    def __init__(self, reactor: IReactorTime, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._waiting: deque[tuple[Steps[Any], Deferred[Any]]] = deque()
        self._timer: Any = None

    def run(self, steps: Steps[T]) -> Deferred[T]:
        """Run these steps. @return: fires with their result or exception. Cancel it to drop the work."""
        done: Deferred[T] = Deferred(lambda cancelled: self._drop(cancelled))
        self._waiting.append((steps, done))
        self._schedule()
        return done

    def stop(self) -> None:
        """Cancel all work."""
        for _, done in list(self._waiting):
            done.addErrback(lambda _: None)
            done.cancel()

    def _schedule(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._reactor.callLater(0, self._run_slice)

    def _run_slice(self) -> None:
        self._timer = None
        until = self._seconds() + SLICE_S
        while self._waiting:
            steps, done = self._waiting.popleft()
            try:
                next(steps)
            except StopIteration as stop:
                done.callback(stop.value)
            except Exception:
                done.errback(Failure())
            else:
                self._waiting.append((steps, done))
            if self._seconds() >= until:
                break
        self._schedule()

    def _drop(self, cancelled: Deferred[Any]) -> None:
        for one in [one for one in self._waiting if one[1] is cancelled]:
            self._waiting.remove(one)
            one[0].close()
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None


def finish(steps: Steps[T]) -> T:
    """Run all steps now. @return: their result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
