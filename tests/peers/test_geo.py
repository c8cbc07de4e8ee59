"""Tests for tests.peers.geo that need no JVM."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import geo
from tests.peers.children import ChildError


class WaitTests(SynchronousTestCase):
    """wait_until."""

    def test_until_true(self) -> None:
        """The condition is polled until it is true."""
        answers = iter([False, True])
        geo.wait_until(lambda: next(answers), "it")
        self.assertEqual(list(answers), [])

    def test_never(self) -> None:
        """A condition that stays false is an error that names it."""
        failure = self.assertRaises(ChildError, geo.wait_until, lambda: False, "the topic", 0.0)
        self.assertIn("the topic: not within 0 s", str(failure))


class ToldTests(SynchronousTestCase):
    """The output of clients."""

    def test_told(self) -> None:
        """Only JSON lines with the key are returned, in order."""
        lines = ["READY", '{"crossed":{"a t":1}}', "12:00 WARN it says {}", '{"report":{}}', '{"crossed":{"a t":2}}']
        self.assertEqual([told["crossed"] for told in geo._told(lines, "crossed")], [{"a t": 1}, {"a t": 2}])
