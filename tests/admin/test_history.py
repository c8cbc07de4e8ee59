"""Tests for sniproxy.admin.history."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.history import MAX_TARGETS, STEP_S, STEPS, History, Step, TargetStep
from sniproxy.admin.slices import finish

HOUR = STEP_S * STEPS


class HistoryTests(SynchronousTestCase):
    """History."""

    def setUp(self) -> None:
        self.history = History(["denied", "no_route"])
        self.now = 1000.0

    def add(self, step: Step, **scores: float) -> None:
        self.now += STEP_S
        self.history.add(step, scores, self.now)

    def series(self, seconds: int = HOUR) -> dict[str, Any]:
        series: dict[str, Any] = finish(self.history.document_steps(seconds))["series"]
        return series

    def test_empty(self) -> None:
        """Without a step there are no values, and no end."""
        empty: dict[str, Any] = {"tunnels": [], "new": [], "up": [], "down": [], "refused": {}, "targets": {}}
        self.assertEqual({"step_s": 10, "end": None, "series": empty}, finish(self.history.document_steps(60)))

    def test_steps(self) -> None:
        """The last steps, oldest first; causes without refusals are left out."""
        for number in range(1, 6):
            self.add(Step(number, 10 * number, {"no_route": number, "other": 9}, 2, 2**40))
        found = self.series()
        self.assertEqual(([1, 2, 3, 4, 5], [10, 20, 30, 40, 50]), (found["tunnels"], found["new"]))
        self.assertEqual({"no_route": [1, 2, 3, 4, 5]}, found["refused"])
        self.assertEqual(([2] * 5, [2**40] * 5), (found["up"], found["down"]))
        self.assertEqual([4, 5], self.series(11)["tunnels"])
        self.assertEqual([5], self.series(10)["tunnels"])
        self.assertEqual([], self.series(0)["tunnels"])
        self.assertEqual(self.now, finish(self.history.document_steps(9))["end"])

    def test_negative(self) -> None:
        """A count that shrinks is no reason to fail."""
        self.add(Step(new=-1))
        self.assertEqual([0], self.series()["new"])

    def test_hour(self) -> None:
        """After an hour the oldest step is dropped."""
        for number in range(STEPS + 7):
            self.add(Step(number))
        self.assertEqual(list(range(7, STEPS + 7)), self.series(HOUR * 2)["tunnels"])
        self.assertEqual(list(range(STEPS - 3, STEPS + 7)), self.series(100)["tunnels"])

    def test_skip(self) -> None:
        """Steps without a sample have the tunnels of the one before, and no other counts."""
        self.add(Step(3, 4, {"denied": 1}, 5, 6, {"a": TargetStep(2, 1, 1, 1)}), a=1.0)
        self.history.skip(2)
        self.add(Step(1), a=1.0)
        found = self.series()
        self.assertEqual(([3, 3, 3, 1], [4, 0, 0, 0]), (found["tunnels"], found["new"]))
        self.assertEqual({"denied": [1, 0, 0, 0]}, found["refused"])
        self.assertEqual(([2, 2, 2, 0], [1, 0, 0, 0]), (found["targets"]["a"]["tunnels"], found["targets"]["a"]["up"]))
        self.history.skip(10**9)
        self.assertEqual([1] * STEPS, self.series()["tunnels"])

    def test_targets(self) -> None:
        """A target has values from the step on in which it became one of the busiest; before, they are unknown."""
        self.add(Step(targets={"a": TargetStep(1, 2, 3, 4)}), a=1.0)
        self.add(Step(targets={"a": TargetStep(5, 6, 7, 8), "b": TargetStep(9)}), a=1.0, b=1.0)
        self.add(Step(targets={"b": TargetStep(9)}), a=1.0, b=1.0)
        found = self.series()["targets"]
        self.assertEqual({"tunnels": [1, 5, 0], "up": [2, 6, 0], "down": [3, 7, 0], "failed": [4, 8, 0]}, found["a"])
        self.assertEqual([None, 9, 9], found["b"]["tunnels"])
        self.assertEqual([9, 9], self.series(20)["targets"]["b"]["tunnels"])

    def test_busiest(self) -> None:
        """A much busier target takes the place of the least busy one; one that is no longer known loses its place."""
        scores = {f"t{number}": 10.0 + number for number in range(MAX_TARGETS)}
        self.add(Step(), **scores)
        self.add(Step(), **scores, new=14.0)
        self.assertNotIn("new", self.series()["targets"])
        self.add(Step(), **scores, new=16.0)
        found = self.series()["targets"]
        self.assertEqual((MAX_TARGETS, True, False), (len(found), "new" in found, "t0" in found))
        del scores["t5"]
        self.add(Step(), **scores, new=16.0)
        found = self.series()["targets"]
        self.assertEqual((True, False), ("t0" in found, "t5" in found))
