"""Runs blocking work in a daemon thread, which does not delay the end of the program."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.util.reactor import IReactor

T = TypeVar("T")


def in_daemon_thread(reactor: IReactor, work: Callable[[], T]) -> Deferred[T]:
    """The result of the work. Fails with RuntimeError if the system cannot start a thread.

    Cancelling it does not stop the thread; its result is dropped.
    """
    answer: Deferred[T] = Deferred()

    def give(result: Any) -> None:
        if not answer.called:  # cancelled meanwhile
            answer.callback(result)

    def run() -> None:
        result: Any
        try:
            result = work()
        except Exception:
            result = Failure()
        reactor.callFromThread(give, result)

    try:
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError:
        answer.errback()
    return answer
