"""A resolver as the proxy asks it, so that a plugin need not care.

* A question has a deadline. What fails is L{Unavailable}, whatever the plugin raised or returned.
* Of several connections with the same question one asks, and all get the answer. Each may leave without harm to others.
* Answers are kept for their C{ttl}, refusals for theirs. When asking again fails, an answer is given for a while longer
  (as RFC 8767 does for DNS), and after L{STALE_ANSWER_DELAY_S} without waiting for the failure.
* A failed name is not asked again for L{RETRY_DELAY_S}. A resolver that answers no client gets few (L{Breaker}).
* Memory is bounded: clients choose the names.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Hashable
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.config.model import DEADLINE_S, STALE_S
from sniproxy.interfaces import (
    IServerNameResolver,
    IWatchingResolver,
    Refused,
    Request,
    Resolution,
    ServerNameResolver,
    Unavailable,
    WatchingResolver,
    WatchState,
    come,
)
from sniproxy.resolvers.cache.breaker import PASSES, Breaker
from sniproxy.resolvers.cache.outcomes import again, described, outcome
from sniproxy.resolvers.cache.singleflight import SingleFlight, Waiter
from sniproxy.util.bounded import LRUMap
from sniproxy.util.names import client_of
from sniproxy.util.text import bounded

log = Logger()

STALE_ANSWER_DELAY_S = 1.0
"""Seconds that a connection waits for a new answer when there is an old one (RFC 8767, section 5: client response)."""

RETRY_DELAY_S = 1.0
"""Seconds before a name that failed is asked again; Pulsar's clients would, ten times in the first seconds."""

MAX_ANSWERS = 10_000
MAX_REFUSALS = 10_000
"""Names that are remembered, each. They are apart, so that refused names drive out no good answers."""

REPEAT_INTERVAL_S = 60.0
"""Seconds before the failures of a resolver are logged again; the access log has each."""

Question = tuple[str | None, str, int | None, tuple[str, ...]]
"""Server name, listener, port, captures: what an answer may depend on and be kept."""


@attrs.define
class Counts:
    """Since the start.

    @ivar questions: put to the resolver. @ivar hits: answered from memory. @ivar shared: by another one's question.
    @ivar stale: by an old answer, because the resolver failed. @ivar refused: of all, the refusals.
    @ivar failures: questions that the resolver did not answer, by error or silence.
    """

    questions: int = 0
    hits: int = 0
    shared: int = 0
    stale: int = 0
    refused: int = 0
    failures: int = 0


@attrs.define
class _Kept:
    """@ivar until: the reactor's time to which it holds. @ivar stale_until: to which it may stand in."""

    resolution: Resolution
    until: float
    stale_until: float


@implementer(IServerNameResolver)
class CachedResolver:
    """@param name: what logs call the resolver: its name in the configuration.

    @param deadline: seconds for an answer. @param stale: seconds after its ttl; 0: an old answer is never used.
    """

    def __init__(
        self,
        name: str,
        resolver: ServerNameResolver,
        reactor: Any,
        deadline: float = DEADLINE_S,
        stale: float = STALE_S,
    ) -> None:
        self.name = name
        self.counts = Counts()
        self.breaker = Breaker()
        self._resolver = resolver
        self._watching: WatchingResolver | None = None
        if IWatchingResolver.providedBy(resolver):
            self._watching = cast(WatchingResolver, resolver)
        self._reactor = reactor
        self._deadline = deadline
        self._stale = stale
        self._answers: LRUMap[Hashable, _Kept] = LRUMap(MAX_ANSWERS)
        # What was refused, or failed, and until when that holds.
        self._noes: LRUMap[Hashable, tuple[Refused | Unavailable, float]] = LRUMap(MAX_REFUSALS)
        # Questions whose answers were for one connection only: nobody waits for another one's.
        self._single: LRUMap[Hashable, bool] = LRUMap(MAX_REFUSALS)
        self._flights: dict[Hashable, SingleFlight] = {}
        self._generation = 0
        self._quiet_until = -math.inf
        self._told = False
        self._started = self._stopped = False

    def start(self) -> None:
        """Let it watch, if it does. Once is enough."""
        if self._watching is not None and not self._started:
            self._started = True
            try:
                self._watching.start(self.forget)
            except Exception:
                log.failure("Resolver {name} could not begin to watch", name=self.name)

    def stop(self) -> Deferred[None]:
        """End its watch, and all questions; from now on it answers from memory. Again is no harm.

        @return: fires when it has ended; it never fails.
        """
        self._stopped = True
        for flight in list(self._flights.values()):
            self._answered(Failure(Unavailable(_STOPPED)), flight)
            flight.cancel()
        watching, self._watching = self._watching if self._started else None, None

        async def end() -> None:
            stopped = None if watching is None else watching.stop()
            if stopped is not None:
                await stopped

        return (
            Deferred.fromCoroutine(end())
            .addTimeout(self._deadline, self._reactor)
            .addErrback(lambda failure: log.failure("Resolver {name} did not stop", failure, name=self.name))
        )

    def watch_state(self) -> WatchState | None:
        """What it says of itself; None: it does not watch, or no longer."""
        if self._watching is None:
            return None
        try:
            state = self._watching.state()
            return WatchState(bounded(state.summary), None if state.error is None else bounded(state.error))
        except Exception as error:  # a plugin's fault harms no page
            return WatchState("", f"it cannot say: {described(error)}")

    def forget(self) -> None:
        """What is known may no longer be true: ask again. Until there is an answer, old ones may stand in."""
        self._generation += 1
        self._noes.clear()
        self._single.clear()
        now = self._reactor.seconds()
        for kept in self._answers.values():
            kept.until = min(kept.until, now)
            kept.stale_until = min(kept.stale_until, now + self._stale)

    def resolve(self, request: Request) -> Resolution | Waiter:
        """The answer, at once when it is known.

        @raise Refused: the name goes nowhere. @raise Unavailable: the resolver does not say.
        """
        now = self._reactor.seconds()
        question = (request.server_name, request.listener, request.port, request.captures)
        kept = self._answers.get(question)
        if kept is not None and now < kept.until:
            self.counts.hits += 1
            return kept.resolution
        old = self._old(question)
        no = self._noes.get(question)
        if no is not None and now < no[1]:
            error = again(no[0])
            if isinstance(error, Unavailable):
                return self._instead(error, old)
            self.counts.hits += 1
            self.counts.refused += 1
            raise error
        if self._stopped:  # connections from before a reload may still ask
            return self._instead(Unavailable(_STOPPED), old)
        flight = None if self._single.get(question) else self._flights.get(question)
        if flight is not None:
            self.counts.shared += 1
            return self._wait(flight, request, old)
        if not self.breaker.lets(client_of(request.peer), now):
            why = f"circuit breaker open: no answer to {self.breaker.clients} clients; {PASSES} questions a second pass"
            return self._instead(Unavailable(why), old)
        return self._ask(question, request, old)

    async def ask(self, request: Request) -> Resolution:
        """L{resolve}, for who waits anyway."""
        answer = self.resolve(request)
        return answer if isinstance(answer, Resolution) else await answer

    def _ask(self, question: Question, request: Request, old: _Kept | None) -> Resolution | Waiter:
        self.counts.questions += 1
        key: Hashable = object() if self._single.get(question) else question
        flight = SingleFlight(key, question, self._generation, old is not None, request.peer)
        try:
            answer = self._resolver.resolve(request)
        except Exception as error:
            return self._at_once(flight, error, old)
        if not isinstance(answer, Awaitable):
            return self._at_once(flight, answer, old)
        self._flights[key] = flight
        flight.timer = self._reactor.callLater(self._deadline, self._too_late, flight)
        waiter = flight.asker = self._wait(flight, request, old)
        flight.answer = Deferred.fromCoroutine(come(answer))
        flight.answer.addBoth(self._answered, flight)
        return waiter

    def _at_once(self, flight: SingleFlight, answer: object, old: _Kept | None) -> Resolution:
        came = self._learn(flight, answer)
        if isinstance(came, Unavailable):
            return self._instead(came, old)
        if isinstance(came, Refused):
            raise came
        return came

    def _instead(self, error: Unavailable, old: _Kept | None) -> Resolution:
        """The old answer, if there is one."""
        if old is None:
            raise error
        self.counts.stale += 1
        return old.resolution

    def _old(self, question: Hashable) -> _Kept | None:
        kept = self._answers.get(question)
        return kept if kept is not None and self._reactor.seconds() < kept.stale_until else None

    def _wait(self, flight: SingleFlight, request: Request, old: _Kept | None) -> Waiter:
        waiter = flight.wait(request, self._left)
        if old is not None and self._deadline > STALE_ANSWER_DELAY_S:
            flight.limit(waiter, self._reactor.callLater(STALE_ANSWER_DELAY_S, self._impatient, flight, waiter, old))
        return waiter

    def _impatient(self, flight: SingleFlight, waiter: Waiter, old: _Kept) -> None:
        flight.leave(waiter)
        self.counts.stale += 1
        waiter.callback(old.resolution)

    def _left(self, flight: SingleFlight) -> None:
        """A question for which nobody waits is not asked on, unless it refreshes what is kept."""
        if not flight.waiting() and not flight.refreshes and self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
            flight.cancel()

    def _too_late(self, flight: SingleFlight) -> None:
        self._answered(Failure(Unavailable(f"no answer within {self._deadline:g} s")), flight)
        flight.cancel()

    def _answered(self, answer: object, flight: SingleFlight) -> None:
        if self._flights.get(flight.key) is not flight:  # nobody waits for it any more, or it came too late
            return
        del self._flights[flight.key]
        flight.end()
        came = self._learn(flight, answer.value if isinstance(answer, Failure) else answer)
        single = not isinstance(came, Unavailable) and came.ttl == 0
        for waiter in flight.waiting():
            request = flight.leave(waiter)
            if single and waiter is not flight.asker:  # an answer for another client is none for this one
                flight.move(waiter, Deferred.fromCoroutine(self.ask(request)))
            elif isinstance(came, Resolution):
                waiter.callback(came)
            elif isinstance(came, Unavailable) and (old := self._old(flight.question)) is not None:
                self.counts.stale += 1
                waiter.callback(old.resolution)
            else:
                waiter.errback(again(came))

    def _learn(self, flight: SingleFlight, answer: object) -> Resolution | Refused | Unavailable:
        """Remember what a question came to."""
        now, question = self._reactor.seconds(), flight.question
        came = outcome(answer)
        if isinstance(came, Unavailable):
            self.counts.failures += 1
            if not (isinstance(answer, Unavailable) and answer.local):
                self.breaker.failed(client_of(flight.peer), question, now)
                self._noes.put(question, (came, now + RETRY_DELAY_S))
            self._tell(came, answer, now)
            return came
        self.breaker.succeeded(now)
        if self._told:
            self._told = False
            log.info("resolver {name} answers again", name=self.name)
        if isinstance(came, Refused):
            self.counts.refused += 1
        if came.ttl == 0:
            self._single.put(question, True)
            self._answers.drop(question)
            return came
        self._single.drop(question)
        until = math.inf if came.ttl is None else now + came.ttl
        if flight.generation != self._generation:  # it may be of before the change
            until = now
        if isinstance(came, Refused):
            self._answers.drop(question)
            self._noes.put(question, (came, until))
        else:
            self._noes.drop(question)
            self._answers.put(question, _Kept(came, until, until + self._stale))
        return came

    def _tell(self, came: Unavailable, answer: object, now: float) -> None:
        if now < self._quiet_until:
            return
        self._told, self._quiet_until = True, now + REPEAT_INTERVAL_S
        log.error("resolver {name}: {why}; {advice}", name=self.name, why=came, advice=_ADVICE)
        if isinstance(answer, Exception) and not isinstance(answer, Unavailable):
            log.failure("What resolver {name} raised", Failure(answer), name=self.name)


_STOPPED = "it is no longer asked: the configuration has changed, or the proxy stops"
_ADVICE = f"more of its failures are not told for {REPEAT_INTERVAL_S:g} s, the access log has them"
