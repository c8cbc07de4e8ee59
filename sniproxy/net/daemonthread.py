"""Work that blocks, in a daemon thread of its own, for which a program that ends does not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def in_daemon_thread(reactor: Any, work: Callable[[], T]) -> Deferred[T]:
    """What the work returns or raises. It fails with RuntimeError when the system can start no thread.

    Cancelling it leaves the thread to itself.
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
