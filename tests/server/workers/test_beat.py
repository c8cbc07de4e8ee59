"""Tests for sniproxy.server.workers.beat."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers.beat import INTERVAL_S, KILL_TIMEOUT_S, RELOAD_TIMEOUT_S, HeartbeatMonitor
from sniproxy.server.workers.post import HEARTBEAT


class FakeWorker:
    """A worker whose answers the test controls."""

    def __init__(self, index: int) -> None:
        self.index, self.pid = index, 100 + index
        self.ready, self.reloading = True, False
        self.told: list[str] = []
        self.killed = False

    def send_order(self, what: str, text: str = "") -> None:
        self.told.append(what)

    def dump_and_kill(self, reactor: Any) -> None:
        self.killed = True


class BeatsTests(SynchronousTestCase):
    """HeartbeatMonitor."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.workers: list[Any] = [FakeWorker(0), FakeWorker(1)]
        self.beats = HeartbeatMonitor(self.clock, lambda: self.workers)
        self.beats.start()
        self.addCleanup(self.beats.stop)

    def lived(self, seconds: float, *answering: int) -> list[str]:
        """Advance the clock while some workers answer. @return: the log lines."""
        with capturedLogs() as logs:
            for _ in range(int(seconds / INTERVAL_S)):
                self.clock.advance(INTERVAL_S)
                for index in answering:
                    self.beats.answered(self.workers[index])
        return [str(formatEvent(event)) for event in logs]

    def test_answers(self) -> None:
        """The monitor queries workers repeatedly, and logs nothing while they answer."""
        self.assertEqual([], self.lived(60, 0, 1))
        self.assertEqual([HEARTBEAT] * 120, self.workers[0].told)

    def test_late(self) -> None:
        """A worker without an answer for 2 s gets one query, one log line, and another one when it answers."""
        self.assertEqual([], self.lived(2, 0))
        self.assertEqual(["worker 1 (pid 101) has not answered for 2.0 s"], self.lived(1, 0))
        self.assertEqual([], self.lived(2, 0))
        self.assertEqual(1, len(self.workers[1].told))
        self.assertEqual(["worker 1 (pid 101) answers again after 5.0 s"], self.lived(0.5, 0, 1))
        self.assertFalse(self.workers[1].killed)

    def test_lost(self) -> None:
        """A worker without an answer for 10 s is killed once."""
        said = self.lived(KILL_TIMEOUT_S + 2 * INTERVAL_S, 0)
        self.assertEqual("worker 1 (pid 101) has not answered for 10 s: dumping its stack and killing it", said[-1])
        self.assertEqual([False, True], [worker.killed for worker in self.workers])
        self.workers[1].killed = False
        self.assertEqual([], self.lived(60, 0))
        self.beats.answered(self.workers[1])
        self.assertFalse(self.workers[1].killed)

    def test_reloading(self) -> None:
        """A worker that reads a configuration has more time."""
        self.workers[1].reloading = True
        said = self.lived(RELOAD_TIMEOUT_S - 1, 0)
        self.assertEqual(["worker 1 (pid 101) has not answered for 2.0 s while reading the configuration"], said)
        self.lived(3, 0)
        self.assertTrue(self.workers[1].killed)

    def test_not_ready(self) -> None:
        """A worker that does not listen yet gets no query."""
        self.workers[1].ready = False
        self.assertEqual([], self.lived(60, 0))
        self.assertEqual([], self.workers[1].told)

    def test_replaced(self) -> None:
        """A restarted worker starts without open questions."""
        self.lived(9, 0)
        self.workers[1] = FakeWorker(1)
        self.assertEqual([], self.lived(9, 0, 1))

    def test_supervisor_was_stopped(self) -> None:
        """After a suspension of the supervisor, the workers have time to answer."""
        self.lived(1)
        with capturedLogs() as logs:
            self.clock.advance(60)
        self.assertEqual([], logs)
        self.assertEqual([], self.lived(1, 0, 1))
        self.assertEqual([False, False], [worker.killed for worker in self.workers])
