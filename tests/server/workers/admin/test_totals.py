"""Tests for sniproxy.server.workers.admin.totals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers.admin.totals import Totals


class TotalsTests(SynchronousTestCase):
    """Totals: sums that do not decrease."""

    def test_sums(self) -> None:
        """Workers that have ended, and those that do not answer, count with what they had last."""
        totals = Totals()
        self.assertEqual(
            {"ended": 3, "refused": 1}, totals.add_up({"a": {"ended": 1, "refused": 1}, "b": {"ended": 2}})
        )
        self.assertEqual({"ended": 7, "refused": 1}, totals.add_up({"b": {"ended": 6}}))
        totals.end("b")
        totals.end("never seen")
        self.assertEqual({"ended": 8, "refused": 1}, totals.add_up({"c": {"ended": 1}}))
        totals.end("a")
        self.assertEqual({"ended": 9, "refused": 1}, totals.add_up({"c": {"ended": 2}}))

    def test_once(self) -> None:
        """A worker that answers and then ends counts once."""
        totals = Totals()
        totals.add_up({"a": {"ended": 1}})
        totals.end("a")
        totals.end("a")
        self.assertEqual({"ended": 1}, totals.add_up({"a": {"ended": 1}}))
        self.assertEqual({"ended": 1}, totals.add_up({}))
        other = Totals()
        other.end("a")
        self.assertEqual({"ended": 0}, other.add_up({"a": {"ended": 1}}))

    def test_restored(self) -> None:
        """Another program continues with the same sums."""
        totals = Totals()
        totals.add_up({"a": {"ended": 1}, "b": {"ended": 2}})
        totals.end("a")
        other = Totals()
        other.restore(*totals.state())
        self.assertEqual({"ended": 5}, other.add_up({"b": {"ended": 4}}))
        other.end("b")
        self.assertEqual({"ended": 5}, other.add_up({}))
