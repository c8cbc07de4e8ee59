"""Time and failures of sniproxy.resolvers.kubernetes.resolver, by a clock and a scripted source; and its making."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import FailTest, SynchronousTestCase

from sniproxy.interfaces import BadOption, Refused, Resolution, Target, Unavailable
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.cache.breaker import MAX_FAILURES, BreakerState
from sniproxy.resolvers.cache.cache import CachedResolver
from sniproxy.resolvers.kubernetes.endpoints import Endpoint, Slices, State
from sniproxy.resolvers.kubernetes.pods import PodTable, parse_template
from sniproxy.resolvers.kubernetes.resolver import (
    DEPARTED_S,
    MAX_REBUILD_DELAY_S,
    NOT_READ,
    REBUILD_DELAY_S,
    KubernetesResolver,
)
from tests.resolvers.cache.scripted import request
from tests.support.reactor import as_reactor, reactor


class Scripted:
    """A source without watches.

    @ivar takes: the seconds that it takes to make a table.

    @ivar written: the tables whose status is written, in order.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.current = table()
        self.failing: list[Any] = [Failing()]
        self.takes = 0.0
        self.written: list[Any] = []
        self.changed: Any = None

    def start(self, changed: Any) -> None:
        self.changed = changed

    def stop(self) -> Any:
        return None

    def watchers(self) -> list[Any]:
        return self.failing

    def table(self) -> PodTable:
        self.clock.rightNow += self.takes
        return self.current

    def write(self, table: Any) -> None:
        self.written.append(table)

    def trouble(self) -> str | None:
        return None


class Failing:
    """A watch. @ivar error: its error."""

    error: str | None = None
    optional = False
    synced = True


def table(*names: str, state: State = State.READY) -> PodTable:
    """The table of pods."""
    pods = [Endpoint(name, name, (f"10.0.0.{number}",), 6651, state) for number, name in enumerate(names, 1)]
    return PodTable("pulsar/broker", Slices(tuple(pods)), [parse_template("{pod}.test")], ())


class ClockTests(SynchronousTestCase):
    """Times, with a fake clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.source = Scripted(self.clock)
        self.resolver = KubernetesResolver(as_reactor(self.clock), self.source, 60.0)
        self.changes: list[float] = []
        self.resolver.start(lambda: self.changes.append(self.clock.seconds()))

    def update(self, *names: str) -> None:
        self.source.current = table(*names)
        self.source.changed()
        self.clock.advance(REBUILD_DELAY_S)

    def targets(self, name: str) -> list[Target]:
        answer = self.resolver.resolve(request(name))
        assert isinstance(answer, Resolution)
        return list(answer.targets)

    def test_together(self) -> None:
        """Changes within a short time are one update; an update without a difference is none."""
        self.assertEqual((self.resolver.state().summary, NOT_READ), ("nothing read yet", self.resolver.state().error))
        self.source.changed()
        self.source.changed()
        self.update("a-0")
        self.assertEqual(([REBUILD_DELAY_S], 1), (self.changes, len(self.source.written)))
        self.update("a-0")
        self.assertEqual(1, len(self.changes))

    def test_slow(self) -> None:
        """After an update that took long, the next one waits longer, up to a bound."""
        for took, delay in ((0.1, 0.4), (5.0, MAX_REBUILD_DELAY_S), (0.0, REBUILD_DELAY_S)):
            self.source.takes = took
            self.source.changed()
            self.clock.advance(MAX_REBUILD_DELAY_S)
            self.source.changed()
            (call,) = self.clock.getDelayedCalls()
            self.assertAlmostEqual(delay, call.getTime() - self.clock.seconds())
            self.source.takes = 0.0
            self.clock.advance(delay)

    def test_departed(self) -> None:
        """The name of a pod that has gone is refused after a while, and works when the pod is back."""
        self.update("a-0", "a-1")
        self.update("a-0")
        self.assertRaises(Unavailable, self.resolver.resolve, request("a-1.test"))
        self.update("a-0", "a-1")
        self.assertEqual("10.0.0.2", self.targets("a-1.test")[0].host)
        self.update("a-0")
        self.clock.advance(DEPARTED_S + 1)
        self.assertRaises(Refused, self.resolver.resolve, request("a-1.test"))

    def test_optional(self) -> None:
        """The first update waits for all watches; later ones not for a new optional watch that fails."""
        self.source.failing.append(new := Failing())
        new.synced, new.optional, new.error = False, True, "why"
        self.update("a-0")
        self.assertEqual("nothing read yet", self.resolver.state().summary)
        new.synced = True
        self.update("a-0")
        self.assertEqual(("1 endpoint", "why"), (self.resolver.state().summary, self.resolver.state().error))
        new.synced, new.error = False, None
        self.update("a-0", "a-1")
        self.assertEqual("1 endpoint", self.resolver.state().summary)
        new.error = "why"
        self.update("a-0", "a-1")
        self.assertEqual("2 endpoints", self.resolver.state().summary)

    def test_keep(self) -> None:
        """After the time in keep, what was read last is discarded, and used again when the watch works."""
        self.update("a-0")
        self.source.failing[0].error = "why"
        self.update("a-0")
        self.clock.advance(59.0)
        self.assertEqual(1, len(self.targets("a-0.test")))
        self.clock.advance(1.0)
        self.assertIn("why", str(self.assertRaises(Unavailable, self.resolver.resolve, request("a-0.test"))))
        self.assertEqual(("nothing known", "why"), (self.resolver.state().summary, self.resolver.state().error))
        self.update("a-0")
        self.assertRaises(Unavailable, self.resolver.resolve, request("a-0.test"))
        self.source.failing[0].error = None
        self.update("a-0")
        self.assertEqual(1, len(self.targets("a-0.test")))
        self.assertEqual(3, len(self.changes))

    def test_recovered(self) -> None:
        """A watch that works again in time discards nothing."""
        self.update("a-0")
        self.source.failing[0].error = "why"
        self.update("a-0")
        self.source.failing[0].error = None
        self.update("a-0")
        self.clock.advance(100.0)
        self.assertEqual(1, len(self.targets("a-0.test")))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop(self) -> None:
        """A stop ends timers and waiting queries."""
        waiting: Any = self.resolver.resolve(request("a-0.test"))
        self.source.changed()
        self.resolver.stop()
        self.assertIn(NOT_READ, str(self.failureResultOf(waiting, Unavailable).value))
        self.source.changed()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertRaises(Unavailable, self.resolver.resolve, request("a-0.test"))


class CachedTests(SynchronousTestCase):
    """What clients get: the resolver in its cache."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.source = Scripted(self.clock)
        self.cached = CachedResolver(
            "kubernetes", KubernetesResolver(as_reactor(self.clock), self.source, 60.0), self.clock
        )
        self.cached.start()
        self.addCleanup(self.cached.stop)
        self.update(table("a-0", "a-1"))

    def update(self, now: PodTable) -> None:
        self.source.current = now
        self.source.changed()
        self.clock.advance(REBUILD_DELAY_S)

    def set_error(self, error: str | None) -> None:
        self.source.failing[0].error = error
        self.update(self.source.current)

    def answered(self, name: str, peer: str = "192.0.2.7:1") -> bool:
        """Whether a name leads to a target."""
        answer: Any = self.cached.ask(request(name, peer))
        try:
            self.successResultOf(Deferred.fromCoroutine(answer))
        except FailTest:
            return False
        return True

    def test_taken_away(self) -> None:
        """A pod that is not ready or has gone gets no connection, although its name was answered before."""
        for gone in (table("a-1"), table("a-0", "a-1", state=State.DOWN), table()):
            self.assertTrue(self.answered("a-0.test"))
            self.update(gone)
            self.assertFalse(self.answered("a-0.test"))
            self.set_error("why")  # nor if the API server is away afterwards
            self.assertFalse(self.answered("a-0.test"))
            self.set_error(None)
            self.update(table("a-0", "a-1"))

    def test_taken_away_unasked(self) -> None:
        """The same if the API server is away before a client asks, also after `keep`; other names keep theirs."""
        self.assertTrue(self.answered("a-0.test") and self.answered("a-1.test"))
        self.update(table("b-0", "a-1"))
        self.set_error("why")
        self.assertFalse(self.answered("a-0.test"))
        self.update(table("a-0", "a-1"))
        self.set_error(None)
        self.assertTrue(self.answered("a-0.test") and self.answered("a-1.test"))
        self.update(table("b-0", "a-1"))
        self.set_error("why")
        self.clock.advance(60.0)
        self.assertEqual([False, True], [self.answered(name) for name in ("a-0.test", "a-1.test")])

    def test_not_ready(self) -> None:
        """Pods that are not ready do not open the circuit breaker, and each has its name at once when it is ready."""
        names = [f"a-{number}" for number in range(2 * MAX_FAILURES)]
        self.clock.advance(60.0)
        self.update(table(*names, state=State.DOWN))
        for number, name in enumerate(names):
            self.assertFalse(self.answered(f"{name}.test", f"192.0.2.{number}:1"))
        self.assertIs(BreakerState.CLOSED, self.cached.breaker.state)
        self.update(table(*names))
        self.assertTrue(all(self.answered(f"{name}.test", "192.0.2.1:1") for name in names))


class MakeTests(SynchronousTestCase):
    """Making a resolver."""

    def test_files(self) -> None:
        """A file that cannot be read is an error of its option."""
        options = {"server": "https://127.0.0.1:1", "namespace": "a", "service": "b", "name": "{pod}.test"}
        missing = {**options, "token_file": "/none"}
        error = self.assertRaises(BadOption, make_resolver, "kubernetes", missing, reactor)
        self.assertEqual("token_file", error.key)
