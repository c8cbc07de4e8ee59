"""Tests for sniproxy.resolvers.cache.fallback."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import IServerNameResolver, Refused, Resolution, Unavailable
from sniproxy.resolvers.cache.cache import CachedResolver
from sniproxy.resolvers.cache.fallback import FallbackAnswer, FallbackResolver
from tests.resolvers.cache.scripted import Scripted, answer, request


class FallbackResolverTests(SynchronousTestCase):
    """Resolvers asked in order."""

    def ask(self, *scripts: Any) -> Deferred[Resolution]:
        self.clock = Clock()
        self.resolvers = [Scripted(script) if script is not None else Scripted() for script in scripts]
        names = "abc"
        asked = [CachedResolver(name, each, self.clock) for name, each in zip(names, self.resolvers, strict=False)]
        resolver = FallbackResolver(asked)
        self.assertTrue(verifyObject(IServerNameResolver, resolver))
        return Deferred.fromCoroutine(resolver.resolve(request()))

    def test_first_answer(self) -> None:
        """The first answer is used, and later resolvers are not queried."""
        found = self.successResultOf(self.ask(answer("one.test"), answer("two.test")))
        self.assertEqual("one.test", found.targets[0].host)
        self.assertEqual([], self.resolvers[1].asked)

    def test_next(self) -> None:
        """After a refusal, a failure or a timeout the next resolver is queried."""
        for before in (Refused("no"), Unavailable("silent"), None):
            waiter = self.ask(before, answer("two.test"))
            self.clock.advance(5)
            self.assertEqual("two.test", self.successResultOf(waiter).targets[0].host)

    def test_source(self) -> None:
        """first_answer says which resolver answered, and why the others did not."""
        asked = [
            CachedResolver("a", Scripted(Refused("no")), Clock()),
            CachedResolver("b", Scripted(answer("two.test")), Clock()),
        ]
        found = self.successResultOf(Deferred.fromCoroutine(FallbackResolver(asked).first_answer(request())))
        self.assertEqual(FallbackAnswer(answer("two.test"), "b", ("a: refused: no",)), found)

    def test_none(self) -> None:
        """If all refuse, the name is refused; if one fails, it is unavailable. The text has all reasons."""
        error = self.failureResultOf(self.ask(Refused("no"), Refused("never")), Refused).value
        self.assertEqual("a: refused: no; b: refused: never", error.reason)
        for scripts in ((Refused("no"), Unavailable("silent")), (Unavailable("silent"), Refused("no"))):
            said = str(self.failureResultOf(self.ask(*scripts), Unavailable).value)
            self.assertIn("refused: no", said)
            self.assertIn("silent", said)

    def test_cancelled(self) -> None:
        """After a cancellation no further resolver is queried."""
        waiter = self.ask(None, answer())
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.assertEqual(1, self.resolvers[0].cancelled)
        self.assertEqual([], self.resolvers[1].asked)
