"""Tests for sniproxy.admin.sampler."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.history import STEP_S
from sniproxy.admin.metrics import Metrics
from sniproxy.admin.sampler import BATCH, Sampler
from sniproxy.admin.slices import Slices, finish
from sniproxy.events import Result
from sniproxy.interfaces import Target
from tests.admin.sample import NOW, SampleLive, SampleProxy, connection, refused

TARGET = Target("10.0.0.11", 6651)


class SamplerTests(SynchronousTestCase):
    """Sampler."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.proxy = SampleProxy()
        self.metrics = Metrics(self.proxy.live, stats=self.proxy.target_stats, seconds=self.clock.seconds)
        self.slices = Slices(self.clock)
        self.sampler = Sampler(self.clock, self.proxy, self.metrics, self.slices, lambda: NOW + self.clock.seconds())

    def start(self) -> None:
        self.sampler.start()
        self.settle()

    def settle(self) -> None:
        """Run all slices."""
        for _ in range(50):
            self.clock.advance(0)

    def step(self, count: int = 1) -> None:
        """Let steps pass."""
        for _ in range(count):
            self.clock.advance(STEP_S)
            self.settle()

    def series(self) -> dict[str, Any]:
        series: dict[str, Any] = finish(self.sampler.history.document_steps(3600))["series"]
        return series

    def test_growth(self) -> None:
        """A step has what grew in it; what was before the start is not in the first one."""
        self.metrics.count_connection(connection(1, bytes_up=1000))
        self.metrics.count_connection(refused(2))
        stats = self.proxy.target_stats
        stats.add_connection(TARGET)
        stats.find(TARGET).record_failure("refused", "x", 0.0)
        self.proxy.tunnels.append(SampleLive(connection(3), 5, 6))
        self.start()
        self.assertEqual([], self.series()["new"])
        self.proxy.tunnels[0].bytes_up += 10
        self.metrics.count_connection(connection(4, bytes_down=20))
        self.metrics.count_connection(refused(5, Result.DENIED))
        stats.find(TARGET).record_failure("refused", "x", 0.0)
        self.step()
        found = self.series()
        self.assertEqual(([1], [2], [10], [20]), tuple(found[name] for name in ("tunnels", "new", "up", "down")))
        self.assertEqual({"denied": [1]}, found["refused"])
        self.assertEqual({"tunnels": [1], "up": [10], "down": [0], "failed": [1]}, found["targets"][str(TARGET)])
        self.step()
        self.assertEqual(([1, 1], [2, 0]), (self.series()["tunnels"], self.series()["new"]))
        self.assertEqual(NOW + 20, self.sampler.history.end)
        self.assertEqual(3, self.proxy.forgets)
        self.assertEqual(0.1, self.sampler.rates.of_listener("public", self.metrics.tally))

    def test_new_target(self) -> None:
        """All failures of a target that came since the last step are in the step."""
        self.start()
        self.proxy.target_stats.add_connection(TARGET)
        self.proxy.target_stats.find(TARGET).record_failure("timeout", "x", 0.0)
        self.step()
        self.assertEqual([1], self.series()["targets"][str(TARGET)]["failed"])

    def test_late(self) -> None:
        """If the process did not run for a while, the steps between are filled, and the times stay regular."""
        self.start()
        self.step()
        self.clock.advance(3 * STEP_S + 4)
        self.settle()
        self.assertEqual(1 + 2 + 1, len(self.series()["tunnels"]))
        self.clock.advance(STEP_S - 4)
        self.settle()
        self.assertEqual(5, len(self.series()["tunnels"]))

    def test_stop(self) -> None:
        """A stop leaves no timer; a start continues the history after a gap."""
        self.start()
        self.step(3)
        self.sampler.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(2 * STEP_S)
        self.metrics.count_connection(connection())
        self.start()
        self.assertIsNone(self.sampler.rates.of_listener("public", self.metrics.tally))
        self.step()
        self.assertEqual([0] * 6, self.series()["new"])
        self.sampler.stop()
        self.sampler.stop()

    def test_slow(self) -> None:
        """A step that ends during a sample is filled: the steps stay regular."""
        running: Deferred[None] = Deferred()
        self.patch(self.slices, "run", lambda steps: running)
        self.sampler.start()
        self.clock.advance(STEP_S)
        self.clock.advance(STEP_S)
        self.assertEqual([0, 0], self.series()["new"])
        self.sampler.stop()
        self.assertTrue(running.called, "the stop cancels it")
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_many_targets(self) -> None:
        """A sample of many targets takes several steps of work."""
        for number in range(2 * BATCH):
            self.proxy.target_stats.add_connection(Target("a", number + 1))
        self.assertGreater(len(list(self.sampler._steps())), 2)

    def test_error(self) -> None:
        """An internal error is logged, and the next sample is taken."""
        self.start()
        self.patch(self.metrics, "refused_by_result", lambda: 1 / 0)
        self.step()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        del self.metrics.refused_by_result
        self.step()
        self.assertEqual([0], self.series()["new"])
