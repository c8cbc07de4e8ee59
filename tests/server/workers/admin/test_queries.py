"""Tests for sniproxy.server.workers.admin.queries."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers.admin.link import NoReply, Reply
from sniproxy.server.workers.admin.queries import (
    MAX_BYTES,
    MAX_WORKER_BYTES,
    SILENT_TIMEOUT_S,
    TIMEOUT_S,
    Replies,
    WorkerQueries,
)
from tests.server.workers.admin.fakes import AskedWorker


class Bounds(AskedWorker):
    """Keeps the bounds of requests."""

    bounds: tuple[float, int]

    def ask(self, method: str, path: str, timeout: float, max_bytes: int) -> Deferred[Reply]:
        self.bounds = timeout, max_bytes
        return super().ask(method, path, timeout, max_bytes)


class QueriesTests(SynchronousTestCase):
    """WorkerQueries: asks all workers."""

    def queries(self, *workers: AskedWorker, count: int = 0) -> WorkerQueries:
        return WorkerQueries(lambda: workers, lambda: count or len(workers))  # type: ignore[arg-type,return-value]

    def test_all(self) -> None:
        """The answers come by worker, in their order; those with another status have no body."""
        late: Deferred[Any] = Deferred()
        workers = [AskedWorker(0, a=late), AskedWorker(1, a={"b": 1}), AskedWorker(2)]
        asked = self.queries(*workers).ask("/a?c=d")
        self.assertNoResult(asked)
        late.callback(Reply(200, b"{}"))
        found: Replies = self.successResultOf(asked)
        self.assertEqual([0, 1, 2], [worker.index for worker in found.found])
        self.assertEqual(({0: b"{}", 1: b'{"b": 1}'}, {}), (found.bodies(), found.missing))
        self.assertEqual([("GET", "/a", {"c": "d"})], workers[0].asked)

    def test_missing(self) -> None:
        """Workers that do not answer, are starting, or do not run are named; the first is logged, once in a row."""
        starting = AskedWorker(1)
        starting.ready = False
        silent = AskedWorker(0, a=NoReply("is blocked"))
        queries = self.queries(silent, starting, AskedWorker(2, a={}), count=4)
        with capturedLogs() as events:
            for _ in range(2):
                found = self.successResultOf(queries.ask("/a"))
                self.assertEqual({0: "is blocked", 1: "is starting", 3: "does not run"}, found.missing)
                self.assertEqual([2], list(found.bodies()))
            silent.answers["/a"] = {}
            self.successResultOf(queries.ask("/a"))
            silent.answers["/a"] = NoReply("is blocked")
            self.successResultOf(queries.ask("/a"))
        self.assertEqual(2, len(events))
        self.assertEqual([], starting.asked)

    def test_some(self) -> None:
        """A request to some workers says nothing about others; one to none is answered at once."""
        workers = [AskedWorker(0, a={}), AskedWorker(1, a={})]
        queries: Any = self.queries(*workers, count=3)
        found = self.successResultOf(queries.send("POST", "/a", [workers[1]]))
        self.assertEqual(({1: b"{}"}, {}), (found.bodies(), found.missing))
        self.assertEqual(([], [("POST", "/a", {})]), (workers[0].asked, workers[1].asked))
        self.assertEqual(Replies({}, {}), self.successResultOf(queries.send("POST", "/a", [])))

    def test_bounds(self) -> None:
        """Time and size are bounded, also the size of all answers together."""
        for count, size in ((1, MAX_WORKER_BYTES), (128, MAX_BYTES // 128)):
            workers = [Bounds(index, a={}) for index in range(count)]
            self.successResultOf(self.queries(*workers).ask("/a"))
            self.assertEqual({(TIMEOUT_S, size)}, {worker.bounds for worker in workers})

    def test_silent(self) -> None:
        """A worker that has not answered gets little time until it answers again."""
        worker = Bounds(0, a=NoReply("is blocked"))
        queries = self.queries(worker)
        found = []
        for timeout in (3.0, 3.0, 0.1, 3.0, 3.0):
            self.successResultOf(queries.ask("/a", timeout))
            found.append(worker.bounds[0])
            if timeout < 1:
                worker.answers["/a"] = {}
        self.assertEqual([3.0, SILENT_TIMEOUT_S, 0.1, SILENT_TIMEOUT_S, 3.0], found)
