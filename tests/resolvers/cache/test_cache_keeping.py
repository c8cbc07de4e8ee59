"""Tests for sniproxy.resolvers.cache.cache: fresh and stale answers."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from sniproxy.interfaces import (
    Refused,
    Unavailable,
)
from sniproxy.resolvers.cache import cache
from sniproxy.resolvers.cache.cache import RETRY_DELAY_S, STALE_ANSWER_DELAY_S
from tests.resolvers.cache.case import CacheCase
from tests.resolvers.cache.scripted import Scripted, answer


class KeepingTests(CacheCase):
    """Cached answers."""

    def test_ttl(self) -> None:
        """An answer is reused for its ttl for all clients of the name; then the resolver is queried again."""
        cache = self.make(Scripted(answer("one.test", 10), answer("two.test", 10)))
        self.answered("one.test")
        self.clock.advance(9.9)
        self.answered("one.test")
        self.clock.advance(0.1)
        self.answered("two.test")
        self.assertEqual((2, 1), (cache.counts.questions, cache.counts.hits))

    def test_no_ttl(self) -> None:
        """An answer without a ttl does not expire."""
        self.make(Scripted(answer("one.test", None)))
        self.answered("one.test")
        self.clock.advance(1e9)
        self.answered("one.test")

    def test_zero(self) -> None:
        """An answer with a ttl of 0 is not cached."""
        self.make(Scripted(answer("one.test", 0), answer("two.test", 0)))
        self.answered("one.test", "two.test")

    def test_refusals(self) -> None:
        """A refusal is cached for its ttl."""
        resolver = Scripted(Refused("no", 5), answer())
        cache = self.make(resolver)
        for _ in range(3):
            self.failureResultOf(self.ask(), Refused)
        self.assertEqual((1, 2, 3), (cache.counts.questions, cache.counts.hits, cache.counts.refused))
        self.clock.advance(5)
        self.answered("b.test")

    def test_refused_after_an_answer(self) -> None:
        """A refusal removes the stale answer of the name."""
        self.make(Scripted(answer("one.test", 10), Refused("gone", 1), Unavailable("silent")))
        self.answered("one.test")
        self.clock.advance(10)
        self.failureResultOf(self.ask(), Refused)
        self.clock.advance(1)
        self.unavailable(self.ask())

    def test_bounded(self) -> None:
        """The cache is bounded, and refused names do not evict answers."""
        self.patch(cache, "MAX_ANSWERS", 3)
        self.patch(cache, "MAX_REFUSALS", 3)
        resolver = Scripted(answer("one.test", None), *[Refused("no") for _ in range(100)])
        self.make(resolver)
        self.answered("one.test")
        for number in range(100):
            self.failureResultOf(self.ask(f"{number}.test"), Refused)
        self.answered("one.test")
        self.assertEqual(3, len(self.asked._negative))


class StaleTests(CacheCase):
    """Stale answers are served while the resolver fails."""

    def test_stale(self) -> None:
        """A stale answer is served while the resolver fails; the name is queried again after RETRY_DELAY_S."""
        resolver = Scripted(
            answer("one.test", 10), Unavailable("silent"), Unavailable("silent"), answer("two.test", 10)
        )
        cache = self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        self.answered("one.test", "one.test")
        self.assertEqual((2, 2, 1), (len(resolver.asked), cache.counts.stale, cache.counts.failures))
        self.clock.advance(RETRY_DELAY_S)
        self.answered("one.test")
        self.clock.advance(RETRY_DELAY_S)
        self.answered("two.test")

    def test_authoritative(self) -> None:
        """A resolver that says that there is no target now has answered: the stale answer is dropped."""
        away, silent = Unavailable("away", authoritative=True), Unavailable("silent")
        resolver = Scripted(answer("one.test", 10), away, silent, answer("two.test", 10))
        cache = self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        self.assertEqual("away", self.unavailable(self.ask()))
        self.assertEqual("silent", self.unavailable(self.ask()))  # "away" is not cached
        self.clock.advance(RETRY_DELAY_S)
        self.answered("two.test")
        self.assertEqual((0, 1), (cache.counts.stale, cache.counts.failures))

    def test_authoritative_later(self) -> None:
        """All connections that share such a query get its answer."""
        resolver = Scripted(answer("one.test", 10))
        self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        waiters = [self.ask(), self.ask()]
        resolver.pending[0].errback(Unavailable("away", authoritative=True))
        self.assertEqual(["away", "away"], [self.unavailable(one) for one in waiters])

    def test_bound(self) -> None:
        """A stale answer is served for `stale` seconds at most; 0: never."""
        for stale in (60.0, 0.0):
            self.make(Scripted(answer("one.test", 10), *[Unavailable("silent")] * 9), stale=stale)
            self.answered("one.test")
            self.clock.advance(10)
            if stale:
                self.clock.advance(59.9)
                self.answered("one.test")
                self.clock.advance(0.1)
            self.assertIn("silent", self.unavailable(self.ask()))

    def test_slow_refresh(self) -> None:
        """A client waits STALE_ANSWER_DELAY_S at most for a refresh; the query continues, and its answer is cached."""
        resolver = Scripted(answer("one.test", 10))
        self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        first, second = self.ask(), self.ask()
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.clock.advance(STALE_ANSWER_DELAY_S)
        self.assertEqual("one.test", self.successResultOf(first).targets[0].host)
        self.assertEqual(0, resolver.cancelled)
        resolver.pending[0].callback(answer("two.test", 10))
        self.answered("two.test")

    def test_refresh_goes_on(self) -> None:
        """A query that refreshes a stale answer continues when all clients have disconnected."""
        resolver = Scripted(answer("one.test", 10))
        self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        waiter = self.ask()
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.assertEqual(0, resolver.cancelled)
        resolver.pending[0].callback(answer("two.test", 10))
        self.answered("two.test")

    def test_later_failure(self) -> None:
        """A failure before STALE_ANSWER_DELAY_S yields the stale answer at once."""
        resolver = Scripted(answer("one.test", 10))
        self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        waiter = self.ask()
        resolver.pending[0].errback(Unavailable("silent"))
        self.assertEqual("one.test", self.successResultOf(waiter).targets[0].host)
