"""Asks all workers at the same time, with a deadline; workers that do not answer are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from weakref import WeakSet

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.server.workers.admin.link import NoReply, Reply
from sniproxy.server.workers.process import Worker

log = Logger()

TIMEOUT_S = 5.0
"""Seconds that a worker has to answer: less than the 10 s that Prometheus and sniproxyctl wait."""

SILENT_TIMEOUT_S = 0.25
"""The same for a worker that has not answered the request before, so that a blocked one delays few answers."""

MAX_BYTES, MAX_WORKER_BYTES = 256 << 20, 32 << 20
"""Maximum size of the answers of all workers to one request, and of that of one worker."""


@attrs.frozen
class Replies:
    """@ivar found: the answers by worker. @ivar missing: why the other workers have not answered, by index."""

    found: Mapping[Worker, Reply]
    missing: Mapping[int, str]

    def bodies(self) -> dict[int, bytes]:
        """The answers with status 200, by the worker's index."""
        return {worker.index: reply.body for worker, reply in self.found.items() if reply.code == 200}


class WorkerQueries:
    """Asks the current workers.

    @param workers: returns them.
    @param count: returns how many the configuration asks for; those that do not run are missing.
    """

    def __init__(self, workers: Callable[[], Iterable[Worker]], count: Callable[[], int]) -> None:
        self._workers = workers
        self._count = count
        self._silent: WeakSet[Worker] = WeakSet()

    def ask(self, path: str, timeout: float = TIMEOUT_S) -> Deferred[Replies]:
        """Send a GET request to all workers. @param path: with its query. @param timeout, @return: as L{send}."""
        return self.send("GET", path, timeout=timeout)

    def send(
        self, method: str, path: str, workers: Iterable[Worker] | None = None, timeout: float = TIMEOUT_S
    ) -> Deferred[Replies]:
        """Send a request.

        @param workers: the workers to ask. None: all of them; then those that do not run are missing, too.
        @param timeout: seconds that a worker has to answer.
        @return: fires when each has answered or failed to.
        """
        asked = list(self._workers() if workers is None else workers)
        missing: dict[int, str] = {}
        if workers is None:
            running = {worker.index for worker in asked}
            missing = {index: "does not run" for index in range(self._count()) if index not in running}
        ready = [worker for worker in asked if worker.ready]
        missing.update({worker.index: "is starting" for worker in asked if not worker.ready})
        limit = min(MAX_WORKER_BYTES, MAX_BYTES // max(1, len(ready)))
        found: dict[Worker, Reply] = {}

        def answered(reply: Reply, worker: Worker) -> None:
            self._silent.discard(worker)
            found[worker] = reply

        def failed(failure: Failure, worker: Worker) -> None:
            failure.trap(NoReply)
            missing[worker.index] = why = str(failure.value)
            self._log(worker, why)

        questions = [
            worker.ask(method, path, min(timeout, SILENT_TIMEOUT_S) if worker in self._silent else timeout, limit)
            for worker in ready
        ]
        for question, worker in zip(questions, ready, strict=True):
            question.addCallbacks(answered, failed, callbackArgs=(worker,), errbackArgs=(worker,))
        # In the order of the workers, not of their answers.
        return DeferredList(questions).addCallback(
            lambda _: Replies({one: found[one] for one in ready if one in found}, missing)
        )

    def _log(self, worker: Worker, why: str) -> None:
        """Log once in a row why a worker does not answer."""
        if worker not in self._silent:
            self._silent.add(worker)
            log.warn("admin: worker {index} is left out of answers: it {why}", index=worker.index, why=why)
