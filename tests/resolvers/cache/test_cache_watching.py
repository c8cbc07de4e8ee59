"""Tests for sniproxy.resolvers.cache.cache: resolvers that watch a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.interfaces import (
    Refused,
    Unavailable,
    WatchState,
)
from tests.resolvers.cache.case import CacheCase
from tests.resolvers.cache.scripted import Directory, Scripted, Watching, answer


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
        named = Watching()
        for names, expected in (({"a.test": "one"}, {"a.test": "one"}), (None, {})):
            named.says = WatchState("", names=names)  # type: ignore[arg-type]
            state = self.make(named).watch_state()
            assert state is not None
            self.assertEqual(expected, state.names)
        broken = Watching()
        broken.says = None  # type: ignore[assignment]
        state = self.make(broken).watch_state()
        assert state is not None and state.error is not None
        self.assertIn("state unavailable: AttributeError", state.error)

    def test_directory(self) -> None:
        """A resolver that knows all names of its brokers is available for them."""
        directory = Directory()
        self.assertIs(directory, self.make(directory).directory)
        self.assertIsNone(self.make(Watching()).directory)

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
