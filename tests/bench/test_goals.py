"""The goals."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.cases import CASES
from bench.goals import BEST, GOALS, HEADS, Goal, rows
from bench.measure import Spread
from bench.results import Result, Runs

MEDIAN = Goal("median", "echo1", "p50, µs", False, 1.0, BEST)


def results(ours: list[float], relay: str | None = "engine") -> dict[str, Result]:
    """A case in which HAProxy is at 10, nginx at 20, and the direct line at 1."""
    peers = {"ours": ours, "haproxy": [10.0, 10.0], "nginx": [20.0, 20.0], "direct": [1.0, 1.0]}
    runs = {name: Runs({"p50, µs": values}) for name, values in peers.items()}
    return {"echo1": Result("", "", runs, {}, {} if relay is None else {"ours": relay})}


class GoalTests(SynchronousTestCase):
    """Whether results meet a goal."""

    def test_best(self) -> None:
        """The yardstick is the best of the other proxies; less or more is better."""
        self.assertEqual(MEDIAN.judged(results([9.0, 9.0])), ("haproxy", Spread(0.9, 0.9, 0.9), "met"))
        self.assertEqual(MEDIAN.judged(results([11.0, 11.0])), ("haproxy", Spread(1.1, 1.1, 1.1), "**not met**"))
        more = evolve(MEDIAN, more=True, bound=1.1)
        self.assertEqual(more.judged(results([22.0, 22.0])), ("nginx", Spread(1.1, 1.1, 1.1), "met"))
        self.assertEqual(more.said, "≥ 1.1 times the best peer's")

    def test_one(self) -> None:
        """The yardstick can be a peer, or none; without a bound the ratio is shown only."""
        goal = evolve(MEDIAN, yardstick="nginx")
        self.assertEqual(goal.judged(results([19.0, 19.0])), ("nginx", Spread(0.95, 0.95, 0.95), "met"))
        bare = evolve(MEDIAN, yardstick=None)
        self.assertEqual(bare.judged(results([2.0, 2.0])), ("", Spread(2.0, 2.0, 2.0), "**not met**"))
        self.assertEqual(bare.said, "≤ 1")
        shown = evolve(goal, bound=None)
        self.assertEqual(shown.judged(results([99.0, 99.0])), ("nginx", Spread(4.95, 4.95, 4.95), ""))
        self.assertEqual(shown.said, "shown only")

    def test_relay(self) -> None:
        """The goals are the engine's: results of another relay, or of an unknown one, are not judged."""
        for relay, said in (("python", "not judged: python relay"), (None, "not judged: unknown relay")):
            judged = MEDIAN.judged(results([1.0, 1.0], relay))
            self.assertEqual(judged, ("haproxy", Spread(0.1, 0.1, 0.1), said))

    def test_unknown(self) -> None:
        """Missing results are not judged."""
        self.assertIsNone(evolve(MEDIAN, figure="p99, µs").judged(results([1.0])))
        self.assertIsNone(evolve(MEDIAN, yardstick="nobody").judged(results([1.0])))
        self.assertIsNone(MEDIAN.judged({}))
        found = rows({})
        self.assertEqual({len(row) for row in found}, {len(HEADS)})
        self.assertEqual({row[3] for row in found}, {"not measured"})

    def test_cases(self) -> None:
        """Each goal has a case of the data path with its yardstick, or is of real Pulsar."""
        for goal in GOALS:
            if not goal.case.startswith("pulsar "):
                self.assertIn(goal.case, CASES)
                self.assertIn(goal.yardstick, {*CASES[goal.case].peers, BEST, None})
