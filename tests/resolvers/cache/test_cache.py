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
from sniproxy.resolvers.cache.breaker import MAX_FAILURES, State
from sniproxy.resolvers.cache.cache import REPEAT_INTERVAL_S, RETRY_DELAY_S, STALE_ANSWER_DELAY_S, CachedResolver
from tests.resolvers.cache.scripted import Scripted, Watching, answer, request


class AskedCase(SynchronousTestCase):
    """A scripted resolver, asked under a clock of the test's."""

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
        """These are the answers, one question after another, each at once."""
        for host in hosts:
            self.assertEqual(host, self.successResultOf(self.ask()).targets[0].host)

    def unavailable(self, later: Deferred[Resolution]) -> str:
        return str(self.failureResultOf(later, Unavailable).value)


class AnswerTests(AskedCase):
    """Answers at once, later, and never."""

    def test_at_once(self) -> None:
        """What a resolver answers at once is answered at once, without a Deferred."""
        cache = self.make(Scripted(answer()))
        self.assertTrue(verifyObject(IServerNameResolver, cache))
        self.assertIsInstance(cache.resolve(request()), Resolution)

    def test_later(self) -> None:
        """A Deferred and a coroutine are waited for."""
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
        """A refusal, at once or later, is passed on with its reason."""
        resolver = Scripted(Refused("never heard of it", 0))
        self.make(resolver)
        self.assertEqual("never heard of it", self.failureResultOf(self.ask(), Refused).value.reason)
        waiter = self.ask()
        resolver.pending[0].errback(Refused("nor I"))
        self.assertEqual("nor I", self.failureResultOf(waiter, Refused).value.reason)

    def test_failures(self) -> None:
        """Whatever else it raises or gives is Unavailable; a crash is logged with its traceback, a failure without."""
        for bad, said, tracebacks in (
            (KeyError("x"), "it failed: KeyError: 'x'", 1),
            (Unavailable("silent"), "silent", 0),
            (None, "it gave a NoneType", 0),
        ):
            self.make(Scripted(bad))
            self.assertIn(said, self.unavailable(self.ask()))
            self.assertEqual(tracebacks, len(self.flushLoggedErrors(KeyError)))

    def test_deadline(self) -> None:
        """A silent resolver is cancelled after the deadline; one that does not let itself be cancelled harms nobody."""

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
        """What comes after the deadline is not used."""
        resolver = Scripted()
        self.make(resolver)
        resolver.resolve = lambda request: Deferred(lambda later: later.callback(answer()))  # type: ignore[method-assign]
        waiter = self.ask()
        self.clock.advance(DEFAULT_DEADLINE_S)
        self.unavailable(waiter)
        self.unavailable(self.ask())


class SharingTests(AskedCase):
    """One question in flight for each name."""

    def test_shared(self) -> None:
        """Connections with the same question share one; another name, and another listener, have their own."""
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
        """One that leaves does not harm the others, even if it was the one that asked."""
        resolver = Scripted()
        self.make(resolver)
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        resolver.pending[0].callback(answer())
        self.assertEqual("b.test", self.successResultOf(second).targets[0].host)

    def test_all_leave(self) -> None:
        """When all have left, the resolver need not answer, and the next one asks anew."""
        resolver = Scripted()
        self.make(resolver)
        for waiter in (self.ask(), self.ask()):
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)
        self.assertEqual(1, resolver.cancelled)
        self.ask().addErrback(lambda failure: failure.trap(Unavailable))
        self.assertEqual(2, len(resolver.asked))

    def test_failure_is_shared(self) -> None:
        """A failure reaches all who wait, each as an error of its own."""
        resolver = Scripted()
        self.make(resolver)
        waiters = [self.ask(), self.ask()]
        resolver.pending[0].errback(Unavailable("silent"))
        errors = [self.failureResultOf(waiter, Unavailable).value for waiter in waiters]
        self.assertIsNot(errors[0], errors[1])

    def test_for_one_connection_only(self) -> None:
        """An answer with a ttl of 0 is never another client's, also if that one waited for it."""
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
            self.assertEqual("192.0.2.3:3", resolver.asked[2].peer)  # it is known by now that they are not shared
            resolver.pending[1].callback(answer("second.test", ttl=0))
            self.assertEqual("second.test", self.successResultOf(second).targets[0].host)
            third.cancel()
            self.failureResultOf(third, CancelledError)


class KeepingTests(AskedCase):
    """Answers from memory."""

    def test_ttl(self) -> None:
        """An answer is used again for its ttl, by any client of the name, and then asked for anew."""
        cache = self.make(Scripted(answer("one.test", 10), answer("two.test", 10)))
        self.answered("one.test")
        self.clock.advance(9.9)
        self.answered("one.test")
        self.clock.advance(0.1)
        self.answered("two.test")
        self.assertEqual((2, 1), (cache.counts.questions, cache.counts.hits))

    def test_for_ever(self) -> None:
        """Without a ttl an answer holds."""
        self.make(Scripted(answer("one.test", None)))
        self.answered("one.test")
        self.clock.advance(1e9)
        self.answered("one.test")

    def test_zero(self) -> None:
        """A ttl of 0 is asked again each time."""
        self.make(Scripted(answer("one.test", 0), answer("two.test", 0)))
        self.answered("one.test", "two.test")

    def test_refusals(self) -> None:
        """A refusal is remembered for its ttl."""
        resolver = Scripted(Refused("no", 5), answer())
        cache = self.make(resolver)
        for _ in range(3):
            self.failureResultOf(self.ask(), Refused)
        self.assertEqual((1, 2, 3), (cache.counts.questions, cache.counts.hits, cache.counts.refused))
        self.clock.advance(5)
        self.answered("b.test")

    def test_refused_after_an_answer(self) -> None:
        """A name that is refused now has no old answer."""
        self.make(Scripted(answer("one.test", 10), Refused("gone", 1), Unavailable("silent")))
        self.answered("one.test")
        self.clock.advance(10)
        self.failureResultOf(self.ask(), Refused)
        self.clock.advance(1)
        self.unavailable(self.ask())

    def test_bounded(self) -> None:
        """Names that clients make up fill no memory, and refused ones drive out no answers."""
        self.patch(cache, "MAX_ANSWERS", 3)
        self.patch(cache, "MAX_REFUSALS", 3)
        resolver = Scripted(answer("one.test", None), *[Refused("no") for _ in range(100)])
        self.make(resolver)
        self.answered("one.test")
        for number in range(100):
            self.failureResultOf(self.ask(f"{number}.test"), Refused)
        self.answered("one.test")
        self.assertEqual(3, len(self.asked._noes))


class StaleTests(AskedCase):
    """Old answers stand in while the resolver fails."""

    def test_stands_in(self) -> None:
        """An answer is used after its ttl while asking again fails; a name is asked again after a pause."""
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
        """It stands in no longer than is set; 0: never."""
        for stale in (60.0, 0.0):
            self.make(Scripted(answer("one.test", 10), *[Unavailable("silent")] * 9), stale=stale)
            self.answered("one.test")
            self.clock.advance(10)
            if stale:
                self.clock.advance(59.9)
                self.answered("one.test")
                self.clock.advance(0.1)
            self.assertIn("silent", self.unavailable(self.ask()))

    def test_impatience(self) -> None:
        """Who could have an old answer waits a moment only; the question goes on, and its answer is kept."""
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
        """When all leave who wait for a new answer, the question goes on, and its answer is kept."""
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
        """A failure that comes before patience ends gives the old answer at once."""
        resolver = Scripted(answer("one.test", 10))
        self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        waiter = self.ask()
        resolver.pending[0].errback(Unavailable("silent"))
        self.assertEqual("one.test", self.successResultOf(waiter).targets[0].host)


class BrokenTests(AskedCase):
    """A resolver that fails for a while."""

    def test_pause(self) -> None:
        """A name that failed fails at once for a moment, and no other name does."""
        resolver = Scripted(Unavailable("silent"), answer(), answer())
        self.make(resolver)
        self.unavailable(self.ask())
        self.assertEqual("silent", self.unavailable(self.ask()))
        self.successResultOf(self.ask("c.test"))
        self.clock.advance(RETRY_DELAY_S)
        self.answered("b.test")

    def test_breaker(self) -> None:
        """A resolver that answers no client gets few questions; old answers stand in; one good answer ends it."""
        resolver = Scripted(
            answer("one.test", 10), *[Unavailable("silent")] * (MAX_FAILURES + 1), answer("two.test", 10), answer()
        )
        cache = self.make(resolver)
        self.answered("one.test")
        self.clock.advance(10)
        for number in range(MAX_FAILURES):
            self.unavailable(self.ask(f"{number}.test", peer=f"192.0.2.{number}:1"))
        self.assertIs(State.OPEN, cache.breaker.state)
        self.unavailable(self.ask("c.test", peer="192.0.2.77:1"))
        self.assertEqual(2 + MAX_FAILURES, len(resolver.asked))
        why = self.unavailable(self.ask("d.test", peer="192.0.2.77:2"))
        self.assertIn("circuit breaker open: no answer to 6 clients", why)
        self.successResultOf(self.ask(peer="192.0.2.77:3"))
        self.assertEqual(2 + MAX_FAILURES, len(resolver.asked))
        self.clock.advance(1)
        self.answered("two.test")
        self.assertIs(State.CLOSED, cache.breaker.state)
        self.successResultOf(self.ask("c.test"))

    def test_local(self) -> None:
        """A question for which this process had no place opens no breaker, and its name is asked for at once."""
        busy = [Unavailable("too many lookups") for _ in range(MAX_FAILURES)]
        for one in busy:
            one.local = True
        resolver = Scripted(*busy, answer("one.test", 10))
        cache = self.make(resolver)
        for number in range(MAX_FAILURES):
            self.unavailable(self.ask(f"{number}.test", peer=f"192.0.2.{number}:1"))
        self.assertIs(State.CLOSED, cache.breaker.state)
        self.successResultOf(self.ask("0.test"))
        self.assertEqual(MAX_FAILURES, cache.counts.failures)

    def test_one_client(self) -> None:
        """One client whose names all fail does not keep names of others, nor its own, from being asked."""
        self.make(Scripted(*[Unavailable("silent")] * 50, answer()))
        for number in range(50):
            self.assertEqual("silent", self.unavailable(self.ask(f"{number}.test", peer=f"192.0.2.1:{number}")))
        self.answered("b.test")

    def test_logged_once(self) -> None:
        """Failures are logged at once, then once in a while; that it answers again, too."""
        silent = Unavailable("silent")
        self.make(Scripted(silent, silent, silent, silent, answer(ttl=0), silent, answer(ttl=0)))
        for pause in (RETRY_DELAY_S, RETRY_DELAY_S, REPEAT_INTERVAL_S, RETRY_DELAY_S):
            self.unavailable(self.ask())
            self.clock.advance(pause)
        self.answered("b.test")
        self.unavailable(self.ask())
        self.clock.advance(RETRY_DELAY_S)
        self.answered("b.test")
        told = "resolver brokers: silent; more of its failures are not told for 60 s, the access log has them"
        self.assertEqual([told, told, "resolver brokers answers again"], self.logged)


class WatchTests(AskedCase):
    """Resolvers that watch."""

    def test_started_and_stopped(self) -> None:
        """It is started once and stopped once; its stop is waited for."""
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
        """When it says that something has changed, it is asked again; the old answer stands in if that fails."""
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
        """An answer to a question from before the change is given, but not kept."""
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
        """Its state is shown in one line; one that does not watch has none; one that cannot say harms nothing."""
        self.assertEqual(WatchState("3 brokers", "a\\nb"), self.make(Watching()).watch_state())
        self.assertIsNone(self.make(Scripted()).watch_state())
        broken = Watching()
        broken.says = None  # type: ignore[assignment]
        state = self.make(broken).watch_state()
        assert state is not None and state.error is not None
        self.assertIn("it cannot say: AttributeError", state.error)

    def test_faults(self) -> None:
        """A watch that cannot begin or end is logged, and harms nothing; neither does one that never ends."""

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
        """After its stop it is not asked, and what is remembered is answered."""
        resolver = Scripted(answer("one.test", 10))
        cache = self.make(resolver)
        self.answered("one.test")
        cache.stop()
        self.answered("one.test")
        self.clock.advance(10)
        self.answered("one.test")
        self.assertIn("no longer asked", self.unavailable(self.ask("c.test")))
        self.assertEqual(1, len(resolver.asked))

    def test_stop_ends_questions(self) -> None:
        """Who waits when it stops is told so, and the resolver is cancelled."""
        resolver = Scripted()
        cache = self.make(resolver)
        waiter = self.ask()
        self.successResultOf(cache.stop())
        self.assertIn("no longer asked", self.unavailable(waiter))
        self.assertEqual(1, resolver.cancelled)
