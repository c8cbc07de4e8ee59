"""Tests for sniproxy.resolvers.cache.cache: answers, and requests that share a query."""

from __future__ import annotations

import attrs
from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from sniproxy.config.model import DEFAULT_DEADLINE_S
from sniproxy.interfaces import (
    IServerNameResolver,
    Refused,
    Request,
    Resolution,
    Unavailable,
)
from tests.resolvers.cache.case import CacheCase
from tests.resolvers.cache.scripted import Scripted, answer, request


class AnswerTests(CacheCase):
    """Answers at once, later, and no answer."""

    def test_at_once(self) -> None:
        """An immediate answer is passed on without a Deferred."""
        cache = self.make(Scripted(answer()))
        self.assertTrue(verifyObject(IServerNameResolver, cache))
        self.assertIsInstance(cache.resolve(request()), Resolution)

    def test_later(self) -> None:
        """The cache waits for a Deferred and for a coroutine."""
        resolver = Scripted()
        self.make(resolver)
        waiter = self.ask()
        self.assertNoResult(waiter)
        resolver.pending[0].callback(answer("later.test"))
        self.assertEqual("later.test", self.successResultOf(waiter).targets[0].host)

        class Coroutine:
            async def resolve(self, request: Request) -> Resolution:
                return answer("coroutine.test")

        self.make(Coroutine())
        self.answered("coroutine.test")

    def test_ports(self) -> None:
        """An answer is for one port of the listener, and for one that a PROXY protocol header names."""
        cache = self.make(Scripted(*(answer(f"{host}.test", None) for host in "abc")))
        first = request()
        for question in (first, attrs.evolve(first, port=1), attrs.evolve(first, proxy_protocol_port=1)):
            for _ in "12":
                answered = cache.resolve(question)
                assert isinstance(answered, Resolution)
                self.assertEqual(self.asked.counts.questions, ord(answered.targets[0].host[0]) - ord("a") + 1)

    def test_refused(self) -> None:
        """An immediate or later refusal is passed on with its reason."""
        resolver = Scripted(Refused("unknown", 0))
        self.make(resolver)
        self.assertEqual("unknown", self.failureResultOf(self.ask(), Refused).value.reason)
        waiter = self.ask()
        resolver.pending[0].errback(Refused("unknown, too"))
        self.assertEqual("unknown, too", self.failureResultOf(waiter, Refused).value.reason)

    def test_failures(self) -> None:
        """Everything else becomes Unavailable; an unexpected exception is logged with traceback."""
        for bad, said, tracebacks in (
            (KeyError("x"), "unexpected error: KeyError: 'x'", 1),
            (Unavailable("silent"), "silent", 0),
            (None, "returned NoneType", 0),
        ):
            self.make(Scripted(bad))
            self.assertIn(said, self.unavailable(self.ask()))
            self.assertEqual(tracebacks, len(self.flushLoggedErrors(KeyError)))

    def test_deadline(self) -> None:
        """The timeout cancels a silent resolver. One that ignores the cancellation does no harm."""

        class Stubborn:
            async def resolve(self, request: Request) -> Resolution:
                while True:
                    try:
                        await Deferred()
                    except CancelledError:
                        pass

        silent = Scripted()
        for resolver in (silent, Stubborn()):
            self.make(resolver, deadline=3)
            waiter = self.ask()
            self.clock.advance(2.9)
            self.assertNoResult(waiter)
            self.clock.advance(0.1)
            self.assertIn("no answer within 3 s", self.unavailable(waiter))
        self.assertEqual(1, silent.cancelled)

    def test_late_answer(self) -> None:
        """An answer after the timeout is not used."""
        resolver = Scripted()
        self.make(resolver)
        resolver.resolve = lambda request: Deferred(lambda later: later.callback(answer()))  # type: ignore[method-assign]
        waiter = self.ask()
        self.clock.advance(DEFAULT_DEADLINE_S)
        self.unavailable(waiter)
        self.unavailable(self.ask())


class SharingTests(CacheCase):
    """One query in flight for each name."""

    def test_shared(self) -> None:
        """Connections with the same query share one; another name or another listener has its own."""
        resolver = Scripted()
        cache = self.make(resolver)
        waiters = [self.ask(peer=f"192.0.2.7:{port}") for port in range(3)]
        others = [self.ask("c.test"), self.ask(listener="inner")]
        self.assertEqual(3, len(resolver.asked))
        self.assertEqual((3, 2), (cache.counts.questions, cache.counts.shared))
        resolver.pending[0].callback(answer())
        for waiter in waiters:
            self.assertEqual("b.test", self.successResultOf(waiter).targets[0].host)
        for waiter in others:
            self.assertNoResult(waiter)
            waiter.addErrback(lambda failure: failure.trap(Unavailable))

    def test_one_leaves(self) -> None:
        """If a client disconnects, even the one that caused the query, the others still get the answer."""
        resolver = Scripted()
        self.make(resolver)
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        resolver.pending[0].callback(answer())
        self.assertEqual("b.test", self.successResultOf(second).targets[0].host)

    def test_all_leave(self) -> None:
        """When all clients have disconnected, the query is cancelled; the next client causes a new one."""
        resolver = Scripted()
        self.make(resolver)
        for waiter in (self.ask(), self.ask()):
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)
        self.assertEqual(1, resolver.cancelled)
        self.ask().addErrback(lambda failure: failure.trap(Unavailable))
        self.assertEqual(2, len(resolver.asked))

    def test_failure_is_shared(self) -> None:
        """Each waiter gets the failure as an exception of its own."""
        resolver = Scripted()
        self.make(resolver)
        waiters = [self.ask(), self.ask()]
        resolver.pending[0].errback(Unavailable("silent"))
        errors = [self.failureResultOf(waiter, Unavailable).value for waiter in waiters]
        self.assertIsNot(errors[0], errors[1])

    def test_for_one_connection_only(self) -> None:
        """An answer with a ttl of 0 is given to one client only, even if others waited for it."""
        for said in (answer("first.test", ttl=0), Refused("not you", ttl=0)):
            resolver = Scripted()
            self.make(resolver)
            first, second = self.ask(peer="192.0.2.1:1"), self.ask(peer="192.0.2.2:2")
            self.assertEqual(1, len(resolver.asked))
            resolver.pending[0].callback(said) if isinstance(said, Resolution) else resolver.pending[0].errback(said)
            self.assertTrue(first.called)
            first.addErrback(lambda failure: failure.trap(Refused))
            self.assertNoResult(second)
            self.assertEqual("192.0.2.2:2", resolver.asked[1].peer)
            third = self.ask(peer="192.0.2.3:3")
            self.assertEqual(
                "192.0.2.3:3", resolver.asked[2].peer
            )  # the cache knows by now that answers must not be shared
            resolver.pending[1].callback(answer("second.test", ttl=0))
            self.assertEqual("second.test", self.successResultOf(second).targets[0].host)
            third.cancel()
            self.failureResultOf(third, CancelledError)
