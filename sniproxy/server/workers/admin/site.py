"""The HTTP server of the supervisor: asks the workers, and merges their answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import attrs
from msgspec.structs import asdict
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.web.server import Request

from sniproxy import __version__
from sniproxy.admin.faults import FAULT_ACTIONS, ONE_PROCESS
from sniproxy.admin.guardedsite import JSON, TEXT, Body, GuardedSite, not_found
from sniproxy.admin.history import STEP_S, STEPS
from sniproxy.admin.metrics import CONTENT_TYPE
from sniproxy.admin.query import ErrorAnswer, addresses_of, number_of, optional_text_of, rate_of, text_of
from sniproxy.admin.recording import ONE_PROCESS as RECORDS_ONE_PROCESS
from sniproxy.admin.recording import RECORD
from sniproxy.admin.site import DEFAULT_TUNNELS, MAX_LISTED, MAX_TOPICS, MAX_WORKER_TUNNELS
from sniproxy.admin.tunnellist import SORTS
from sniproxy.config.dump import dump_configuration
from sniproxy.server.workers.admin import documents
from sniproxy.server.workers.admin.drains import DrainKeeper
from sniproxy.server.workers.admin.metrics import MetricsMerger, parse
from sniproxy.server.workers.admin.owned import OwnMetrics
from sniproxy.server.workers.admin.queries import TIMEOUT_S, Replies, WorkerQueries
from sniproxy.server.workers.admin.shared import SharedAnswers
from sniproxy.server.workers.admin.state import SupervisorState
from sniproxy.server.workers.admin.topics import merge_topics
from sniproxy.server.workers.admin.totals import Totals
from sniproxy.server.workers.process import Worker
from sniproxy.util.offload import Offload, in_thread
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import printable

log = Logger()

SCRAPE_TIMEOUT = b"X-Prometheus-Scrape-Timeout-Seconds"
"""The header in which Prometheus says how long it waits."""

SCRAPE_SHARE = 0.5
"""The share of that time that workers have to answer."""

Seen = tuple[dict[str, int], str]
"""Totals, and metrics."""

Merge = Callable[[dict[int, dict[str, Any]]], dict[str, Any]]
"""Merges the documents of workers, by index. It runs in a thread."""


class WorkersSite(GuardedSite):
    """The admin endpoint of all workers.

    @param workers: returns the current workers. @param now: seconds since 1970.
    @param offload: runs the merging. None: in threads.
    """

    def __init__(
        self,
        reactor: IReactor,
        state: SupervisorState,
        workers: Callable[[], Iterable[Worker]],
        queries: WorkerQueries,
        drains: DrainKeeper,
        now: Callable[[], float] = time.time,
        offload: Offload | None = None,
    ) -> None:
        GuardedSite.__init__(self, reactor)
        self._state = state
        self._workers = workers
        self._queries = queries
        self._drains = drains
        self._now = now
        self._offload = in_thread(reactor) if offload is None else offload
        self._merger = MetricsMerger()
        self._totals = Totals()
        self._merging = DeferredLock()  # one thread at a time has the merger
        self._shared = SharedAnswers()

    def ended(self, worker: Worker) -> None:
        """A worker has ended."""
        self._merger.end(worker)
        self._totals.end(worker)

    @property
    def busy(self) -> bool:
        """Whether requests are being answered, besides those that wait for the end of an upgrade."""
        return self.connections.busy or self._merging.locked

    def sums(self, workers: Iterable[Worker]) -> tuple[Seen, dict[Worker, Seen]]:
        """The sums of workers that have ended, and what was seen last of these workers. Call it when L{busy} is false.

        Each is the totals, and the text of the metrics whose values only grow.
        """
        past, totals = self._totals.state()
        text, texts = self._merger.state()
        return (past, text), {one: (totals.get(one, {}), texts.get(one, "")) for one in workers}

    def restore(self, past: Seen, workers: Mapping[Worker, Seen]) -> None:
        """Continue with what L{sums} has returned."""
        self._totals.restore(past[0], {one: totals for one, (totals, _) in workers.items()})
        self._merger.restore(past[1], {one: text for one, (_, text) in workers.items()})

    def answer(self, request: Request, path: str) -> tuple[str, Body]:
        """Answer a GET request."""
        if path == "/ready":
            return TEXT, self._ready(optional_text_of(request, b"listener"))
        if path == "/metrics":
            timeout = scrape_timeout(request.requestHeaders.getRawHeaders(SCRAPE_TIMEOUT, []))
            return CONTENT_TYPE, self._shared.get(f"{path} {timeout}", lambda: self._metrics(timeout))
        if path == "/status":
            return JSON, self._status(number_of(request, b"limit"), number_of(request, b"tunnels"))
        if path == "/tunnels":
            return JSON, self._tunnels(request)
        if path == "/history":
            seconds = number_of(request, b"seconds")
            query = f"/history?seconds={STEP_S * STEPS if seconds is None else seconds}"
            return JSON, self._merged(query, query, lambda _: documents.history)
        if path == "/topics":
            return JSON, self._topics(number_of(request, b"fold"), number_of(request, b"limit"))
        if path == "/flows":
            return JSON, self._merged(path, path, lambda _: documents.flows)
        if path == "/who":
            query = "/who?" + urlencode([("address", one) for one in addresses_of(request, b"address")])
            return JSON, self._merged(query, query, lambda _: documents.who)
        if path == "/faults":
            return JSON, self._merged(path, path, lambda _: documents.faults)
        raise not_found()

    def act(self, request: Request, path: str) -> tuple[str, Body]:
        """Drain, cancel a drain, upgrade the program, or change the faults of the only worker."""
        if path == "/upgrade":
            return self.begin_upgrade(request, self._state.upgrade)
        if path in FAULT_ACTIONS:
            if self._state.configuration.workers > 1:
                raise ErrorAnswer(409, ONE_PROCESS)
            return JSON, Deferred.fromCoroutine(self._change_faults(request.uri.decode("ascii")))
        if path == RECORD:
            raise ErrorAnswer(409, RECORDS_ONE_PROCESS)
        name = text_of(request, b"name")
        changed = self._drains.drain(name, rate_of(request)) if path == "/drain" else self._drains.undrain(name)
        return JSON, changed.addCallback(_dumped)

    def _ready(self, listener: str | None) -> bytes:
        if not self._state.ready:
            raise ErrorAnswer(503, "draining")
        if listener is not None and all(one.name != listener for one in self._state.configuration.entrances):
            raise ErrorAnswer(404, f"no listener is named {printable(listener)}")
        if not any(worker.ready for worker in self._workers()):
            raise ErrorAnswer(503, "no worker is ready")
        return b"ready\n"

    async def _metrics(self, timeout: float) -> bytes:
        replies = await self._queries.ask("/metrics", timeout)
        bodies = {worker: reply.body for worker, reply in replies.found.items() if reply.code == 200}
        refused = dict(self.rejections.counts)

        def merge() -> bytes:
            found = {worker: parse(body.decode("utf-8", "replace")) for worker, body in bodies.items()}
            own = OwnMetrics(self._state, refused, {worker.index: families for worker, families in found.items()})
            return self._merger.merge(found, own.text()).encode()

        merged: bytes = await self._merging.run(lambda: Deferred.fromCoroutine(self._await(merge)))
        return merged

    async def _await(self, work: Callable[[], bytes]) -> bytes:
        return await self._offload(work)

    def _status(self, limit: int | None, tunnel_limit: int | None) -> Deferred[bytes]:
        limit = MAX_LISTED if limit is None else min(limit, MAX_LISTED)
        most = limit if tunnel_limit is None else min(limit, tunnel_limit)

        def prepare(replies: Replies) -> Merge:
            facts, answered = self._facts(replies, limit), {worker.index: worker for worker in replies.found}

            def merge(found: dict[int, dict[str, Any]]) -> dict[str, Any]:
                totals = self._totals.add_up({answered[index]: one["totals"] for index, one in found.items()})
                return {**documents.status(found, facts, limit, most), "totals": totals}

            return merge

        query = f"/status?limit={limit}&tunnels={most}"
        return self._merged(query, query, prepare)

    def _facts(self, replies: Replies, limit: int) -> dict[str, Any]:
        """What the supervisor knows, as L{documents.status} takes it."""
        state, kept = self._state, self._drains.drains.items()
        pids = {worker.index: worker.pid for worker in self._workers()}
        return {
            "version": __version__,
            "instance": None,
            "time": self._now(),
            "started": state.started,
            "state": "ready" if state.ready else "draining",
            "configuration": {
                "file": state.configuration.filename,
                "since": state.since,
                "reloads": asdict(state.reloads),
                **dump_configuration(state.configuration, limit),
            },
            "drains": [
                {"kind": kind, "name": name, "rate": drain.rate, "since": drain.since} for (kind, name), drain in kept
            ],
            "workers": [
                {"index": index, "pid": pids.get(index), "error": replies.missing.get(index)}
                for index in range(state.configuration.workers)
            ],
            "old_processes": [attrs.asdict(one) for one in state.find_old_processes()],
            "warnings": [f"worker {index} {why}: it is left out" for index, why in sorted(replies.missing.items())],
        }

    async def _change_faults(self, query: str) -> bytes:
        replies = await self._queries.send("POST", query)
        for reply in replies.found.values():
            if reply.code == 200:
                return reply.body
            raise ErrorAnswer(reply.code, reply.body.decode("utf-8", "replace").rstrip("\n"))
        raise ErrorAnswer(503, "the worker has not answered: try again")

    def _tunnels(self, request: Request) -> Deferred[bytes]:
        sort = optional_text_of(request, b"sort", SORTS) or "newest"
        wanted = optional_text_of(request, b"filter") or ""
        limit, offset = number_of(request, b"limit"), number_of(request, b"offset") or 0
        limit = DEFAULT_TUNNELS if limit is None else min(limit, MAX_LISTED)
        # Each worker lists its first ones, of which the first of all are among.
        most = min(limit + offset, MAX_WORKER_TUNNELS)
        query = "/tunnels?" + urlencode({"filter": wanted, "sort": sort, "limit": most})
        return self._merged(
            f"{query} {limit} {offset}", query, lambda _: lambda found: documents.tunnels(found, sort, limit, offset)
        )

    def _topics(self, fold: int | None, limit: int | None) -> Deferred[bytes]:
        limit = MAX_LISTED if limit is None else min(limit, MAX_TOPICS)
        return self._merged(
            f"/topics {fold} {limit}",
            f"/topics?limit={MAX_TOPICS}",
            lambda _: lambda found: merge_topics(found.values(), self._now(), bool(fold), limit),
        )

    def _merged(self, key: str, query: str, prepare: Callable[[Replies], Merge]) -> Deferred[bytes]:
        """Ask all workers, and merge their documents.

        @param key: the same for the same answer. @param prepare: called in the reactor's thread.
        """
        return self._shared.get(key, lambda: self._ask_and_merge(query, prepare))

    async def _ask_and_merge(self, query: str, prepare: Callable[[Replies], Merge]) -> bytes:
        replies = await self._queries.ask(query)
        bodies = replies.bodies()
        if not bodies:
            for reply in replies.found.values():
                raise ErrorAnswer(reply.code, reply.body.decode("utf-8", "replace").rstrip("\n"))
            why = ", ".join(f"worker {index} {why}" for index, why in sorted(replies.missing.items()))
            raise ErrorAnswer(503, f"no worker answers: {why}")
        merge = prepare(replies)

        def run() -> bytes:
            return _dumped(merge({index: json.loads(body) for index, body in bodies.items()}))

        try:
            return await self._offload(run)
        except (KeyError, TypeError, ValueError) as error:
            log.error("admin: cannot merge {path}: {error!r}", path=query.partition("?")[0], error=error)
            why = "cannot merge the answers of the workers, perhaps of different releases: restart the proxy"
            raise ErrorAnswer(502, why) from error


def scrape_timeout(sent: Sequence[str | bytes]) -> float:
    """Seconds that workers have for a scrape. @param sent: the headers L{SCRAPE_TIMEOUT}."""
    try:
        wanted = float(sent[-1]) * SCRAPE_SHARE if sent else TIMEOUT_S
    except ValueError:
        return TIMEOUT_S
    return min(wanted, TIMEOUT_S) if wanted > 0 else TIMEOUT_S


def _dumped(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
