"""Tests for sniproxy.server.workers.admin.shared."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.query import ErrorAnswer
from sniproxy.server.workers.admin.shared import MAX_PENDING, SharedAnswers


class SharedTests(SynchronousTestCase):
    """SharedAnswers: equal requests at the same time are answered once."""

    def setUp(self) -> None:
        self.shared = SharedAnswers()
        self.made: list[Deferred[bytes]] = []

    async def make(self) -> bytes:
        self.made.append(Deferred())
        return await self.made[-1]

    def test_once(self) -> None:
        """Whoever waits gets the answer, or its error; the next request is answered anew."""
        first, second = (self.shared.get("a", self.make) for _ in range(2))
        self.assertEqual(1, len(self.made))
        self.made[0].callback(b"x")
        self.assertEqual((b"x", b"x"), (self.successResultOf(first), self.successResultOf(second)))
        first, second = (self.shared.get("a", self.make) for _ in range(2))
        self.made[1].errback(ErrorAnswer(503, "no"))
        for one in (first, second):
            self.failureResultOf(one, ErrorAnswer)

    def test_leave(self) -> None:
        """A client that leaves harms none that waits."""
        first, second = (self.shared.get("a", self.make) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.made[0].callback(b"x")
        self.assertEqual(b"x", self.successResultOf(second))

    def test_bound(self) -> None:
        """Only some different requests are answered at the same time."""
        for number in range(MAX_PENDING):
            self.shared.get(str(number), self.make)
        error = self.assertRaises(ErrorAnswer, self.shared.get, "one more", self.make)
        self.assertEqual(503, error.code)
        self.shared.get("0", self.make)
        self.made[0].callback(b"")
        self.shared.get("one more", self.make)
