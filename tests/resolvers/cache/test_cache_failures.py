"""Tests for sniproxy.resolvers.cache.cache: resolvers that fail temporarily."""

from __future__ import annotations

from sniproxy.interfaces import (
    Unavailable,
)
from sniproxy.resolvers.cache.breaker import MAX_FAILURES, BreakerState
from sniproxy.resolvers.cache.cache import LOG_INTERVAL_S, RETRY_DELAY_S
from tests.resolvers.cache.case import CacheCase
from tests.resolvers.cache.scripted import Scripted, answer


class BrokenTests(CacheCase):
    """A resolver that fails temporarily."""

    def test_pause(self) -> None:
        """A name that failed fails without a query for RETRY_DELAY_S; other names are queried."""
        resolver = Scripted(Unavailable("silent"), answer(), answer())
        self.make(resolver)
        self.unavailable(self.ask())
        self.assertEqual("silent", self.unavailable(self.ask()))
        self.successResultOf(self.ask("c.test"))
        self.clock.advance(RETRY_DELAY_S)
        self.answered("b.test")

    def test_breaker(self) -> None:
        """A resolver that answers no client gets few queries; stale ones are served; one answer closes the breaker."""
        resolver = Scripted(
            answer("one.test", 10), *[Unavailable("silent")] * (MAX_FAILURES + 1), answer("two.test", 10), answer()
        )
        cache = self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        for number in range(MAX_FAILURES):
            self.unavailable(self.ask(f"{number}.test", peer=f"192.0.2.{number}:1"))
        self.assertIs(BreakerState.OPEN, cache.breaker.state)
        self.unavailable(self.ask("c.test", peer="192.0.2.77:1"))
        self.assertEqual(2 + MAX_FAILURES, len(resolver.asked))
        why = self.unavailable(self.ask("d.test", peer="192.0.2.77:2"))
        self.assertIn("circuit breaker open: queries of 6 clients failed; at most 6 queries/s pass", why)
        self.successResultOf(self.ask(peer="192.0.2.77:3"))
        self.assertEqual(2 + MAX_FAILURES, len(resolver.asked))
        self.clock.advance(1)
        self.answered("two.test")
        self.assertIs(BreakerState.CLOSED, cache.breaker.state)
        self.successResultOf(self.ask("c.test"))

    def test_local(self) -> None:
        """A local failure does not count for the breaker, and its name is queried again at once."""
        busy = [Unavailable("too many lookups") for _ in range(MAX_FAILURES)]
        for one in busy:
            one.local = True
        resolver = Scripted(*busy, answer("one.test", 10))
        cache = self.make(resolver)
        for number in range(MAX_FAILURES):
            self.unavailable(self.ask(f"{number}.test", peer=f"192.0.2.{number}:1"))
        self.assertIs(BreakerState.CLOSED, cache.breaker.state)
        self.successResultOf(self.ask("0.test"))
        self.assertEqual(MAX_FAILURES, cache.counts.failures)

    def test_authoritative(self) -> None:
        """Names without a target now do not open the breaker: their queries were answered, and close an open one."""
        silent = [Unavailable("silent")] * MAX_FAILURES
        away = [Unavailable("away", authoritative=True) for _ in range(2 * MAX_FAILURES)]
        cache = self.make(Scripted(*silent, *away, answer("one.test")))
        for number in range(MAX_FAILURES):
            self.unavailable(self.ask(f"{number}.test", peer=f"192.0.2.{number}:1"))
        self.assertIs(BreakerState.OPEN, cache.breaker.state)
        for number in range(2 * MAX_FAILURES):
            self.clock.advance(RETRY_DELAY_S)
            self.assertEqual("away", self.unavailable(self.ask(f"{number}.test", peer=f"192.0.2.{number}:1")))
            self.assertIs(BreakerState.CLOSED, cache.breaker.state)
        self.assertEqual("one.test", self.successResultOf(self.ask("0.test")).targets[0].host)
        self.assertEqual((MAX_FAILURES, 2), (cache.counts.failures, len(self.logged)))

    def test_one_client(self) -> None:
        """A client whose names all fail does not prevent queries, neither of others nor of its own."""
        self.make(Scripted(*[Unavailable("silent")] * 50, answer()))
        for number in range(50):
            self.assertEqual("silent", self.unavailable(self.ask(f"{number}.test", peer=f"192.0.2.1:{number}")))
        self.answered("b.test")

    def test_logged_once(self) -> None:
        """The first failure is logged at once, further ones once per LOG_INTERVAL_S, and the recovery is logged."""
        silent = Unavailable("silent")
        self.make(Scripted(silent, silent, silent, silent, answer(ttl=0), silent, answer(ttl=0)))
        for pause in (RETRY_DELAY_S, RETRY_DELAY_S, LOG_INTERVAL_S, RETRY_DELAY_S):
            self.unavailable(self.ask())
            self.clock.advance(pause)
        self.answered("b.test")
        self.unavailable(self.ask())
        self.clock.advance(RETRY_DELAY_S)
        self.answered("b.test")
        line = "resolver brokers unavailable: silent; further failures are not logged here for 60 s, see the access log"
        self.assertEqual([line, line, "resolver brokers is available again"], self.logged)
