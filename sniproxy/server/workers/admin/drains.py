"""The drains that operators began, for all workers: a restarted worker has them before it accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.admin.aggregation import merged_drains
from sniproxy.admin.query import MIN_RATE, ErrorAnswer
from sniproxy.server.workers.admin.channel import DRAINS_VARIABLE, drains_from_environment
from sniproxy.server.workers.admin.link import Reply
from sniproxy.server.workers.admin.queries import Replies, WorkerQueries
from sniproxy.server.workers.process import Worker

log = Logger()

MAX_DRAINS = 100
"""Maximum of drains at the same time."""

MAX_PASSED_BYTES = 100_000
"""Maximum size of L{DRAINS_VARIABLE}; the system allows 128 KiB. Others are sent to the worker when it is ready."""

MAX_WAITING = 16
"""Maximum of changes that wait for an earlier one."""

RETRY_INTERVAL_S = 1.0
"""Seconds between attempts to send a drain to a worker that has not answered."""

Key = tuple[str, str]
"""The kind and the name of a drain."""


@attrs.frozen
class KeptDrain:
    """@ivar rate: tunnels per second of all workers together. @ivar since: seconds since 1970."""

    rate: float
    since: float


class DrainKeeper:
    """Keeps the drains, and sends each to the workers that have not confirmed it.

    @param workers: returns the current workers. @param count: returns how many the configuration asks for.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        queries: WorkerQueries,
        workers: Callable[[], Iterable[Worker]],
        count: Callable[[], int],
    ) -> None:
        self._reactor = reactor
        self._queries = queries
        self._workers = workers
        self._count = count
        self._drains: dict[Key, KeptDrain] = {}
        self._confirmed: dict[Worker, dict[Key, float]] = {}
        self._lock = DeferredLock()
        self._timer: Any = None

    @property
    def drains(self) -> dict[Key, KeptDrain]:
        """The drains, the oldest first."""
        return dict(self._drains)

    def environment(self) -> dict[str, str]:
        """The variables of the environment of a worker that is about to start."""
        passed: list[tuple[str, str, float]] = []
        size = 0
        for (kind, name), drain in self._drains.items():
            one = (kind, name, self._share(drain.rate))
            size += len(json.dumps(one)) + 2
            if size > MAX_PASSED_BYTES:
                break
            passed.append(one)
        return {DRAINS_VARIABLE: json.dumps(passed)} if passed else {}

    def confirmed(self, worker: Worker) -> tuple[tuple[str, str, float], ...]:
        """The drains that a worker has: kind, name, tunnels per second."""
        return tuple((*key, rate) for key, rate in self._confirmed.get(worker, {}).items())

    def restore(self, drains: Iterable[tuple[str, str, float, float]]) -> None:
        """Continue with these drains: kind, name, rate, and when they began."""
        self._drains = {(kind, name): KeptDrain(rate, since) for kind, name, rate, since in drains}

    def learn(self, worker: Worker, drains: Iterable[Mapping[str, Any]]) -> None:
        """Continue with the drains that a worker has begun by itself, in all workers. @param drains: their states."""
        for one in drains:
            key, rate = (str(one["kind"]), str(one["name"])), float(one["rate"])
            self._drains.setdefault(key, KeptDrain(rate, float(one["since"])))
            self._confirm(worker, key, rate)
        self.ready(worker)

    def adopt(self, worker: Worker, drains: Iterable[tuple[str, str, float]]) -> None:
        """A worker runs and has these drains, which L{confirmed} has returned."""
        self._confirmed[worker] = {(kind, name): rate for kind, name, rate in drains}

    def started(self, worker: Worker, environment: Mapping[str, str]) -> None:
        """A worker was started with such an environment."""
        passed = drains_from_environment(dict(environment))
        self._confirmed[worker] = {(kind, name): rate for kind, name, rate in passed}

    def ready(self, worker: Worker) -> None:
        """A worker is ready: send it what has changed since its start."""
        if self._missing(worker):
            self._send_missing()

    def ended(self, worker: Worker) -> None:
        """A worker has ended."""
        self._confirmed.pop(worker, None)

    def stop(self) -> None:
        """Send nothing more."""
        self._drains = {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def drain(self, name: str, rate: float) -> Deferred[dict[str, Any]]:
        """Drain a target or a route in all workers.

        @param rate: tunnels per second of all workers together.
        @return: fires with the state of the drain, the sum of all workers. Fails with L{ErrorAnswer}: 404: no worker
            knows the name; 503: no worker has answered, or too many changes wait.
        """
        return self._change(lambda: self._drain(name, rate))

    def undrain(self, name: str) -> Deferred[dict[str, Any]]:
        """Cancel a drain in all workers. @return: fires with its last state. Fails as L{drain}."""
        return self._change(lambda: self._undrain(name))

    def _change(self, change: Callable[[], Any]) -> Deferred[dict[str, Any]]:
        if len(self._lock.waiting) >= MAX_WAITING:
            raise ErrorAnswer(503, "too many changes wait for the workers: try again")
        found: Deferred[dict[str, Any]] = self._lock.run(lambda: Deferred.fromCoroutine(change()))
        return found

    async def _drain(self, name: str, rate: float) -> dict[str, Any]:
        if len(self._drains) >= MAX_DRAINS and all(name != known for _, known in self._drains):
            raise ErrorAnswer(503, f"there are {MAX_DRAINS} drains already: cancel one first")
        share = self._share(rate)
        replies = await self._post("drain", {"name": name, "rate": f"{share:g}"})
        found = _succeeded(replies, "drain")
        first = next(iter(found.values()))
        key = str(first["kind"]), str(first["name"])
        before = self._drains.get(key)
        since = min(one["since"] for one in found.values()) if before is None else before.since
        self._drains[key] = KeptDrain(rate, since)
        for worker in found:
            self._confirm(worker, key, share)
        # A worker may not know a target that only another one has dialled.
        late = [worker for worker in self._workers() if worker.ready and worker not in found]
        found.update(await self._send_one(key, late))
        self._retry_later()
        return self._sum(found, replies, late, self._drains[key])

    async def _undrain(self, name: str) -> dict[str, Any]:
        replies = await self._post("undrain", {"name": name})
        found = _succeeded(replies, "undrain")
        first = next(iter(found.values()))
        key = str(first["kind"]), str(first["name"])
        kept = self._drains.pop(key, KeptDrain(float(first["rate"]), float(first["since"])))
        for worker in found:
            self._confirmed.get(worker, {}).pop(key, None)
        for worker, reply in replies.found.items():
            if reply.code == 404:
                self._confirmed.get(worker, {}).pop(key, None)
        self._retry_later()
        return self._sum(found, replies, [], kept)

    def _sum(
        self, found: dict[Worker, dict[str, Any]], replies: Replies, late: Iterable[Worker], kept: KeptDrain
    ) -> dict[str, Any]:
        missing = dict(replies.missing)
        missing.update({worker.index: "has not begun" for worker in late if worker not in found})
        summed = merged_drains(found.values())[0]
        silent = {str(index): why for index, why in sorted(missing.items())}
        return {**summed, "rate": kept.rate, "since": kept.since, "missing": silent}

    def _share(self, rate: float) -> float:
        return max(rate / self._count(), MIN_RATE)

    def _post(self, path: str, query: dict[str, str], workers: Iterable[Worker] | None = None) -> Deferred[Replies]:
        return self._queries.send("POST", f"/{path}?{urlencode(query)}", workers)

    async def _send_one(self, key: Key, workers: Iterable[Worker]) -> dict[Worker, dict[str, Any]]:
        """Send one drain to workers, by its kind and exact name. @return: the states that they have answered."""
        share = self._share(self._drains[key].rate)
        query = {"kind": key[0], "name": key[1], "rate": f"{share:g}"}
        replies = await self._post("drain", query, workers)
        found = {worker: state for worker, reply in replies.found.items() if (state := _state(reply)) is not None}
        for worker in found:
            self._confirm(worker, key, share)
        return found

    def _confirm(self, worker: Worker, key: Key, share: float) -> None:
        confirmed = self._confirmed.get(worker)
        if confirmed is not None:  # it has not ended meanwhile
            confirmed[key] = share

    def _missing(self, worker: Worker) -> bool:
        wanted = {key: self._share(drain.rate) for key, drain in self._drains.items()}
        return worker.ready and self._confirmed.get(worker, {}) != wanted

    def _retry_later(self) -> None:
        if self._timer is None and any(map(self._missing, self._workers())):
            self._timer = self._reactor.callLater(RETRY_INTERVAL_S, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._send_missing()

    def _send_missing(self) -> None:
        self._lock.run(lambda: Deferred.fromCoroutine(self._reconcile())).addErrback(
            lambda failure: log.failure("cannot send drains to workers: internal error", failure)
        )

    async def _reconcile(self) -> None:
        """Send each worker the changes that it has not confirmed."""
        for key, drain in list(self._drains.items()):
            share = self._share(drain.rate)
            late = [one for one in self._workers() if one.ready and self._confirmed.get(one, {}).get(key) != share]
            if late and key in self._drains:
                await self._send_one(key, late)
        for worker in [one for one in self._workers() if one.ready]:
            for key in [key for key in self._confirmed.get(worker, {}) if key not in self._drains]:
                replies = await self._post("undrain", {"name": key[1]}, [worker])
                if replies.found:
                    self._confirmed.get(worker, {}).pop(key, None)
        self._retry_later()


def _succeeded(replies: Replies, path: str) -> dict[Worker, dict[str, Any]]:
    """The states of a drain that workers have answered. @raise ErrorAnswer: none has."""
    found = {worker: state for worker, reply in replies.found.items() if (state := _state(reply)) is not None}
    if found:
        return found
    for reply in replies.found.values():
        raise ErrorAnswer(reply.code, reply.body.decode("utf-8", "replace").rstrip("\n"))
    raise ErrorAnswer(503, f"no worker has answered to /{path}: try again")


def _state(reply: Reply) -> dict[str, Any] | None:
    """The state of a drain in a worker's answer. @return: None: the answer is an error."""
    try:
        state = json.loads(reply.body) if reply.code == 200 else None
    except ValueError:
        return None
    return state if isinstance(state, dict) else None
