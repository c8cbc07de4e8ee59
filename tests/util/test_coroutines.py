from __future__ import annotations

from collections.abc import Coroutine
from types import coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.coroutines import resume


async def _sum(*terms: Deferred[int]) -> int:
    found = 0
    for term in terms:
        try:
            found += await term
        except ZeroDivisionError:
            found += 100
    return found


@coroutine
def _rest(begun: Coroutine[Any, Any, int], waits_for: Any) -> Any:
    return (yield from resume(begun, waits_for))


class ResumeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.terms: list[Deferred[int]] = [Deferred(), Deferred(), Deferred()]
        begun = _sum(*self.terms)
        self.result = Deferred.fromCoroutine(_rest(begun, begun.send(None)))

    def test_values_and_errors(self) -> None:
        """Values and errors of what it awaits reach the coroutine, and its result the caller."""
        self.terms[0].callback(1)
        self.terms[1].errback(ZeroDivisionError())
        self.assertNoResult(self.result)
        self.terms[2].callback(20)
        self.assertEqual(121, self.successResultOf(self.result))

    def test_error(self) -> None:
        """An error that the coroutine does not handle reaches the caller."""
        self.terms[0].errback(KeyError("x"))
        self.failureResultOf(self.result, KeyError)
