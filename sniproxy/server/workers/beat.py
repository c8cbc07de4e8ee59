"""Whether each worker's event loop still turns: the supervisor asks, and replaces one that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.logger import Logger

from sniproxy.server.workers.post import BEAT
from sniproxy.server.workers.process import Worker

log = Logger()

INTERVAL_S = 0.5
"""Seconds between questions to one worker, and between looks for answers."""

LATE_S = 2.0
"""Seconds without an answer after which the log says so."""

LOST_S = 10.0
"""Seconds without an answer after which a worker writes its stack and is killed."""

RELOAD_S = 60.0
"""As L{LOST_S}, while a worker reads a configuration, which may be large."""


@attrs.define
class _Question:
    """@ivar asked: the reactor's time. @ivar late: the log has said so. @ivar lost: the worker is being killed."""

    asked: float
    late: bool = False
    lost: bool = False


class Beats:
    """Asks the workers that are ready. One question to each is open at a time, so that a pipe never fills.

    @param workers: gives those that there are now.
    """

    def __init__(self, reactor: Any, workers: Callable[[], Iterable[Worker]]) -> None:
        self._reactor = reactor
        self._workers = workers
        self._questions: dict[Worker, _Question] = {}
        self._looked = 0.0
        self._timer: Any = None

    def start(self) -> None:
        """Ask from now on."""
        self._looked = self._reactor.seconds()
        self._timer = self._reactor.callLater(INTERVAL_S, self._look)

    def stop(self) -> None:
        """Stop asking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def answered(self, worker: Worker) -> None:
        """A worker's answer has come."""
        question = self._questions.pop(worker, None)
        if question is not None and question.late and not question.lost:
            log.info(
                "worker {index} (pid {pid}) answers again after {seconds:.1f} s",
                index=worker.index,
                pid=worker.pid,
                seconds=self._reactor.seconds() - question.asked,
            )

    def _look(self) -> None:
        now = self._reactor.seconds()
        self._timer = self._reactor.callLater(INTERVAL_S, self._look)
        # The supervisor may have been stopped itself; then the answers wait to be read.
        own_gap, self._looked = now - self._looked, now
        workers = [worker for worker in self._workers() if worker.ready]
        self._questions = {worker: self._questions[worker] for worker in workers if worker in self._questions}
        for worker in workers:
            question = self._questions.get(worker)
            if question is None:
                self._questions[worker] = _Question(now)
                worker.tell(BEAT)
            elif own_gap >= LATE_S:
                question.asked = now
            else:
                self._judge(worker, question, now - question.asked)

    def _judge(self, worker: Worker, question: _Question, silent: float) -> None:
        if silent >= (RELOAD_S if worker.reloading else LOST_S) and not question.lost:
            question.lost = True
            log.error(
                "worker {index} (pid {pid}) does not answer for {seconds:.0f} s: it writes its stack and is killed",
                index=worker.index,
                pid=worker.pid,
                seconds=silent,
            )
            worker.dump_and_kill(self._reactor)
        elif silent >= LATE_S and not question.late:
            question.late = True
            log.warn(
                "worker {index} (pid {pid}) does not answer for {seconds:.1f} s{why}",
                index=worker.index,
                pid=worker.pid,
                seconds=silent,
                why=": it reads the configuration" if worker.reloading else "",
            )
