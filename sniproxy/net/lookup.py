"""Host names to addresses, by the system's resolver (getaddrinfo), which blocks and so runs in daemon threads.

The whole project looks host names up here. The threads are not Twisted's: a program that ends does not wait for them.

Names that the operator wrote and names that a client's hello formed have separate threads, so that clients cannot delay
the operator's. A written name also keeps its last good answer, and falls back on it when name servers are slow or fail
(RFC 8767, which calls it serve-stale).
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from sniproxy.net.getaddrinfo import Cause, LookupFailed, no_answer, system_addresses
from sniproxy.util.bounded import BoundedMap
from sniproxy.util.perreactor import PerReactor
from sniproxy.util.reactor import IReactor
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

MAX_THREADS = 32
"""Concurrent lookups of written names, and as many of client-formed ones. Further names wait in a queue."""

OVERDUE_S = 5.0
"""Seconds after which a lookup is overdue and no longer counts in L{MAX_THREADS}, although its thread still waits."""

MAX_OVERDUE = 64
"""Overdue lookups of each kind that do not count in L{MAX_THREADS}; further ones count."""

MAX_THREADS_PER_CLIENT = 8
"""Concurrent client-formed lookups of one client, overdue ones included; at most as many as threads are free, so that a
few clients cannot take all."""

MAX_QUEUED_PER_CLIENT = 32
"""Queued client-formed names of one client; at most as many as places are free. Further names are refused."""

MAX_QUEUED = 256
"""Queued client-formed names of all clients together. Further names are refused."""

FORMED_TIMEOUT_S = 5.0
"""Seconds for the lookup of a client-formed name, including the time in the queue."""

STALE_AFTER_S = 0.5
"""Seconds after which the last good answer of a written name is used instead of a fresh one."""

STALE_S = 3600.0
"""Seconds for which the last good answer of a written name is kept."""

RECHECK_INTERVAL_S = 30.0
"""Seconds after a failed or slow lookup for which the last good answer is used at once (RFC 8767, section 5)."""

MAX_KEPT = 4096
"""Written names whose last good answer is kept; the least recently used one is dropped first."""

_FINAL = frozenset({Cause.NO_NAME, Cause.NO_ADDRESS})
"""Causes after which the last good answer is discarded: a name server has answered."""


@attrs.frozen
class LookupCounts:
    """Lookups of this process.

    @ivar running: threads, by kind: C{written}, C{client_formed}. @ivar waiting: names in the queues, by kind.
    @ivar results: since the start, by result: C{found}, or the value of a L{Cause}.
    @ivar limited: refused client-formed lookups since the start, by limit: C{per_client}, C{queue}, C{time}.
    @ivar stale: answers since the start that were the last good one.
    """

    running: dict[str, int]
    waiting: dict[str, int]
    results: dict[str, int]
    limited: dict[str, int]
    stale: int


class _PendingLookup:
    """A name that is looked up or queued. @ivar client: the client whose limits it counts in. None: no client's."""

    def __init__(self, host: str, client: str | None) -> None:
        self.host = host
        self.client = client
        self.waiters: list[Deferred[list[str]]] = []
        self.began = 0.0


class _Pool:
    """The threads and the queue of one kind of names."""

    def __init__(self) -> None:
        self.lookups: dict[str, _PendingLookup] = {}
        self.queue: dict[str, _PendingLookup] = {}
        self.running: set[_PendingLookup] = set()
        self.timer: Deadline | None = None

    def free(self, now: float) -> int:
        """Further lookups that may begin."""
        overdue = sum(now - lookup.began >= OVERDUE_S for lookup in self.running)
        return MAX_THREADS - len(self.running) + min(overdue, MAX_OVERDUE)


@attrs.define
class _LastGoodAnswer:
    """The last good answer of a written name. @ivar at_once_until: until then it is used without waiting."""

    addresses: list[str]
    expires: float
    at_once_until: float = float("-inf")


class HostLookups:
    """Looks host names up. Callers that ask for the same name at the same time share one lookup.

    L{lookups_of} returns the instance of a reactor, so the limits are those of the process. If all callers of a queued
    name cancel, the name leaves the queue.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._written = _Pool()
        self._formed = _Pool()
        self._kept: BoundedMap[str, _LastGoodAnswer] = BoundedMap(MAX_KEPT)
        self._by_client: Counter[str] = Counter()
        self._results: Counter[str] = Counter()
        self._limited: Counter[str] = Counter(per_client=0, queue=0, time=0)
        self._stale = 0

    def addresses(self, host: str) -> Deferred[list[str]]:
        """The addresses of a name that the operator wrote, in the system's order (RFC 6724), each once.

        It fails with L{LookupFailed}. When a fresh answer takes longer than L{STALE_AFTER_S}, or fails for a
        temporary cause, the last good one is the answer.
        """
        fresh = self._request(self._written, host, None)
        kept, now = self._kept.get(host), self._reactor.seconds()
        if kept is None or kept.expires <= now:
            return fresh
        if now < kept.at_once_until:
            fresh.addErrback(lambda _: None)  # it refreshes what is kept
            return self._use(kept)
        return self._fall_back(fresh, kept)

    def formed(self, host: str, client: str | None) -> Deferred[list[str]]:
        """As L{addresses}, of a name that a client formed, within limits and without the last good answer.

        @param client: counted as admission counts clients. None: limits per client do not apply.
        """
        pool = self._formed
        lookup = pool.lookups.get(host)
        if lookup is None:
            limit, text = self._limit(client)
            if limit:
                self._limited[limit] += 1
                self._results[Cause.LIMIT.value] += 1
                refused: Deferred[list[str]] = Deferred()
                refused.errback(LookupFailed(Cause.LIMIT, text))
                return refused
        elif host in pool.queue and client is not None and self._by_client[client] < MAX_THREADS_PER_CLIENT:
            lookup.client = client  # the first client that asks is charged for the threads
        answer = self._request(pool, host, client)
        return answer if answer.called else self._within_time(answer)

    def counts(self) -> LookupCounts:
        """What metrics show."""
        pools = {"written": self._written, "client_formed": self._formed}
        return LookupCounts(
            {kind: len(pool.running) for kind, pool in pools.items()},
            {kind: len(pool.queue) for kind, pool in pools.items()},
            dict(self._results),
            dict(self._limited),
            self._stale,
        )

    def _limit(self, client: str | None) -> tuple[str, str]:
        """The limit that a further client-formed name would exceed, and a text; empty: none."""
        queue = self._formed.queue
        left = MAX_QUEUED - len(queue)
        if left <= 0:
            return "queue", f"lookup queue full: {MAX_QUEUED} client-formed names are waiting"
        waiting = 0 if client is None else sum(lookup.client == client for lookup in queue.values())
        if waiting >= min(MAX_QUEUED_PER_CLIENT, left):
            return "per_client", f"lookup queue full for this client: {waiting} names are waiting"
        return "", ""

    def _within_time(self, answer: Deferred[list[str]]) -> Deferred[list[str]]:
        def late() -> None:
            if not within.called:
                self._limited["time"] += 1
                within.errback(LookupFailed(Cause.NO_ANSWER, no_answer(FORMED_TIMEOUT_S)))
                answer.addErrback(lambda _: None).cancel()

        def over(result: Any) -> None:
            timer.cancel()
            if not within.called:
                within.callback(result)

        within: Deferred[list[str]] = Deferred(lambda _: _cancel(timer, answer))
        timer = timer_wheel_of(self._reactor).after(FORMED_TIMEOUT_S, late)
        answer.addBoth(over)
        return within

    def _fall_back(self, fresh: Deferred[list[str]], kept: _LastGoodAnswer) -> Deferred[list[str]]:
        def slow() -> None:
            kept.at_once_until = self._reactor.seconds() + RECHECK_INTERVAL_S
            if not answer.called:
                self._use(kept, answer)

        def over(result: Any) -> None:
            timer.cancel()
            if answer.called:
                return
            error = getattr(result, "value", None)
            if isinstance(error, LookupFailed) and error.cause not in _FINAL:
                self._use(kept, answer)
            else:
                answer.callback(result)

        answer: Deferred[list[str]] = Deferred(lambda _: _cancel(timer, fresh))
        timer = timer_wheel_of(self._reactor).after(STALE_AFTER_S, slow)
        fresh.addBoth(over)
        return answer

    def _use(self, kept: _LastGoodAnswer, answer: Deferred[list[str]] | None = None) -> Deferred[list[str]]:
        self._stale += 1
        answer = Deferred() if answer is None else answer
        answer.callback(list(kept.addresses))
        return answer

    def _request(self, pool: _Pool, host: str, client: str | None) -> Deferred[list[str]]:
        answer: Deferred[list[str]] = Deferred(lambda answer: self._cancel_waiter(pool, lookup, answer))
        lookup = pool.lookups.get(host) or _PendingLookup(host, client)
        lookup.waiters.append(answer)
        if host not in pool.lookups:
            pool.lookups[host] = pool.queue[host] = lookup
            self._next(pool)
        return answer

    def _cancel_waiter(self, pool: _Pool, lookup: _PendingLookup, answer: Deferred[list[str]]) -> None:
        """A caller cancels. A running lookup continues: a thread cannot be stopped."""
        lookup.waiters.remove(answer)
        if not lookup.waiters and pool.queue.get(lookup.host) is lookup:
            del pool.queue[lookup.host], pool.lookups[lookup.host]
            self._wait(pool)

    def _next(self, pool: _Pool) -> None:
        """Start lookups of queued names while slots are free."""
        now = self._reactor.seconds()
        for lookup in list(pool.queue.values()):
            free = pool.free(now)
            if free <= 0:
                break
            waits = pool.queue.get(lookup.host) is lookup
            if waits and (lookup.client is None or self._by_client[lookup.client] < min(MAX_THREADS_PER_CLIENT, free)):
                self._start(pool, lookup)
        self._wait(pool)

    def _wait(self, pool: _Pool) -> None:
        """Set a timer for the next lookup that becomes overdue and so frees a slot, if names are queued."""
        if pool.timer is not None:
            pool.timer.cancel()
            pool.timer = None
        now = self._reactor.seconds()
        left = [one for lookup in pool.running if (one := lookup.began + OVERDUE_S - now) > 0]
        if pool.queue and left:
            pool.timer = timer_wheel_of(self._reactor).after(min(left), lambda: self._next(pool))

    def _start(self, pool: _Pool, lookup: _PendingLookup) -> None:
        del pool.queue[lookup.host]
        pool.running.add(lookup)
        lookup.began = self._reactor.seconds()
        if lookup.client is not None:
            self._by_client[lookup.client] += 1
        try:
            threading.Thread(target=self._look_up, args=(pool, lookup), daemon=True).start()
        except RuntimeError:
            error = LookupFailed(Cause.NO_THREAD, "the system could not start a thread for the lookup")
            self._answer(pool, lookup, error)

    def _look_up(self, pool: _Pool, lookup: _PendingLookup) -> None:
        """In a thread."""
        found: list[str] | LookupFailed
        try:
            found = system_addresses(lookup.host)
        except Exception as error:
            found = LookupFailed(Cause.SYSTEM, f"the lookup failed: {type(error).__name__}: {error}")
        self._reactor.callFromThread(self._answer, pool, lookup, found)

    def _answer(self, pool: _Pool, lookup: _PendingLookup, found: list[str] | LookupFailed) -> None:
        pool.running.discard(lookup)
        if lookup.client is not None:
            self._by_client[lookup.client] -= 1
            if not self._by_client[lookup.client]:
                del self._by_client[lookup.client]
        del pool.lookups[lookup.host]
        self._results[found.cause.value if isinstance(found, LookupFailed) else "found"] += 1
        if pool is self._written:
            self._keep(lookup.host, found)
        for waiter in list(lookup.waiters):
            if waiter.called:  # cancelled by the one before it
                continue
            if isinstance(found, LookupFailed):
                waiter.errback(LookupFailed(found.cause, str(found)))
            else:
                waiter.callback(list(found))
        self._next(pool)

    def _keep(self, host: str, found: list[str] | LookupFailed) -> None:
        now, kept = self._reactor.seconds(), self._kept.get(host)
        if not isinstance(found, LookupFailed):
            self._kept.put(host, _LastGoodAnswer(found, now + STALE_S))
        elif found.cause in _FINAL:
            self._kept.pop(host)
        elif kept is not None:
            kept.at_once_until = now + RECHECK_INTERVAL_S


def _cancel(timer: Deadline, answer: Deferred[list[str]]) -> None:
    timer.cancel()
    answer.addErrback(lambda _: None).cancel()


lookups_of = PerReactor(HostLookups)
"""The lookups of a reactor or a clock."""
