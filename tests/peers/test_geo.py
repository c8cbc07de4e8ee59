"""The parts of geo-replication's lab that need no JVM."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import geo
from tests.peers.children import ChildError


class WaitTests(SynchronousTestCase):
    """Where nobody tells that something has happened."""

    def test_until_true(self) -> None:
        """It is asked again until it is true."""
        answers = iter([False, True])
        geo.wait_until(lambda: next(answers), "it")
        self.assertEqual(list(answers), [])

    def test_never(self) -> None:
        """What does not become true in time is an error that names it."""
        failure = self.assertRaises(ChildError, geo.wait_until, lambda: False, "the topic", 0.0)
        self.assertIn("the topic: not within 0 s", str(failure))


class ToldTests(SynchronousTestCase):
    """What the clients print."""

    def test_told(self) -> None:
        """Of all lines, only JSON that has the key counts, in its order."""
        lines = ["READY", '{"crossed":{"a t":1}}', "12:00 WARN it says {}", '{"report":{}}', '{"crossed":{"a t":2}}']
        self.assertEqual([told["crossed"] for told in geo._told(lines, "crossed")], [{"a t": 1}, {"a t": 2}])
