"""For tests of resolver plugins: what every resolver owes the proxy, as a mixin.

::

    class PodsTests(ResolverContract, TestCase):
        def make(self):
            return make_resolver("pods", {"domain": "broker.test"}, reactor)

        known = question("broker-3.example.com")
        unknown = question("nobody.example.com")
        answers_at_once = True

It is run by trial. What your resolver asks of a server, a server of your test's has to answer.
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

MANY = 50
"""Questions at once."""

ROUNDS = 1000
"""Rounds of the reactor in which what was closed has to be gone."""

_NO_SILENCE = "write silence(), a resolver whose source does not answer, or declare answers_at_once = True"

_BLOCKING = (
    (time, "sleep"),
    (socket, "getaddrinfo"),
    (socket, "gethostbyname"),
    (socket, "create_connection"),
    (subprocess, "Popen"),
)


def question(name: str | None, peer: str = "192.0.2.7:50123", listener: str = "public") -> Request:
    """What a connection asks that came with this server name."""
    return Request(name, (), peer, listener, (), 4443)


class ResolverContract:
    """Mix it into a C{twisted.trial.unittest.TestCase}.

    @cvar known: a question that has an answer. @cvar unknown: one that is refused. None: the resolver refuses none.
    @cvar answers_at_once: it knows all by itself, and never lets a question wait. One that does has a L{silence}.
    @cvar seconds: what a question may take, before a test gives up.
    """

    known: Request
    unknown: Request | None = None
    answers_at_once = False
    seconds = 10.0

    def make(self) -> Any:
        """A new resolver, with the real reactor."""
        raise NotImplementedError

    def silence(self) -> Any:
        """A new resolver whose source does not answer; needed unless L{answers_at_once}."""
        raise NotImplementedError(_NO_SILENCE)

    async def test_contract_answers(self) -> None:
        """A known name has targets, and a ttl that is one; at once or later; two resolvers say the same."""
        first, second = self._asked(), self._asked()
        answer = await first.ask(self.known)
        self._case.assertEqual(set(answer.targets), set((await second.ask(self.known)).targets))
        self._case.assertTrue(answer.targets)
        self._case.assertEqual(0, first.counts.failures)

    async def test_contract_refuses(self) -> None:
        """An unknown name is refused by Refused, with a reason; not by another error, and not by silence."""
        if self.unknown is None:
            return
        asked = self._asked()
        try:
            await asked.ask(self.unknown)
        except Refused as error:
            self._case.assertTrue(error.reason.strip(), "the reason is empty")
        else:
            self._case.fail("the unknown name was answered")

    async def test_contract_many(self) -> None:
        """Questions of many clients at once, put past the proxy's sharing, are all answered."""
        resolver = self._started(self.make())
        questions = [attrs.evolve(self.known, peer=f"192.0.2.{number + 1}:50123") for number in range(MANY)]
        asked = [Deferred.fromCoroutine(_ask(resolver, question)) for question in questions]
        answers = await defer.gatherResults(asked, consumeErrors=True)
        self._case.assertEqual(MANY, sum(isinstance(answer, Resolution) for answer in answers))

    async def test_contract_does_not_block(self) -> None:
        """While it is made, watches, and is asked, nothing that blocks is called where the reactor runs."""
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
        await self._asked().ask(self.known)
        self._case.assertEqual([], blocked)

    async def test_contract_watch(self) -> None:
        """One that watches says what it knows, before and after its start, and ends; others have nothing of that."""
        resolver = self.make()
        if not IWatchingResolver.providedBy(resolver):
            self._case.assertFalse(hasattr(resolver, "start"), "declare it: @implementer(IWatchingResolver)")
            return
        self._case.assertTrue(IServerNameResolver.providedBy(resolver))
        self._case.assertIsInstance(resolver.state(), WatchState)
        resolver.start(lambda: None)
        self._case.assertIsInstance(resolver.state(), WatchState)
        stopping = resolver.stop()
        if stopping is not None:
            await stopping

    async def test_contract_leaves_nothing(self) -> None:
        """What was asked, answered, cancelled and stopped leaves no descriptor open and no timer running."""
        await deferLater(self._reactor, 0)
        await self._use()  # what is opened once for all, is open now
        before = _left_over(self._reactor)
        for _ in range(3):
            await self._use()
        await self._assert_no_more(before)

    async def test_contract_silence(self) -> None:
        """When its source is silent, the deadline ends the question, and a cancelled question ends, too. One that
        answers at once has no such source, and does as it is said to.
        """
        if self.answers_at_once:
            self._assert_at_once()
            return
        resolver = self.silence()
        self._case.assertIsNotNone(resolver, _NO_SILENCE)
        await deferLater(self._reactor, 0)
        before = _left_over(self._reactor)
        asked = CachedResolver("contract", resolver, self._reactor, deadline=0.1)
        watches = IWatchingResolver.providedBy(resolver)
        if watches:  # not by asked, which would give its end the same short deadline
            resolver.start(asked.forget)
        try:
            await asked.ask(self.known)
        except Unavailable:
            pass
        else:
            self._case.fail("it was answered")
        given_up = Deferred.fromCoroutine(_ask(resolver, self.known))
        await deferLater(self._reactor, 0)
        given_up.cancel()
        try:
            await given_up
        except (CancelledError, Unavailable):
            pass
        await asked.stop()
        stopping = resolver.stop() if watches else None
        if stopping is not None:
            await stopping
        await self._assert_no_more(before)

    async def test_contract_reload(self) -> None:
        """As at a reload: one is made and dropped, because something else in the file was bad. Another takes the old
        one's place while that has a question open: it answers, and the old one tells nothing any more and is gone.
        """
        await deferLater(self._reactor, 0)
        await self._use()
        before = _left_over(self._reactor)
        self.make()
        ended = False
        told: list[bool] = []
        old = self.make()
        watches = IWatchingResolver.providedBy(old)
        if watches:
            old.start(lambda: told.append(ended))
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
        self._case.assertNotIn(True, told, "it has told of a change after its end")

    def _assert_at_once(self) -> None:
        resolver = self._started(self.make())
        for request in (self.known, self.unknown):
            try:
                answer = None if request is None else resolver.resolve(request)
            except Refused:
                continue
            self._case.assertFalse(isinstance(answer, Awaitable), f"it does not answer at once; {_NO_SILENCE}")

    @property
    def _case(self) -> Any:
        """This, as the test case that it is mixed into."""
        return self

    @property
    def _reactor(self) -> Any:
        from twisted.internet import reactor  # not when this is loaded: a test chooses its reactor

        return reactor

    def _asked(self) -> CachedResolver:
        asked = CachedResolver("contract", self.make(), self._reactor, deadline=self.seconds)
        asked.start()
        self._case.addCleanup(asked.stop)
        return asked

    def _started(self, resolver: Any) -> Any:
        if IWatchingResolver.providedBy(resolver):
            resolver.start(lambda: None)
            self._case.addCleanup(resolver.stop)
        return resolver

    async def _use(self) -> None:
        asked = CachedResolver("contract", self.make(), self._reactor, deadline=self.seconds)
        asked.start()
        await asked.ask(self.known)
        asked.forget()
        left = Deferred.fromCoroutine(asked.ask(self.known))
        left.addErrback(lambda failure: failure.trap(CancelledError))
        left.cancel()
        await asked.stop()

    async def _assert_no_more(self, before: tuple[int, int]) -> None:
        """There are no more descriptors and timers than before, when what was closed has gone. Fewer are no fault:
        what a server of the test's had open then may be closed now.
        """
        for _ in range(ROUNDS):
            await deferLater(self._reactor, 0)
            found = _left_over(self._reactor)
            if found[0] <= before[0] and found[1] <= before[1]:
                return
        self._case.fail(f"descriptors, timers: {before} before, {found} now")


def _left_over(reactor: Any) -> tuple[int, int]:
    """How many descriptors are open, and how many timers run; the test's own deadline is one of them."""
    return len(os.listdir("/proc/self/fd")), len(reactor.getDelayedCalls())


async def _ask(resolver: Any, request: Request) -> object:
    answer = resolver.resolve(request)
    return answer if isinstance(answer, Resolution) else await answer
