"""Tests for sniproxy.resolvers.cache.cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.config.model import DEFAULT_DEADLINE_S
from sniproxy.interfaces import (
    IServerNameResolver,
    Refused,
    Request,
    Resolution,
    Unavailable,
    WatchState,
)
from sniproxy.resolvers.cache import cache
from sniproxy.resolvers.cache.breaker import MAX_FAILURES, BreakerState
from sniproxy.resolvers.cache.cache import LOG_INTERVAL_S, RETRY_DELAY_S, STALE_ANSWER_DELAY_S, CachedResolver
from tests.resolvers.cache.scripted import Scripted, Watching, answer, request


class CacheCase(SynchronousTestCase):
    """A cache around a scripted resolver, with a fake clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.logged: list[str] = []
        observer = cast(ILogObserver, self._log)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _log(self, event: LogEvent) -> None:
        if event["log_namespace"] == "sniproxy.resolvers.cache.cache":
            self.logged.append(event["log_format"].format(**{**event, "why": str(event.get("why"))}))

    def make(self, resolver: Any, **options: Any) -> CachedResolver:
        self.asked = CachedResolver("brokers", resolver, self.clock, **options)
        self.addCleanup(lambda: self.assertEqual([], self.clock.getDelayedCalls()))
        self.addCleanup(self.asked.stop)
        return self.asked

    def ask(self, name: str = "a.test", **more: Any) -> Deferred[Resolution]:
        return Deferred.fromCoroutine(self.asked.ask(request(name, **more)))

    def answered(self, *hosts: str) -> None:
        """Assert that these hosts are the next answers, each without a delay."""
        for host in hosts:
            self.assertEqual(host, self.successResultOf(self.ask()).targets[0].host)

    def unavailable(self, later: Deferred[Resolution]) -> str:
        return str(self.failureResultOf(later, Unavailable).value)


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


class WatchTests(CacheCase):
    """Resolvers that watch a source."""

    def test_started_and_stopped(self) -> None:
        """The resolver is started once and stopped once; the cache waits for its stop."""
        resolver = Watching()
        self.successResultOf(self.make(resolver).stop())
        self.assertEqual(0, resolver.stopped)  # never started
        cache = self.make(resolver)
        cache.start()
        cache.start()
        self.assertIsNotNone(resolver.started)
        resolver.ending = Deferred()
        stopping = cache.stop()
        self.assertNoResult(stopping)
        resolver.ending.callback(None)
        self.successResultOf(stopping)
        self.successResultOf(cache.stop())
        self.assertEqual(1, resolver.stopped)

    def test_changed(self) -> None:
        """After a change the resolver is queried again; the stale answer is served if that fails."""
        resolver = Watching(answer("one.test", None), Unavailable("?"), answer("two.test", None), Refused("gone"))
        self.make(resolver).start()
        assert resolver.started is not None
        self.answered("one.test", "one.test")
        resolver.started()
        self.answered("one.test")
        resolver.started()
        self.answered("two.test", "two.test")
        resolver.started()
        self.failureResultOf(self.ask(), Refused)

    def test_changed_meanwhile(self) -> None:
        """An answer to a query from before the change is used, but not cached."""
        resolver = Watching()
        self.make(resolver).start()
        assert resolver.started is not None
        waiter = self.ask()
        resolver.started()
        resolver.pending[0].callback(answer("one.test", None))
        self.successResultOf(waiter)
        resolver.script.append(answer("two.test", None))
        self.answered("two.test")

    def test_state(self) -> None:
        """The state is one line; a resolver that does not watch has none; a faulty state() is reported."""
        self.assertEqual(WatchState("3 brokers", "a\\nb"), self.make(Watching()).watch_state())
        self.assertIsNone(self.make(Scripted()).watch_state())
        broken = Watching()
        broken.says = None  # type: ignore[assignment]
        state = self.make(broken).watch_state()
        assert state is not None and state.error is not None
        self.assertIn("state unavailable: AttributeError", state.error)

    def test_faults(self) -> None:
        """A start or stop that fails or hangs is logged; the cache still works."""

        class Broken(Watching):
            def start(self, changed: Callable[[], None]) -> None:
                raise KeyError("start")

            def stop(self) -> Any:
                raise KeyError("stop")

        cache = self.make(Broken(answer()))
        cache.start()
        self.answered("b.test")
        self.successResultOf(cache.stop())
        self.assertEqual(2, len(self.flushLoggedErrors(KeyError)))
        hanging = Watching()
        hanging.ending = Deferred()
        cache = self.make(hanging)
        cache.start()
        stopping = cache.stop()
        self.clock.advance(5)
        self.successResultOf(stopping)
        self.assertEqual(1, len(self.flushLoggedErrors()))

    def test_stopped(self) -> None:
        """After a stop the resolver is not queried; cached answers are served."""
        resolver = Scripted(answer("one.test", 10))
        cache = self.make(resolver)
        self.answered("one.test")
        cache.stop()
        self.answered("one.test")
        self.clock.advance(10)
        self.answered("one.test")
        self.assertIn("resolver stopped", self.unavailable(self.ask("c.test")))
        self.assertEqual(1, len(resolver.asked))

    def test_stop_ends_questions(self) -> None:
        """A stop fails all waiting requests and cancels the query."""
        resolver = Scripted()
        cache = self.make(resolver)
        waiter = self.ask()
        self.successResultOf(cache.stop())
        self.assertIn("resolver stopped", self.unavailable(waiter))
        self.assertEqual(1, resolver.cancelled)
