"""The supervisor: starts the workers, restarts those that die, and forwards reload, reopen and stop."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from sniproxy.config.diagnostics.advice import operator_warnings
from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.config.workers import CannotStart, restart_delay
from sniproxy.server.build import build
from sniproxy.server.capability import check_transparent
from sniproxy.server.listeners import raise_descriptor_limit, why_not_listening
from sniproxy.server.statecounts import StateCounts, merge_workers
from sniproxy.server.upgrade.predecessor import Predecessor
from sniproxy.server.upgrade.program import CommandLine, systemd_sockets
from sniproxy.server.workers.admin.endpoint import SupervisorAdmin
from sniproxy.server.workers.beat import HeartbeatMonitor
from sniproxy.server.workers.firstworker import FirstWorker
from sniproxy.server.workers.handover import Handover, Result
from sniproxy.server.workers.post import END, HEARTBEAT, READY, REFUSED, RELOADED, REOPEN, RETIRE, STOP
from sniproxy.server.workers.process import START_TIMEOUT_S, STOP_GRACE_S, Worker, wait_until_ready
from sniproxy.server.workers.processes import Processes
from sniproxy.server.workers.reloads import WorkersReload
from sniproxy.server.workers.replacement import SupervisorReplacement
from sniproxy.server.workers.sockets import KEEP_SOCKETS_S, KeptSockets, available
from sniproxy.server.workers.upgrade import WorkersUpgrade
from sniproxy.util.gcpause import gc_paused
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted

log = Logger()


class Supervisor(Service):
    """Replaces C{sniproxy.service.ProxyService} if C{workers} is more than 1, or was before an upgrade.

    @param text: returns the text of the configuration that was read last.
    @param arguments: for the workers' twistd.
    @param handover: the workers of the program before this one in this process. None: they are to be started.
    @param predecessor: the process without workers that this one replaces. None: it replaces none.
    @ivar configuration: the current one. @ivar warnings: of the one that was read last. @ivar wanted: its workers.
    @ivar admin: the admin endpoint of all workers. @ivar first: takes over from C{predecessor}.
    """

    def __init__(
        self,
        configuration: Configuration,
        reactor: IReactor,
        text: Callable[[], str],
        arguments: Sequence[str],
        handover: Handover | None = None,
        predecessor: Predecessor | None = None,
    ) -> None:
        """@raise ConfigError: the configuration is invalid."""
        self.configuration = configuration
        self.wanted = configuration.workers
        self._reactor = reactor
        self._text = text
        self._arguments = arguments
        kept = {index: KeptSockets(reactor) for index in range(configuration.workers if available else 0)}
        self._processes = processes = Processes(kept=kept)
        self._workers, self._kept, self._pauses = processes.current, processes.kept, processes.pauses
        self._others = processes.others
        self.current_text = self._checked_text = ""
        self._handover = handover
        self._upgrade: WorkersUpgrade | None = None
        self._passed = 0
        self._stopped: Deferred[None] | None = None
        self._at_once = False
        self._beats = HeartbeatMonitor(reactor, lambda: [*self._workers.values(), *processes.retired()])
        self.admin = SupervisorAdmin(reactor, configuration, self._workers.values, processes.old_processes)
        self._reloads = WorkersReload(self, self.admin.state, self._workers.keys)
        self.first = None if predecessor is None else FirstWorker(reactor, self, predecessor)
        self._check(configuration)

    def upgrade_by(
        self,
        command: CommandLine,
        read: Callable[[], Configuration],
        surroundings: Callable[[], tuple[Mapping[str, str], str]],
    ) -> WorkersUpgrade:
        """How to upgrade this program. See L{WorkersUpgrade} and L{SupervisorReplacement}."""
        replacement = SupervisorReplacement(self._reactor, self, command, surroundings)
        self._upgrade = upgrade = WorkersUpgrade(self._reactor, self, command, read, replacement)
        self.admin.state.upgrade = upgrade.upgrade
        return upgrade

    def summary(self) -> str:
        """The state in one line."""
        return f"{len(self._workers)} of {counted(self.configuration.workers, 'worker')}, {self.counts()}"

    def counts(self) -> StateCounts:
        """The connections of the workers, and the failing targets."""
        return merge_workers(one.counts for one in self._workers.values())

    def startService(self) -> None:
        """Start the workers, and wait until all of them listen. Call this before the reactor runs.

        @raise CannotStart: a worker failed; the others were killed.
        @raise CannotListenError: the admin endpoint cannot listen; the workers were killed.
        """
        self.current_text = self._checked_text = self._text()
        raise_descriptor_limit()  # because it keeps the workers' sockets
        if any(one.endpoint.kind == "systemd" for one in self.configuration.entrances):
            self._passed = systemd_sockets(os.environ)
        if self._handover is not None:
            made = partial(Worker, reported=self._reported, ended=self._ended)
            self._processes.adopt(self._reactor, self.admin, self._handover, made, self._start_again)
        elif self.first is None:
            self._start_all()
        try:
            self.admin.start(self.configuration)
        except CannotListenError:
            if self._handover is None:
                self._kill()
            raise
        Service.startService(self)
        self._beats.start()
        if self.first is not None:
            self.first.start()
        else:
            log.info("{workers}: all listening", workers=counted(len(self._workers), "worker"))

    def _start_all(self) -> None:
        try:
            for index in range(self.configuration.workers):
                self._start(index, 0.0)
            failed = wait_until_ready(list(self._workers.values()), START_TIMEOUT_S)
        except OSError as error:
            self._kill()
            raise CannotStart(f"cannot start a worker: {error.strerror}") from error
        if failed is not None:
            self._kill()
            raise CannotStart(failed.error or f"worker {failed.index} did not become ready; see its lines in the log")

    def hand_over(self, result: Result, reload: bool, pid_file: str) -> Handover:
        """What the program that replaces this one in this process must know; see L{Processes.hand_over}."""
        given = self.admin, self.current_text, result, reload, pid_file
        return self._processes.hand_over(self._reactor.seconds(), *given)

    def reload(self, read: Callable[[], Configuration]) -> str | None:
        """Check a configuration, and send it to all workers. See L{WorkersReload.reload}."""
        return self._reloads.reload(read)

    def check(self, read: Callable[[], Configuration]) -> Callable[[bool], None]:
        """Read and check a configuration, and open its admin endpoint.

        @return: uses it for workers that start, if its argument is true; else closes that endpoint.
        @raise ConfigError: it cannot be used.
        """
        if self._stopped is not None:
            raise ConfigError("the proxy is stopping")
        if self.first is not None and self.first.waits:
            raise ConfigError("the process before this one is in charge")
        with gc_paused():
            configuration = read()
            self._check(configuration)
        try:
            change_admin = self.admin.prepare(configuration)
        except CannotListenError as error:
            raise ConfigError(why_not_listening(error)) from error
        text = self._checked_text = self._text()
        self.wanted = configuration.workers

        def use(wanted: bool) -> None:
            if wanted:
                self.configuration, self.current_text = configuration, text
            change_admin(wanted)

        return use

    def current(self) -> list[tuple[Worker, KeptSockets]]:
        """The workers, with the sockets that are kept for them."""
        return [(self._workers[index], kept) for index, kept in sorted(self._kept.items()) if index in self._workers]

    def add_missing(self) -> Iterator[tuple[int, Worker | None]]:
        """Start the workers that the configuration asks for in addition. @return: None: it is started later."""
        for index in self._processes.missing(self.configuration.workers):
            if available:
                self._kept[index] = KeptSockets(self._reactor)
            self._start_again(index, 0.0)
            yield index, self._workers.get(index)

    def retire_surplus(self) -> None:
        """Let workers that the configuration does not ask for accept no more connections."""
        ends = time.time() + self.configuration.timeouts.upgrade_drain
        for worker in self._processes.retire(self.configuration.workers, ends):
            self.admin.replaced(worker)
            worker.send_order(RETIRE)

    def start_successor(self, index: int, kept: KeptSockets, channel: socket.socket) -> Worker:
        """Start a worker that replaces another, with the configuration that was checked last.

        @param kept: its own. @param channel: to the other. @raise OSError: the system refuses.
        """
        worker = Worker(index, self._reactor.seconds(), 0.0, self._reported, self._ended)
        variables = self.admin.drains.environment()
        worker.start(self._reactor, self._arguments, self._checked_text, self._passed, kept, variables, channel)
        self._others[worker] = kept
        self.admin.drains.started(worker, variables)
        return worker

    def promote(self, worker: Worker, kept: KeptSockets) -> None:
        """It is the worker of its index now. The one before keeps the tunnels that it has until it exits.

        If it has exited in the meantime, another one is started.
        """
        old, old_kept = self._workers.pop(worker.index, None), self._kept[worker.index]
        self._others.pop(worker, None)
        self._kept[worker.index] = kept
        if (waiting := self._pauses.pop(worker.index, None)) is not None:
            waiting.cancel()
        if not worker.exited:
            self._workers[worker.index] = worker
            if self._stopped is None and worker.ready:
                self.admin.drains.ready(worker)  # changes of drains did not reach it before
            elif self._stopped is None:  # the old one may have died before it was
                worker.kill_after(self._reactor, START_TIMEOUT_S, "become ready")
        elif self._stopped is None:
            self._later(worker.index, restart_delay(0.0, 0.0))
        old_kept.release()
        if old is None:
            return
        self.admin.replaced(old)
        if old.exited:
            old_kept.close_channel()
        else:
            self._others[old] = old_kept

    def reload_beside(self, read: Callable[[], Configuration]) -> Deferred[str | None]:
        """As L{reload}, at once, because this process carries no traffic; but after an upgrade that is running."""
        idle = succeed(None) if self._upgrade is None else self._upgrade.when_idle()
        return idle.addCallback(lambda _: self.reload(read))

    def stopService(self) -> Deferred[None]:
        """Let all workers drain. @return: fires when they have exited."""
        Service.stopService(self)
        if self.first is not None:
            self.first.stop()
        self.admin.stopping()
        self._beats.stop()
        self._processes.cancel_pauses()
        self._stopped = Deferred()
        self._processes.release()
        self._end_workers(END if self._at_once else STOP)
        if not self._workers and not self._others:
            self._stopped.callback(None)
        # The endpoint shows the drain to its end.
        return self._stopped.addCallback(lambda _: self.admin.close())

    def end_now(self) -> None:
        """End all tunnels at once, during a drain or instead of the next one."""
        self._at_once = True
        if self._stopped is not None:
            self._end_workers(END)

    def reopen_logs(self) -> None:
        """Reopen the logs of all workers, after a log rotation."""
        for worker in (*self._workers.values(), *self._others):  # old ones log their tunnels' ends
            worker.send_order(REOPEN)

    def _check(self, configuration: Configuration) -> None:
        check_transparent(configuration)
        self.admin.built = build(configuration, self._reactor)
        self.warnings = operator_warnings(configuration)

    def tell(self, what: str, text: str = "") -> None:
        """Send an order to all workers."""
        for worker in self._workers.values():
            worker.send_order(what, text)

    def _end_workers(self, what: str) -> None:
        drain = self.configuration.timeouts.drain if what == STOP else 0.0
        for worker in (*self._workers.values(), *self._others):
            worker.kill_after(self._reactor, drain + STOP_GRACE_S, "end")
            worker.send_order(what)

    def _start(self, index: int, waited: float) -> None:
        self._pauses.pop(index, None)
        worker = Worker(index, self._reactor.seconds(), waited, self._reported, self._ended)
        variables = self.admin.drains.environment()
        kept = self._kept.get(index)
        worker.start(self._reactor, self._arguments, self.current_text, self._passed, kept, variables)
        self._workers[index] = worker
        self.admin.drains.started(worker, variables)

    def _start_again(self, index: int, waited: float) -> None:
        try:
            self._start(index, waited)
            self._workers[index].kill_after(self._reactor, START_TIMEOUT_S, "become ready")
        except OSError as error:  # no memory, no process, no descriptor
            log.error("cannot start worker {index}: {why}", index=index, why=error.strerror)
            self._later(index, restart_delay(0.0, waited))

    def _reported(self, worker: Worker, what: str) -> None:
        if what == READY and self._stopped is None:
            worker.cancel_kill()
            self.admin.drains.ready(worker)
        elif what == HEARTBEAT:
            self._beats.answered(worker)
        elif what in (RELOADED, REFUSED):
            self._reloads.answered(worker.index, what)

    def _ended(self, worker: Worker, how: str) -> None:
        other = self._others.pop(worker, None)
        if other is not None:
            other.close_channel()
            other.release()
            self.admin.drains.ended(worker)
        else:
            self.admin.ended(worker)
        if self._workers.get(worker.index) is worker:
            del self._workers[worker.index]
            if worker.index in self._kept:
                self._kept[worker.index].close_channel()
        if self._stopped is not None:
            self._processes.release()
            if not self._workers and not self._others and not self._stopped.called:
                self._stopped.callback(None)
            return
        if other is not None or worker.index in self._workers or worker.index in self._pauses:
            log.info("worker {index} (pid {pid}) of an upgrade {how}", index=worker.index, pid=worker.pid, how=how)
            return
        wait = restart_delay(self._reactor.seconds() - worker.since, worker.pause)
        why, when = f": {worker.error}" if worker.error else "", f"in {wait:g} s" if wait else "at once"
        what = f"worker {worker.index} (pid {worker.pid}) {how}{why}"
        log.error("{what}; restarting it {when}", what=what, when=when)
        self._later(worker.index, wait)

    def _later(self, index: int, wait: float) -> None:
        if wait > KEEP_SOCKETS_S and index in self._kept:
            self._kept[index].release()
        self._pauses[index] = self._reactor.callLater(wait, self._start_again, index, wait)

    def _kill(self) -> None:
        self._stopped = Deferred()
        self._processes.kill()
