"""Heartbeats: asks each worker whether its event loop runs, and kills a worker that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.server.workers.post import HEARTBEAT
from sniproxy.server.workers.process import Worker

log = Logger()

INTERVAL_S = 0.5
"""Seconds between heartbeats of one worker, and between checks for answers."""

WARN_TIMEOUT_S = 2.0
"""Seconds without an answer before a warning is logged."""

KILL_TIMEOUT_S = 10.0
"""Seconds without an answer before a worker dumps its stack and is killed."""

RELOAD_TIMEOUT_S = 60.0
"""L{KILL_TIMEOUT_S} of a worker that reads a configuration, which can be large."""


@attrs.define
class _Question:
    """@ivar asked_at: the reactor's time. @ivar late: a warning was logged. @ivar lost: the worker is being killed."""

    asked_at: float
    late: bool = False
    lost: bool = False


class HeartbeatMonitor:
    """Asks the workers that are ready. Each has at most one open question, so that its pipe never fills.

    @param workers: returns the current workers.
    """

    def __init__(self, reactor: IReactorTime, workers: Callable[[], Iterable[Worker]]) -> None:
        self._reactor = reactor
        self._workers = workers
        self._questions: dict[Worker, _Question] = {}
        self._looked = 0.0
        self._timer: Any = None

    def start(self) -> None:
        """Start asking."""
        self._looked = self._reactor.seconds()
        self._timer = self._reactor.callLater(INTERVAL_S, self._look)

    def stop(self) -> None:
        """Stop asking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def answered(self, worker: Worker) -> None:
        """A worker has answered."""
        question = self._questions.pop(worker, None)
        if question is not None and question.late and not question.lost:
            log.info(
                "worker {index} (pid {pid}) answers again after {seconds:.1f} s",
                index=worker.index,
                pid=worker.pid,
                seconds=self._reactor.seconds() - question.asked_at,
            )

    def _look(self) -> None:
        now = self._reactor.seconds()
        self._timer = self._reactor.callLater(INTERVAL_S, self._look)
        # The supervisor itself may have been suspended. Then answers wait to be read.
        own_gap, self._looked = now - self._looked, now
        workers = [worker for worker in self._workers() if worker.ready]
        self._questions = {worker: self._questions[worker] for worker in workers if worker in self._questions}
        for worker in workers:
            question = self._questions.get(worker)
            if question is None:
                self._questions[worker] = _Question(now)
                worker.send_order(HEARTBEAT)
            elif own_gap >= WARN_TIMEOUT_S:
                question.asked_at = now
            else:
                self._judge(worker, question, now - question.asked_at)

    def _judge(self, worker: Worker, question: _Question, silent: float) -> None:
        if silent >= (RELOAD_TIMEOUT_S if worker.reloading else KILL_TIMEOUT_S) and not question.lost:
            question.lost = True
            log.error(
                "worker {index} (pid {pid}) has not answered for {seconds:.0f} s: dumping its stack and killing it",
                index=worker.index,
                pid=worker.pid,
                seconds=silent,
            )
            worker.dump_and_kill(self._reactor)
        elif silent >= WARN_TIMEOUT_S and not question.late:
            question.late = True
            log.warn(
                "worker {index} (pid {pid}) has not answered for {seconds:.1f} s{why}",
                index=worker.index,
                pid=worker.pid,
                seconds=silent,
                why=" while reading the configuration" if worker.reloading else "",
            )
