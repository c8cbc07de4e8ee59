"""Cache around a resolver: timeout, shared queries, cached answers, circuit breaker.

* A query has a timeout. Every failure is L{Unavailable}, whatever the plugin raised or returned.
* Connections with the same query share one. If a client disconnects, others that wait for the same answer are
  unaffected; the query is cancelled when none is left.
* Answers and refusals are cached for their C{ttl}. When a new query fails, the cache serves the stale answer for a
  while longer (RFC 8767), and after L{STALE_ANSWER_DELAY_S} without waiting for the failure. An authoritative
  L{Unavailable} is an answer: it replaces the stale one, and is not cached.
* A name whose query failed is not queried again for L{RETRY_DELAY_S}. L{CircuitBreaker} limits the queries to a
  resolver that answers no client.
* Memory is bounded, because clients choose the names.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Hashable, Mapping

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.config.model import DEFAULT_DEADLINE_S, DEFAULT_STALE_S
from sniproxy.interfaces import (
    IServerNameResolver,
    IWatchingResolver,
    Refused,
    Request,
    Resolution,
    Unavailable,
    WatchState,
    as_coroutine,
    start_watching,
)
from sniproxy.resolvers.cache.breaker import CircuitBreaker
from sniproxy.resolvers.cache.outcomes import copy_error, describe_error, outcome
from sniproxy.resolvers.cache.singleflight import CacheKey, SingleFlight, Waiter, cache_key_of
from sniproxy.routing.brokernames import IBrokerDirectory
from sniproxy.util.bounded import LRUMap
from sniproxy.util.names import client_of
from sniproxy.util.text import bounded

log = Logger()

STALE_ANSWER_DELAY_S = 1.0
"""Seconds that a connection waits for a new answer if there is a stale one (RFC 8767, section 5)."""

RETRY_DELAY_S = 1.0
"""Seconds before a name that failed is queried again. A Pulsar client retries about ten times in the first seconds."""

MAX_ANSWERS = 10_000
MAX_REFUSALS = 10_000
"""Names that each map keeps. They are separate so that refused names do not evict answers."""

LOG_INTERVAL_S = 60.0
"""Seconds between two log lines about failures of one resolver. The access log has each failure."""


@attrs.define
class ResolverCounts:
    """Counters since the start.

    @ivar questions: queries sent to the resolver.
    @ivar hits: requests answered from the cache.
    @ivar shared: requests that joined a query in flight.
    @ivar stale: requests answered with a stale answer, because the resolver failed or was slow.
    @ivar refused: refusals, cached ones included.
    @ivar failures: queries that failed or timed out.
    """

    questions: int = 0
    hits: int = 0
    shared: int = 0
    stale: int = 0
    refused: int = 0
    failures: int = 0


@attrs.define
class _CacheEntry:
    """A cached answer.

    @ivar until: the reactor's time at which it becomes stale. @ivar stale_until: at which it must not be used any more.
    """

    resolution: Resolution
    until: float
    stale_until: float


@implementer(IServerNameResolver)
class CachedResolver:
    """A resolver with a timeout, a cache and a circuit breaker.

    @param name: the resolver's name in the configuration, for logs.
    @param deadline: seconds until a query times out.
    @param stale: seconds after its ttl for which an answer may be served while the resolver fails. 0: never.
    """

    def __init__(
        self,
        name: str,
        resolver: IServerNameResolver,
        reactor: IReactorTime,
        deadline: float = DEFAULT_DEADLINE_S,
        stale: float = DEFAULT_STALE_S,
    ) -> None:
        self.name = name
        self.counts = ResolverCounts()
        self.breaker = CircuitBreaker()
        self._resolver = resolver
        self._watching: IWatchingResolver | None = None
        if IWatchingResolver.providedBy(resolver):
            self._watching = resolver
        self._reactor = reactor
        self._deadline = deadline
        self._stale = stale
        self._answers: LRUMap[Hashable, _CacheEntry] = LRUMap(MAX_ANSWERS)
        # Refusals and failures, each with the time until which it is used.
        self._negative: LRUMap[Hashable, tuple[Refused | Unavailable, float]] = LRUMap(MAX_REFUSALS)
        # Queries whose last answer had a ttl of 0: connections do not share them.
        self._unshared: LRUMap[Hashable, bool] = LRUMap(MAX_REFUSALS)
        self._flights: dict[Hashable, SingleFlight] = {}
        self._generation = 0
        self._quiet_until = -math.inf
        self._failure_logged = False
        self._started = self._stopped = False

    def start(self, read_only: bool = False) -> None:
        """Start the resolver if it watches a source, which L{start_watching} explains. Further calls do nothing."""
        if self._watching is not None and not self._started:
            self._started = True
            try:
                start_watching(self._watching, self.forget, read_only)
            except Exception:
                log.failure("resolver {name} failed to start", name=self.name)

    def stop(self) -> Deferred[None]:
        """Stop the resolver and cancel all queries. Afterwards only the cache answers. Further calls do nothing.

        @return: fires when the resolver has stopped, or failed to stop before the timeout. It never fails.
        """
        self._stopped = True
        for flight in list(self._flights.values()):
            self._finished(Failure(Unavailable(_STOPPED)), flight)
            flight.cancel()
        watching, self._watching = self._watching if self._started else None, None

        async def end() -> None:
            stopped = None if watching is None else watching.stop()
            if stopped is not None:
                await stopped

        return (
            Deferred.fromCoroutine(end())
            .addTimeout(self._deadline, self._reactor)
            .addErrback(lambda failure: log.failure("resolver {name} failed to stop", failure, name=self.name))
        )

    @property
    def directory(self) -> IBrokerDirectory | None:
        """The resolver, if it knows all names of its brokers."""
        return self._resolver if IBrokerDirectory.providedBy(self._resolver) else None

    def watch_state(self) -> WatchState | None:
        """The resolver's own state. None: it does not watch a source, or has stopped."""
        if self._watching is None:
            return None
        try:
            state = self._watching.state()
            error = None if state.error is None else bounded(state.error)
            return WatchState(bounded(state.summary), error, state.names if isinstance(state.names, Mapping) else {})
        except Exception as error:  # a faulty plugin must not break the status page
            return WatchState("", f"state unavailable: {describe_error(error)}")

    def forget(self) -> None:
        """Mark all cached answers as stale and drop refusals, because the resolver's source has changed."""
        self._generation += 1
        self._negative.clear()
        self._unshared.clear()
        now = self._reactor.seconds()
        for entry in self._answers.values():
            entry.until = min(entry.until, now)
            entry.stale_until = min(entry.stale_until, now + self._stale)

    def resolve(self, request: Request) -> Resolution | Waiter:
        """The answer, at once if it is cached.

        @raise Refused: the resolver refuses the name. @raise Unavailable: the resolver failed.
        """
        now = self._reactor.seconds()
        cache_key = cache_key_of(request)
        entry = self._answers.get(cache_key)
        if entry is not None and now < entry.until:
            self.counts.hits += 1
            return entry.resolution
        old = self._stale_entry(cache_key)
        negative = self._negative.get(cache_key)
        if negative is not None and now < negative[1]:
            error = copy_error(negative[0])
            if isinstance(error, Unavailable):
                return self._stale_or_raise(error, old)
            self.counts.hits += 1
            self.counts.refused += 1
            raise error
        if self._stopped:  # connections from before a reload may still call this
            return self._stale_or_raise(Unavailable(_STOPPED), old)
        flight = None if self._unshared.get(cache_key) else self._flights.get(cache_key)
        if flight is not None:
            self.counts.shared += 1
            return self._join(flight, request, old)
        if not self.breaker.allows(client_of(request.peer), now):
            return self._stale_or_raise(Unavailable(self.breaker.why), old)
        return self._query(cache_key, request, old)

    async def ask(self, request: Request) -> Resolution:
        """The same as L{resolve}, always as a coroutine."""
        answer = self.resolve(request)
        return answer if isinstance(answer, Resolution) else await answer

    def _query(self, cache_key: CacheKey, request: Request, old: _CacheEntry | None) -> Resolution | Waiter:
        self.counts.questions += 1
        key: Hashable = object() if self._unshared.get(cache_key) else cache_key
        flight = SingleFlight(key, cache_key, self._generation, old is not None, request.peer)
        try:
            answer = self._resolver.resolve(request)
        except Exception as error:
            return self._answer_now(flight, error, old)
        if not isinstance(answer, Awaitable):
            return self._answer_now(flight, answer, old)
        self._flights[key] = flight
        flight.timer = self._reactor.callLater(self._deadline, self._timed_out, flight)
        waiter = flight.asker = self._join(flight, request, old)
        flight.answer = Deferred.fromCoroutine(as_coroutine(answer))
        flight.answer.addBoth(self._finished, flight)
        return waiter

    def _answer_now(self, flight: SingleFlight, answer: object, old: _CacheEntry | None) -> Resolution:
        result = self._store(flight, answer)
        if isinstance(result, Unavailable):
            return self._stale_or_raise(result, old)
        if isinstance(result, Refused):
            raise result
        return result

    def _stale_or_raise(self, error: Unavailable, old: _CacheEntry | None) -> Resolution:
        """Return the stale answer if there is one and the query failed, else raise the error."""
        if old is None or error.authoritative:
            raise error
        self.counts.stale += 1
        return old.resolution

    def _stale_entry(self, cache_key: Hashable) -> _CacheEntry | None:
        entry = self._answers.get(cache_key)
        return entry if entry is not None and self._reactor.seconds() < entry.stale_until else None

    def _join(self, flight: SingleFlight, request: Request, old: _CacheEntry | None) -> Waiter:
        waiter = flight.add_waiter(request, self._waiter_cancelled)
        if old is not None and self._deadline > STALE_ANSWER_DELAY_S:
            flight.set_timer(
                waiter, self._reactor.callLater(STALE_ANSWER_DELAY_S, self._answer_stale, flight, waiter, old)
            )
        return waiter

    def _answer_stale(self, flight: SingleFlight, waiter: Waiter, old: _CacheEntry) -> None:
        flight.remove_waiter(waiter)
        self.counts.stale += 1
        waiter.callback(old.resolution)

    def _waiter_cancelled(self, flight: SingleFlight) -> None:
        """Cancel the query if no connection waits for it and it does not refresh a stale answer."""
        if not flight.waiters() and not flight.refreshes and self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
            flight.cancel()

    def _timed_out(self, flight: SingleFlight) -> None:
        self._finished(Failure(Unavailable(f"no answer within {self._deadline:g} s")), flight)
        flight.cancel()

    def _finished(self, answer: object, flight: SingleFlight) -> None:
        if self._flights.get(flight.key) is not flight:  # it was cancelled, or has timed out
            return
        del self._flights[flight.key]
        flight.cancel_timer()
        result = self._store(flight, answer.value if isinstance(answer, Failure) else answer)
        single = not isinstance(result, Unavailable) and result.ttl == 0
        for waiter in flight.waiters():
            request = flight.remove_waiter(waiter)
            if single and waiter is not flight.asker:  # the answer is for the asker alone
                flight.move_waiter(waiter, Deferred.fromCoroutine(self.ask(request)))
            elif isinstance(result, Resolution):
                waiter.callback(result)
            elif isinstance(result, Unavailable) and (old := self._stale_entry(flight.cache_key)) is not None:
                self.counts.stale += 1
                waiter.callback(old.resolution)
            else:
                waiter.errback(copy_error(result))

    def _store(self, flight: SingleFlight, answer: object) -> Resolution | Refused | Unavailable:
        """Cache the outcome of a query and update the counters and the breaker."""
        now, cache_key = self._reactor.seconds(), flight.cache_key
        result = outcome(answer)
        if isinstance(result, Unavailable) and not result.authoritative:
            self.counts.failures += 1
            if not (isinstance(answer, Unavailable) and answer.local):
                self.breaker.record_failure(client_of(flight.peer), cache_key, now)
                self._negative.put(cache_key, (result, now + RETRY_DELAY_S))
            self._log_failure(result, answer, now)
            return result
        self.breaker.record_success(now)
        if self._failure_logged:
            self._failure_logged = False
            log.info("resolver {name} is available again", name=self.name)
        if isinstance(result, Unavailable):
            self._answers.drop(cache_key)
            return result
        if isinstance(result, Refused):
            self.counts.refused += 1
        if result.ttl == 0:
            self._unshared.put(cache_key, True)
            self._answers.drop(cache_key)
            return result
        self._unshared.drop(cache_key)
        until = math.inf if result.ttl is None else now + result.ttl
        if flight.generation != self._generation:  # the answer may be from before the change
            until = now
        if isinstance(result, Refused):
            self._answers.drop(cache_key)
            self._negative.put(cache_key, (result, until))
        else:
            self._negative.drop(cache_key)
            self._answers.put(cache_key, _CacheEntry(result, until, until + self._stale))
        return result

    def _log_failure(self, result: Unavailable, answer: object, now: float) -> None:
        if now < self._quiet_until:
            return
        self._failure_logged, self._quiet_until = True, now + LOG_INTERVAL_S
        log.error("resolver {name} unavailable: {why}; {advice}", name=self.name, why=result, advice=_ADVICE)
        if isinstance(answer, Exception) and not isinstance(answer, Unavailable):
            log.failure("resolver {name} raised an unexpected error", Failure(answer), name=self.name)


_STOPPED = "resolver stopped by a reload or by the proxy's shutdown"
_ADVICE = f"further failures are not logged here for {LOG_INTERVAL_S:g} s, see the access log"
