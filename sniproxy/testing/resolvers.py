"""Tests of the contract that every resolver plugin must meet, as a mixin for trial's test cases.

::

    class PodsTests(ResolverContract, TestCase):
        def make(self):
            return make_resolver("pods", {"domain": "broker.test"}, reactor)

        known = question("broker-3.example.com")
        unknown = question("unknown.example.com")
        answers_at_once = True

If the resolver queries a server, the test has to provide one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from sniproxy.interfaces import (
    IServerNameResolver,
    IWatchingResolver,
    Refused,
    Request,
    Resolution,
    Unavailable,
    WatchState,
)
from sniproxy.resolvers.cache.cache import CachedResolver
from sniproxy.util.reactor import IReactor, global_reactor

MANY = 50
"""Concurrent queries."""

ROUNDS = 1000
"""Rounds of the reactor within which closed descriptors and timers must be gone."""

_NO_SILENCE = "implement silence(), which makes a resolver whose source does not answer, or set answers_at_once = True"

_BLOCKING = (
    (time, "sleep"),
    (socket, "getaddrinfo"),
    (socket, "gethostbyname"),
    (socket, "create_connection"),
    (subprocess, "Popen"),
)


def question(name: str | None, peer: str = "192.0.2.7:50123", listener: str = "public") -> Request:
    """The request of a connection with this server name. None: a connection without one."""
    return Request(name, (), peer, listener, (), 4443)


class ResolverContract:
    """The contract, to be mixed into a C{twisted.trial.unittest.TestCase}.

    @cvar known: a request that has an answer.
    @cvar unknown: a request that is refused. None: the resolver refuses no name.
    @cvar answers_at_once: whether the resolver answers every request without waiting. If not, implement L{silence}.
    @cvar seconds: the timeout of a query.
    """

    known: Request
    unknown: Request | None = None
    answers_at_once = False
    seconds = 10.0

    def make(self) -> Any:
        """Make a new resolver with the real reactor."""
        raise NotImplementedError

    def silence(self) -> Any:
        """Make a new resolver whose source does not answer. Required unless L{answers_at_once}."""
        raise NotImplementedError(_NO_SILENCE)

    async def test_contract_answers(self) -> None:
        """A known name has targets and a valid ttl. Two resolvers give the same targets."""
        first, second = self._cached(), self._cached()
        answer = await first.ask(self.known)
        self._case.assertEqual(set(answer.targets), set((await second.ask(self.known)).targets))
        self._case.assertTrue(answer.targets)
        self._case.assertEqual(0, first.counts.failures)

    async def test_contract_refuses(self) -> None:
        """An unknown name raises Refused with a reason, not another error or a timeout."""
        if self.unknown is None:
            return
        cached = self._cached()
        try:
            await cached.ask(self.unknown)
        except Refused as error:
            self._case.assertTrue(error.reason.strip(), "the reason is empty")
        else:
            self._case.fail("the unknown name has an answer")

    async def test_contract_many(self) -> None:
        """Concurrent queries of many clients, sent without the proxy's cache, are all answered."""
        resolver = self._started(self.make())
        questions = [attrs.evolve(self.known, peer=f"192.0.2.{number + 1}:50123") for number in range(MANY)]
        queries = [Deferred.fromCoroutine(_ask(resolver, question)) for question in questions]
        answers = await defer.gatherResults(queries, consumeErrors=True)
        self._case.assertEqual(MANY, sum(isinstance(answer, Resolution) for answer in answers))

    async def test_contract_does_not_block(self) -> None:
        """Making, starting and querying the resolver call nothing that blocks in the reactor thread."""
        reactor_thread = threading.get_ident()

        def guarded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kw: Any) -> Any:
                if threading.get_ident() == reactor_thread:
                    blocked.append(name)
                return original(*args, **kw)

            return call

        blocked: list[str] = []
        for module, name in _BLOCKING:
            self._case.patch(module, name, guarded(f"{module.__name__}.{name}", getattr(module, name)))
        await self._cached().ask(self.known)
        self._case.assertEqual([], blocked)

    async def test_contract_watch(self) -> None:
        """A watching resolver has a state before and after its start, and stops. Other resolvers have no start."""
        resolver = self.make()
        if not IWatchingResolver.providedBy(resolver):
            self._case.assertFalse(
                hasattr(resolver, "start"), "it has start(), so declare it with @implementer(IWatchingResolver)"
            )
            return
        self._case.assertTrue(IServerNameResolver.providedBy(resolver))
        self._case.assertIsInstance(resolver.state(), WatchState)
        resolver.start(lambda: None)
        self._case.assertIsInstance(resolver.state(), WatchState)
        stopping = resolver.stop()
        if stopping is not None:
            await stopping

    async def test_contract_leaves_nothing(self) -> None:
        """After queries, a cancellation and a stop no descriptor and no timer is left."""
        await deferLater(self._reactor, 0)
        await self._use()  # opens what stays open for all resolvers
        before = _left_over(self._reactor)
        for _ in range(3):
            await self._use()
        await self._assert_no_more(before)

    async def test_contract_silence(self) -> None:
        """If the source is silent, the timeout ends a query, and so does a cancellation.

        With L{answers_at_once} this test checks that each answer is immediate.
        """
        if self.answers_at_once:
            self._assert_at_once()
            return
        resolver = self.silence()
        self._case.assertIsNotNone(resolver, _NO_SILENCE)
        await deferLater(self._reactor, 0)
        before = _left_over(self._reactor)
        cached = CachedResolver("contract", resolver, self._reactor, deadline=0.1)
        watches = IWatchingResolver.providedBy(resolver)
        if watches:  # not by the cache, which would give the stop the same short timeout
            resolver.start(cached.forget)
        try:
            await cached.ask(self.known)
        except Unavailable:
            pass
        else:
            self._case.fail("the query has an answer although the source is silent")
        given_up = Deferred.fromCoroutine(_ask(resolver, self.known))
        await deferLater(self._reactor, 0)
        given_up.cancel()
        try:
            await given_up
        except (CancelledError, Unavailable):
            pass
        await cached.stop()
        stopping = resolver.stop() if watches else None
        if stopping is not None:
            await stopping
        await self._assert_no_more(before)

    async def test_contract_reload(self) -> None:
        """A reload works: a resolver that is made but not started leaves nothing open, as after a failed reload. A new
        resolver answers after it has replaced one with a query in flight; the old one reports no change any more.
        """
        await deferLater(self._reactor, 0)
        await self._use()
        before = _left_over(self._reactor)
        self.make()
        ended = False
        changes_reported: list[bool] = []
        old = self.make()
        watches = IWatchingResolver.providedBy(old)
        if watches:
            old.start(lambda: changes_reported.append(ended))
        left = Deferred.fromCoroutine(_ask(old, self.known))
        new = CachedResolver("contract", self.make(), self._reactor, deadline=self.seconds)
        left.addErrback(lambda failure: failure.trap(CancelledError, Unavailable))
        left.cancel()
        stopping = old.stop() if watches else None
        ended = True
        new.start()
        if stopping is not None:
            await stopping
        self._case.assertTrue((await new.ask(self.known)).targets)
        self._case.assertEqual(0, new.counts.failures)
        await new.stop()
        await self._assert_no_more(before)
        self._case.assertNotIn(True, changes_reported, "the stopped resolver has reported a change")

    def _assert_at_once(self) -> None:
        resolver = self._started(self.make())
        for request in (self.known, self.unknown):
            try:
                answer = None if request is None else resolver.resolve(request)
            except Refused:
                continue
            self._case.assertFalse(
                isinstance(answer, Awaitable), f"the resolver does not answer at once; {_NO_SILENCE}"
            )

    @property
    def _case(self) -> Any:
        """The test case that this is mixed into."""
        return self

    @property
    def _reactor(self) -> IReactor:
        return global_reactor()  # called late, so that trial can choose the reactor

    def _cached(self) -> CachedResolver:
        cached = CachedResolver("contract", self.make(), self._reactor, deadline=self.seconds)
        cached.start()
        self._case.addCleanup(cached.stop)
        return cached

    def _started(self, resolver: Any) -> Any:
        if IWatchingResolver.providedBy(resolver):
            resolver.start(lambda: None)
            self._case.addCleanup(resolver.stop)
        return resolver

    async def _use(self) -> None:
        cached = CachedResolver("contract", self.make(), self._reactor, deadline=self.seconds)
        cached.start()
        await cached.ask(self.known)
        cached.forget()
        left = Deferred.fromCoroutine(cached.ask(self.known))
        left.addErrback(lambda failure: failure.trap(CancelledError))
        left.cancel()
        await cached.stop()

    async def _assert_no_more(self, before: tuple[int, int]) -> None:
        """Assert that there are no more descriptors and timers than before. There may be fewer, because a server of the
        test may have closed some meanwhile.
        """
        for _ in range(ROUNDS):
            await deferLater(self._reactor, 0)
            found = _left_over(self._reactor)
            if found[0] <= before[0] and found[1] <= before[1]:
                return
        self._case.fail(f"descriptors, timers: {before} before, {found} now")


def _left_over(reactor: IReactorTime) -> tuple[int, int]:
    """The numbers of open descriptors and of timers. The test's own timeout is one of the timers."""
    return len(os.listdir("/proc/self/fd")), len(reactor.getDelayedCalls())


async def _ask(resolver: Any, request: Request) -> object:
    answer = resolver.resolve(request)
    return answer if isinstance(answer, Resolution) else await answer
