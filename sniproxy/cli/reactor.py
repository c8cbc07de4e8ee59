"""Runs the coroutine of a command in the global reactor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.util.reactor import IReactor, global_reactor


def installed_reactor() -> IReactor:
    """The reactor of this process, for what needs one to be built, and is never started."""
    return global_reactor()


def run_in_reactor(command: Callable[[IReactor], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine to its end. Raises its exception. Ctrl-C cancels it.

    @param command: called with the running reactor. @return: its result, or L{INTERRUPTED} after Ctrl-C.
    """
    reactor = global_reactor()
    results: list[int | Failure] = []
    stopping = False

    def finish(result: int | Failure) -> None:
        if not stopping:
            results.append(result)
            reactor.stop()

    def start() -> None:
        running = Deferred.fromCoroutine(command(reactor))
        running.addBoth(finish)
        reactor.addSystemEventTrigger("before", "shutdown", cancel, running)

    def cancel(running: Deferred[None]) -> None:
        nonlocal stopping
        stopping = True
        running.cancel()

    reactor.callWhenRunning(start)
    reactor.run()
    if not results:
        return INTERRUPTED
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]
