"""Runs work in a thread beside the reactor, or at once, so that one coroutine serves both.

The threads are daemons, and not Twisted's: a program that ends does not wait for them.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure

from sniproxy.util.reactor import IReactor

T = TypeVar("T")

FREED = 500
"""Objects that L{free} drops at a time: less than a millisecond."""


class Offload(Protocol):
    """Runs work. @return: the work's value; it raises what the work raises."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


async def at_once(work: Callable[[], T], /) -> T:
    """Run work in this thread."""
    return work()


def in_thread(reactor: IReactor) -> Offload:
    """Run work in a new thread each time. The work must not use the reactor, but see L{in_reactor_thread}."""

    def offload(work: Callable[[], T], /) -> Awaitable[T]:
        done: Deferred[T] = Deferred()

        def run() -> None:
            try:
                deliver = partial(done.callback, work())
            except BaseException:  # the waiting coroutine gets it
                deliver = partial(done.errback, Failure())
            reactor.callFromThread(deliver)

        threading.Thread(target=run, name="sniproxy-offload", daemon=True).start()
        return done

    return offload


def in_reactor_thread(reactor: IReactor, work: Callable[[], T]) -> T:
    """Run work in the main thread, which is the reactor's, and wait for it."""
    if threading.current_thread() is threading.main_thread():
        return work()
    found: T = blockingCallFromThread(reactor, work)
    return found


def free(objects: list[object]) -> None:
    """Empty a list, a few objects at a time, so that other threads run while many objects are freed."""
    while objects:
        del objects[-FREED:]


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but L{at_once}, and return its value."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise RuntimeError("the coroutine waits")
