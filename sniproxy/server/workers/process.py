"""One worker as its supervisor sees it: a process, what it says, and its end."""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.server.workers.entrance import STACK_SIGNAL
from sniproxy.server.workers.lines import MAX_LINE_BYTES, STANDARD_ERROR, LogLines, relay
from sniproxy.server.workers.post import READY, REFUSED, RELOAD, RELOADED, order, place
from sniproxy.server.workers.sockets import KeptSockets

log = Logger()

STACK_S = 1.0
"""Seconds that a worker has to write its stack before it is killed."""

_FIRST_PASSED = 3  # sd_listen_fds(3)


class Worker(ProcessProtocol):
    """A worker's process.

    @param reported: told of what it reports. @param ended: told of its end.
    @ivar reloading: it was given another configuration, and has not reported.
    @ivar ready: it listens. @ivar error: what it said it ends for; empty: it said nothing.
    @ivar pid: its process's number, also when it has ended. @ivar since: the reactor's time when it was started.
    @ivar pause: seconds that were waited before.
    """

    transport: Any

    def __init__(
        self,
        index: int,
        since: float,
        pause: float,
        reported: Callable[[Worker, str], None],
        ended: Callable[[Worker, str], None],
    ) -> None:
        self.index = index
        self.since = since
        self.pause = pause
        self.ready = self.reloading = False
        self.error = ""
        self._reported = reported
        self._ended = ended
        self._log = LogLines(self._said, MAX_LINE_BYTES)
        self._reports = LogLines(self._report)
        self._orders = -1
        self._limit: Any = None
        self.pid = 0

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def start(
        self, reactor: Any, arguments: Sequence[str], text: str, passed: int, kept: KeptSockets | None = None
    ) -> None:
        """Start the process.

        @param arguments: for twistd. @param text: the configuration.
        @param passed: sockets that systemd passed to this process, and that it gets, too.
        @param kept: listening sockets of the worker before it. None: its own are not kept.
        @raise OSError: it cannot be started.
        """
        sockets = range(_FIRST_PASSED, _FIRST_PASSED + passed)
        place_of_text = _FIRST_PASSED + passed
        self._orders, reports = place_of_text + 1, place_of_text + 2
        environment = {
            **os.environ,
            # It finds what this process finds, plugins too, wherever that was started.
            "PYTHONPATH": os.pathsep.join(part or os.getcwd() for part in sys.path),
            **place(self.index, place_of_text, self._orders, reports),
            **({"LISTEN_FDS": str(passed)} if passed else {}),
        }
        with ExitStack() as stack:
            descriptors: dict[int, int] = {}
            if kept is not None:
                said, descriptors, channel = kept.begin(reports + 1)
                stack.enter_context(channel)
                environment.update(said)
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(text.encode())
            file.flush()
            reactor.spawnProcess(
                self,
                sys.executable,
                [sys.executable, "-P", "-m", "sniproxy.server.workers.entrance", *arguments],
                environment,
                childFDs={
                    0: 0,
                    1: 1,
                    STANDARD_ERROR: "r",
                    **{number: number for number in sockets},
                    place_of_text: file.fileno(),
                    self._orders: "w",
                    reports: "r",
                    **descriptors,
                },
            )

    def tell(self, what: str, text: str = "") -> None:
        """Give it an order. One that is ending has closed its pipe, and needs none."""
        if what == RELOAD:
            self.reloading = True
        if self._orders in self.transport.pipes:
            self.transport.writeToChild(self._orders, order(what, text))

    def dump_and_kill(self, reactor: Any) -> None:
        """Let it write its stack to its log (L{STACK_SIGNAL}), also if it was stopped (SIGSTOP), then kill it."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(STACK_SIGNAL)
            self.transport.signalProcess(signal.SIGCONT)
        self.limit(reactor, STACK_S, "end after it wrote its stack")

    def kill(self) -> None:
        """End it at once, and wait until it has ended. Only while the reactor does not run."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except (ProcessLookupError, ChildProcessError):  # it has ended, and Twisted has seen it
            pass

    def limit(self, reactor: Any, seconds: float, what: str) -> None:
        """Kill it in so many seconds, unless it has ended, or L{unlimit} was called; in place of an earlier limit.

        @param what: what it does not do, for the log.
        """
        self.unlimit()
        self._limit = reactor.callLater(seconds, self._give_up, seconds, what)

    def unlimit(self) -> None:
        """It has done what it was to do."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _give_up(self, seconds: float, what: str) -> None:
        self._limit = None
        log.error(
            "worker {index} (pid {pid}) does not {what} within {seconds:g} s: it is killed",
            index=self.index,
            pid=self.pid,
            what=what,
            seconds=seconds,
        )
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        (self._log if childFD == STANDARD_ERROR else self._reports).feed(data)

    def processEnded(self, reason: Failure) -> None:
        self.unlimit()
        self._log.end()
        self._ended(self, how(reason.value))

    def _said(self, line: bytes) -> None:
        error = relay(self.index, line)
        if error is not None:
            self.error = error

    def _report(self, line: bytes) -> None:
        what = line.decode("ascii", "replace")
        if what == READY:
            self.ready = True
        elif what in (RELOADED, REFUSED):
            self.reloading = False
        self._reported(self, what)


def wait_until_ready(workers: Sequence[Worker], patience: float) -> Worker | None:
    """Wait, before the reactor runs, until all are ready or one has ended, and log what they say.

    @param patience: seconds of silence that are too long.
    @return: one that did not become ready; None: all are.
    """
    poll = select.poll()
    readers = {}
    for worker in workers:
        for pipe in worker.transport.pipes.values():
            if hasattr(pipe, "doRead") and pipe.fileno() >= 0:
                readers[pipe.fileno()] = worker, pipe
                poll.register(pipe.fileno(), select.POLLIN)
    while not all(worker.ready for worker in workers):
        found = poll.poll(patience * 1000)
        if not found:
            return next(worker for worker in workers if not worker.ready)
        for number, _ in found:
            worker, pipe = readers[number]
            if pipe.doRead() is not None:
                poll.unregister(number)
                del readers[number]
                if not any(other is worker for other, _ in readers.values()):
                    return worker
    return None


def how(reason: BaseException | None) -> str:
    """How a process ended."""
    if isinstance(reason, ProcessDone):
        return "ended"
    if isinstance(reason, ProcessTerminated):
        if reason.signal is not None:
            return f"was ended by {signal.Signals(reason.signal).name}"
        return f"ended with status {reason.exitCode}"
    return f"ended: {reason}"
