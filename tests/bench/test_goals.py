"""The goals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.cases import CASES
from bench.goals import GOALS, HEADS, Goal, rows
from bench.measure import Spread
from bench.results import Result, Runs


def results(ours: list[float]) -> dict[str, Result]:
    """A case in which HAProxy is at 10, nginx at 20, and the direct line at 1."""
    peers = {"ours": ours, "haproxy": [10.0, 10.0], "nginx": [20.0, 20.0], "direct": [1.0, 1.0]}
    return {"echo1": Result("", "", {name: Runs({"p50, µs": values}) for name, values in peers.items()})}


class GoalTests(SynchronousTestCase):
    """Whether results meet a goal."""

    def test_best(self) -> None:
        """The yardstick is the best of the other proxies; less or more is better."""
        goal = Goal("median", "echo1", "p50, µs", False, 1.0)
        self.assertEqual(goal.judged(results([9.0, 9.0])), ("haproxy", Spread(0.9, 0.9, 0.9), True))
        self.assertEqual(goal.judged(results([11.0, 11.0])), ("haproxy", Spread(1.1, 1.1, 1.1), False))
        more = Goal("rate", "echo1", "p50, µs", True, 1.1)
        self.assertEqual(more.judged(results([22.0, 22.0])), ("nginx", Spread(1.1, 1.1, 1.1), True))
        self.assertEqual(more.said, "at least 1.1 times the best peer's")

    def test_one(self) -> None:
        """The yardstick can be a peer, or none."""
        goal = Goal("median", "echo1", "p50, µs", False, 1.0, "nginx")
        self.assertEqual(goal.judged(results([19.0, 19.0])), ("nginx", Spread(0.95, 0.95, 0.95), True))
        bare = Goal("seconds", "echo1", "p50, µs", False, 1.0, None)
        self.assertEqual(bare.judged(results([2.0, 2.0])), ("", Spread(2.0, 2.0, 2.0), False))
        self.assertEqual(bare.said, "at most 1")

    def test_unknown(self) -> None:
        """Missing results are not judged."""
        goal = Goal("median", "echo1", "p50, µs", False, 1.0, "best", "ours-other")
        self.assertIsNone(goal.judged(results([1.0])))
        self.assertIsNone(goal.judged({}))
        found = rows({})
        self.assertEqual({len(row) for row in found}, {len(HEADS)})
        self.assertEqual({row[3] for row in found}, {"not measured"})

    def test_cases(self) -> None:
        """Each goal has a case of the data path, or of real Pulsar."""
        for goal in GOALS:
            self.assertTrue(goal.case in CASES or goal.case.startswith("pulsar "), goal)
