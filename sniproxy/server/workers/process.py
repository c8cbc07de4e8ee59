"""One worker as the supervisor sees it: its process, pipes, reports and exit."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.server.statecounts import StateCounts, decode
from sniproxy.server.upgrade.program import CHANNEL, systemd_variables
from sniproxy.server.workers.admin.link import NoReply, Reply, WorkerLink
from sniproxy.server.workers.adopted import AdoptedProcess
from sniproxy.server.workers.ends import Replaced, describe_end
from sniproxy.server.workers.entrance import STACK_SIGNAL
from sniproxy.server.workers.handover import WorkerState
from sniproxy.server.workers.lines import MAX_LINE_BYTES, STANDARD_ERROR, LogLines, log_worker_line
from sniproxy.server.workers.post import (
    HEARTBEAT,
    READY,
    REFUSED,
    RELOAD,
    RELOADED,
    UPGRADED,
    encode_order,
    environment_of,
)
from sniproxy.server.workers.sockets import KeptSockets
from sniproxy.util.reactor import IReactor

log = Logger()

START_TIMEOUT_S = 60.0
"""Seconds without output after which a start has failed. A restarted worker has this many seconds in all."""

STOP_GRACE_S = 10.0
"""Seconds that a worker has to exit after the drain timeout."""

STACK_DUMP_S = 1.0
"""Seconds that a worker has to dump its stack before it is killed."""

_FIRST_PASSED = 3  # sd_listen_fds(3)


class Worker(ProcessProtocol):
    """A worker's process.

    @param reported: called with each report. @param ended: called with a description of the exit.
    @ivar reloading: it was sent another configuration and has not reported.
    @ivar exited: its process has ended. @ivar ready: it listens.
    @ivar counts: those that it has reported last.
    @ivar error: the error that it exits for; empty if it wrote none.
    @ivar pid: the process id, also after the exit. @ivar since: the reactor's time at its start.
    @ivar pause: seconds that the supervisor waited before it started the worker.
    @ivar ends: when it ends its tunnels, in seconds since 1970, because the configuration has fewer workers now.
        None: it accepts connections.
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
        self.ready = self.reloading = self.exited = False
        self.error = ""
        self.ends: float | None = None
        self.counts = StateCounts()
        self._reported = reported
        self._ended = ended
        self._log = LogLines(self._said, MAX_LINE_BYTES)
        self._reports = LogLines(self._report)
        self._orders = -1
        self._limit: Any = None
        self.pid = 0
        self._link: WorkerLink | None = None
        self._upgraded: Callable[[Replaced], None] | None = None

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def start(
        self,
        reactor: IReactor,
        arguments: Sequence[str],
        text: str,
        passed: int,
        kept: KeptSockets | None = None,
        variables: Mapping[str, str] | None = None,
        upgrade: socket.socket | None = None,
    ) -> None:
        """Start the process.

        @param arguments: for twistd. @param text: the configuration.
        @param passed: number of sockets that systemd passed to this process. The worker inherits them.
        @param kept: listening sockets of its predecessor. None: sockets are not kept.
        @param variables: further ones of its environment.
        @param upgrade: its channel to the worker that it replaces. None: it replaces none.
        @raise OSError: the process cannot be started.
        """
        sockets = range(_FIRST_PASSED, _FIRST_PASSED + passed)
        place_of_text = _FIRST_PASSED + passed
        self._orders, reports, admin = place_of_text + 1, place_of_text + 2, place_of_text + 3
        environment = {
            **os.environ,
            # The worker imports the same modules and plugins, whatever the current directory is.
            "PYTHONPATH": os.pathsep.join(part or os.getcwd() for part in sys.path),
            **environment_of(self.index, place_of_text, self._orders, reports),
            **systemd_variables(passed),
            **(variables or {}),
        }
        with ExitStack() as stack:
            link = WorkerLink(reactor)
            undo = stack.enter_context(ExitStack())
            undo.callback(link.close)
            environment.update(link.environment(admin))
            descriptors: dict[int, int] = {}
            if kept is not None:
                names, descriptors, channel = kept.open_channel(admin + 1)
                stack.enter_context(channel)
                environment.update(names)
            if upgrade is not None:
                first = max((admin, *descriptors)) + 1
                nowhere = stack.enter_context(open(os.devnull, "wb"))  # its standard error is a pipe to this process
                descriptors.update({first: upgrade.fileno(), first + 1: nowhere.fileno()})
                environment[CHANNEL] = f"{first}:{first + 1}"
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
                    admin: link.theirs.fileno(),
                    **descriptors,
                },
            )
            undo.pop_all()
            link.started()
            self._link = link

    def hand_over(self, now: float) -> WorkerState:
        """The process, for the program that replaces this one. @param now: the reactor's time."""
        pipe = self.transport.pipes.get(self._orders)
        limit = self._limit
        return WorkerState(
            self.index,
            self.pid,
            self.transport.status if self.transport.pid is None else None,
            self.since,
            self.pause,
            self.ready,
            self.error,
            self.counts.encode(),
            {number: one.fileno() for number, one in self.transport.pipes.items()},
            self._orders,
            b"" if pipe is None else pipe.dataBuffer[pipe.offset :] + b"".join(pipe._tempDataBuffer),
            self._log.rest,
            self._reports.rest,
            None if self._link is None else self._link.descriptor,
            None if limit is None else (max(limit.getTime() - now, 0.0), str(limit.args[1])),
            self.ends,
        )

    def adopt(self, reactor: IReactor, state: WorkerState) -> None:
        """Watch a process that the program before this one has started."""
        self.ready, self.error, self.ends = state.ready, state.error, state.ends
        self.counts = decode(state.counts) or self.counts
        self._orders = state.orders
        self._log.feed(state.log)
        self._reports.feed(state.reports)
        if state.admin is not None:
            self._link = WorkerLink(reactor, state.admin)
        if state.limit is not None:
            self.kill_after(reactor, *state.limit)
        AdoptedProcess(reactor, state, self)

    def wait_for_upgrade(self, reactor: IReactorTime, seconds: float, answered: Callable[[Replaced], None]) -> None:
        """Call a function once, when the worker says how its upgrade has ended, is ready, has exited, or is late."""
        timer = reactor.callLater(seconds, lambda: self._answer_upgrade(Replaced("it does not answer", late=True)))

        def answer(replaced: Replaced) -> None:
            if timer.active():
                timer.cancel()
            answered(replaced)

        self._upgraded = answer

    @property
    def upgrading(self) -> bool:
        """Whether L{wait_for_upgrade} waits."""
        return self._upgraded is not None

    def _answer_upgrade(self, replaced: Replaced) -> None:
        answer, self._upgraded = self._upgraded, None
        if answer is not None:
            answer(replaced)

    def ask(self, method: str, path: str, timeout: float, max_bytes: int) -> Deferred[Reply]:
        """Send a request to its admin site; see L{WorkerLink.ask}."""
        if self._link is None:
            return fail(NoReply("is starting"))
        return self._link.ask(method, path, timeout, max_bytes)

    def send_order(self, what: str, text: str = "") -> None:
        """Send an order. It is ignored if the worker has closed its pipe, which it does when it exits."""
        if what == RELOAD:
            self.reloading = True
        if self._orders in self.transport.pipes:
            self.transport.writeToChild(self._orders, encode_order(what, text))

    def dump_and_kill(self, reactor: IReactorTime) -> None:
        """Let the worker dump its stack to its log (L{STACK_SIGNAL}), even after a SIGSTOP, then kill it."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(STACK_SIGNAL)
            self.transport.signalProcess(signal.SIGCONT)
        self.kill_after(reactor, STACK_DUMP_S, "end after its stack dump")

    def kill(self) -> None:
        """Kill the worker and wait for its exit. Only while the reactor does not run."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except (ProcessLookupError, ChildProcessError):  # it has exited, and Twisted has reaped it
            pass

    def kill_after(self, reactor: IReactorTime, seconds: float, what: str) -> None:
        """Kill the worker later, unless it exits or L{cancel_kill} is called first. It replaces an earlier call.

        @param what: what it did not do in time, for the log.
        """
        self.cancel_kill()
        self._limit = reactor.callLater(seconds, self._kill_late, seconds, what)

    def cancel_kill(self) -> None:
        """Do not kill it: it has done what L{kill_after} waited for."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _kill_late(self, seconds: float, what: str) -> None:
        self._limit = None
        log.error(
            "worker {index} (pid {pid}) did not {what} within {seconds:g} s: killing it",
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
        self.cancel_kill()
        if self._link is not None:
            self._link.close()
        self._log.end()
        how, self.exited = describe_end(reason.value), True
        self._answer_upgrade(Replaced(f"it {how} during the upgrade", died=True))
        self._ended(self, how)

    def _said(self, line: bytes) -> None:
        error = log_worker_line(self.index, line)
        if error is not None:
            self.error = error

    def _report(self, line: bytes) -> None:
        what, _, text = line.decode("ascii", "replace").partition(" ")
        if what == UPGRADED:
            self._answer_upgrade(Replaced(*json.loads(text)))
            return
        if what == HEARTBEAT:
            self.counts = decode(text) or self.counts
        elif what == READY:
            self.ready = True
            self._answer_upgrade(Replaced(None, in_charge=True))
        elif what in (RELOADED, REFUSED):
            self.reloading = False
        self._reported(self, what)


def wait_until_ready(workers: Sequence[Worker], timeout: float) -> Worker | None:
    """Wait, before the reactor runs, until all workers are ready or one has exited, and log their output.

    @param timeout: seconds without output after which a worker has failed.
    @return: a worker that did not become ready; None if all are ready.
    """
    poll = select.poll()
    readers = {}
    for worker in workers:
        for pipe in worker.transport.pipes.values():
            if hasattr(pipe, "doRead") and pipe.fileno() >= 0:
                readers[pipe.fileno()] = worker, pipe
                poll.register(pipe.fileno(), select.POLLIN)
    while not all(worker.ready for worker in workers):
        found = poll.poll(timeout * 1000)
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
