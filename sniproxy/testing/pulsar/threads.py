"""A reactor in a thread of its own, for tests without one, and methods that run in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.pollreactor import PollReactor
from twisted.python.failure import Failure

from sniproxy.util.reactor import IReactor

#: Seconds until a call in the reactor's thread fails. Calls take milliseconds.
CALL_TIMEOUT_S = 60.0

P = ParamSpec("P")
T = TypeVar("T")


class _Runs(Protocol):
    runner: Runner


S = TypeVar("S", bound=_Runs)


class Runner:
    """Runs functions in the thread that calls, which is the reactor's."""

    def run(self, function: Callable[[], T]) -> T:
        """Run a function. @return: its result."""
        return function()

    def wait(self, deferred: Callable[[], Deferred[T]], timeout_s: float) -> T:
        """Wait for a Deferred that a function makes. Raises RuntimeError: the reactor's own thread cannot wait."""
        raise RuntimeError("this method blocks, and this is the thread of the cluster's reactor: await saw() instead")


class ReactorThread(Runner):
    """A new reactor in a new thread. Twisted's global reactor is neither used nor installed."""

    def __init__(self) -> None:
        reactor = PollReactor()
        # Twisted has one "I/O thread" for the process, which a test with a reactor of its own may need.
        reactor._registerAsIOThread = False
        self.reactor = cast(IReactor, reactor)
        self._thread = threading.Thread(target=self._run, name="embedded Pulsar cluster", daemon=True)
        self._thread.start()

    def run(self, function: Callable[[], T]) -> T:
        """Run a function in the reactor's thread, and wait for its result; a Deferred is returned unfired."""
        if threading.current_thread() is self._thread:
            return function()
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        self.reactor.callFromThread(call)
        return result.result(CALL_TIMEOUT_S)

    def wait(self, deferred: Callable[[], Deferred[T]], timeout_s: float) -> T:
        """Wait for the result of a Deferred that a function makes in the reactor's thread. Raises TimeoutError."""
        if threading.current_thread() is self._thread:
            return super().wait(deferred, timeout_s)
        result: Future[T] = Future()
        made: list[Deferred[T]] = []

        def start() -> None:
            made.append(maybeDeferred(deferred))
            made[0].addCallbacks(result.set_result, lambda failure: result.set_exception(failure.value))

        self.run(start)
        try:
            return result.result(timeout_s)
        except TimeoutError:
            self.run(made[0].cancel)
            raise

    def stop(self) -> None:
        """Stop the reactor and wait for its thread. Can be repeated."""
        if self._thread.is_alive():
            self.reactor.callFromThread(self.reactor.stop)
            self._thread.join(CALL_TIMEOUT_S)

    def _run(self) -> None:
        reactor = cast(Any, self.reactor)
        reactor.run(installSignalHandlers=False)
        reactor.removeAll()
        reactor.waker.connectionLost(Failure(ConnectionDone()))


def in_reactor(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Make a method run in the thread of its object's ``runner``."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **keys: P.kwargs) -> T:
        return self.runner.run(partial(method, self, *args, **keys))

    return call
