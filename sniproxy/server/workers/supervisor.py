"""The supervisor: starts the workers, restarts those that die, and forwards reload, reopen and stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sniproxy.config.diagnostics.advice import operator_warnings
from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.config.workers import CannotStart, for_worker, restart_delay
from sniproxy.server.build import build
from sniproxy.server.capability import check_transparent
from sniproxy.server.listeners import raise_descriptor_limit
from sniproxy.server.workers.beat import HeartbeatMonitor
from sniproxy.server.workers.post import END, HEARTBEAT, READY, REFUSED, RELOAD, RELOADED, REOPEN, STOP
from sniproxy.server.workers.process import Worker, wait_until_ready
from sniproxy.server.workers.sockets import KeptSockets, available
from sniproxy.util.gcpause import gc_paused
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted

log = Logger()

START_TIMEOUT_S = 60.0
"""Seconds without output after which a start has failed. A restarted worker has this many seconds in all."""

KEEP_SOCKETS_S = 2.0
"""The longest pause, in seconds, for which a dead worker's sockets are kept. After it other workers get its clients."""

STOP_GRACE_S = 10.0
"""Seconds that a worker has to exit after the drain timeout."""


class Supervisor(Service):
    """Replaces C{sniproxy.service.ProxyService} if C{workers} is more than 1.

    @param text: returns the text of the configuration that was read last.
    @param arguments: for the workers' twistd.
    @ivar configuration: the current one. @ivar warnings: of the configuration that was read last.
    """

    def __init__(
        self, configuration: Configuration, reactor: IReactor, text: Callable[[], str], arguments: Sequence[str]
    ) -> None:
        """@raise ConfigError: the configuration is invalid."""
        self.configuration = configuration
        self._reactor = reactor
        self._text = text
        self._arguments = arguments
        self._workers: dict[int, Worker] = {}
        self._pauses: dict[int, Any] = {}
        self._kept = {index: KeptSockets(reactor) for index in range(configuration.workers if available else 0)}
        self._current_text = ""
        self._before: tuple[Configuration, str] | None = None
        self._refused: set[int] = set()
        self._passed = 0
        self._stopped: Deferred[None] | None = None
        self._at_once = False
        self._beats = HeartbeatMonitor(reactor, self._workers.values)
        self._check(configuration)

    def startService(self) -> None:
        """Start the workers, and wait until all of them listen. Call this before the reactor runs.

        @raise CannotStart: a worker failed; the others were killed.
        """
        self._current_text = self._text()
        raise_descriptor_limit()  # because it keeps the workers' sockets
        if any(one.endpoint.kind == "systemd" for one in self.configuration.entrances):
            self._passed = len(os.environ.get("LISTEN_FDNAMES", "").split(":"))
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
        Service.startService(self)
        self._beats.start()
        log.info("{workers}: all listening", workers=counted(len(self._workers), "worker"))

    def reload(self, read: Callable[[], Configuration]) -> str | None:
        """Check a configuration once, and send it to all workers.

        @param read: returns it, or raises C{ConfigError}.
        @return: why it was refused; None if it was sent.
        """
        try:
            if self._stopped is not None:
                raise ConfigError("the proxy is stopping")
            with gc_paused():
                configuration = read()
                self._check(configuration)
        except ConfigError as error:
            why = str(error)
        except Exception as error:  # usually a fault of a resolver plugin
            log.failure("internal error while reading the configuration")
            why = f"internal error while reading it: {type(error).__name__}: {error}"
        else:
            self._before = (self.configuration, self._current_text)
            self._refused = set()
            self.configuration, self._current_text = configuration, self._text()
            self._tell(RELOAD, self._current_text)
            return None
        log.error("reload failed, keeping the current configuration: {why}", why=why)
        # The workers show it in their metrics and pages.
        self._tell(REFUSED, why)
        return why

    def reload_beside(self, read: Callable[[], Configuration]) -> Deferred[str | None]:
        """As L{reload}, at once: this process carries no traffic."""
        return succeed(self.reload(read))

    def stopService(self) -> Deferred[None]:
        """Let all workers drain. @return: fires when they have exited."""
        Service.stopService(self)
        self._beats.stop()
        for waiting in self._pauses.values():
            waiting.cancel()
        self._pauses = {}
        self._stopped = Deferred()
        self._release()
        self._end_workers(END if self._at_once else STOP)
        return self._stopped if self._workers else succeed(None)

    def end_now(self) -> None:
        """End all tunnels at once, during a drain or instead of the next one."""
        self._at_once = True
        if self._stopped is not None:
            self._end_workers(END)

    def reopen_logs(self) -> None:
        """Reopen the logs of all workers, after a log rotation."""
        self._tell(REOPEN)

    def _check(self, configuration: Configuration) -> None:
        check_transparent(configuration)
        build(for_worker(configuration, 0), self._reactor)
        self.warnings = operator_warnings(for_worker(configuration, 0))

    def _tell(self, what: str, text: str = "") -> None:
        for worker in self._workers.values():
            worker.send_order(what, text)

    def _end_workers(self, what: str) -> None:
        drain = self.configuration.timeouts.drain if what == STOP else 0.0
        for worker in self._workers.values():
            worker.kill_after(self._reactor, drain + STOP_GRACE_S, "end")
        self._tell(what)

    def _start(self, index: int, waited: float) -> None:
        self._pauses.pop(index, None)
        worker = Worker(index, self._reactor.seconds(), waited, self._reported, self._ended)
        worker.start(self._reactor, self._arguments, self._current_text, self._passed, self._kept.get(index))
        self._workers[index] = worker

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
        elif what == HEARTBEAT:
            self._beats.answered(worker)
        elif what == RELOADED:
            self._before = None
        elif what == REFUSED and self._before is not None:
            self._refused.add(worker.index)
            if self._refused >= self._workers.keys():
                # All workers have kept the previous configuration.
                (self.configuration, self._current_text), self._before = self._before, None

    def _ended(self, worker: Worker, how: str) -> None:
        if self._workers.get(worker.index) is worker:
            del self._workers[worker.index]
            if worker.index in self._kept:
                self._kept[worker.index].close_channel()
        if self._stopped is not None:
            self._release()
            if not self._workers and not self._stopped.called:
                self._stopped.callback(None)
            return
        wait = restart_delay(self._reactor.seconds() - worker.since, worker.pause)
        log.error(
            "worker {index} (pid {pid}) {how}{why}; restarting it {when}",
            index=worker.index,
            pid=worker.pid,
            how=how,
            why=f": {worker.error}" if worker.error else "",
            when=f"in {wait:g} s" if wait else "at once",
        )
        self._later(worker.index, wait)

    def _later(self, index: int, wait: float) -> None:
        if wait > KEEP_SOCKETS_S and index in self._kept:
            self._kept[index].release()
        self._pauses[index] = self._reactor.callLater(wait, self._start_again, index, wait)

    def _release(self) -> None:
        for kept in self._kept.values():
            kept.release()

    def _kill(self) -> None:
        workers, self._workers = self._workers, {}
        self._stopped = Deferred()
        for worker in workers.values():
            worker.kill()
        for kept in self._kept.values():
            kept.close_channel()
        self._release()
