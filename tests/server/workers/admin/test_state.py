"""Tests for sniproxy.server.workers.admin.state."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.sources import Reloads
from sniproxy.server.workers.admin.state import SupervisorState


class StateTests(SynchronousTestCase):
    """SupervisorState: counts the reloads of all workers together."""

    def setUp(self) -> None:
        self.now = 10.0
        self.state = SupervisorState(self.named("a"), lambda: self.now)

    def named(self, name: str) -> Any:
        return name

    def test_succeeded(self) -> None:
        """A reload has succeeded when each worker has loaded it or has ended; its successor starts with it."""
        self.now = 20.0
        self.state.use(self.named("b"))
        self.state.reload_sent([0, 1, 2])
        self.assertEqual("b", self.state.configuration)
        self.state.reload_answered(0)
        self.state.reload_answered(0)
        self.state.reload_answered(1)
        self.assertEqual(Reloads(), self.state.reloads)
        self.state.reload_answered(2)
        self.assertEqual(Reloads(1, 0), self.state.reloads)
        self.assertEqual((10.0, 20.0), (self.state.started, self.state.since))
        self.state.reload_answered(1)
        self.assertEqual(Reloads(1, 0), self.state.reloads)
        self.state.reload_sent([])
        self.assertEqual(Reloads(2, 0), self.state.reloads)

    def test_failed(self) -> None:
        """It has failed if the supervisor or a worker has refused it. If all have, the one before is shown."""
        self.state.reload_failed("bad file")
        self.assertEqual(Reloads(0, 1, "bad file", 10.0), self.state.reloads)
        self.state.reload_sent([0, 1])
        self.state.reload_answered(1, refused=True)
        self.state.reload_answered(0)
        self.assertEqual(Reloads(0, 2, "refused by worker 1: see the log", 10.0), self.state.reloads)
        self.state.reload_sent([0])
        self.state.reload_answered(0)
        self.assertEqual(Reloads(1, 2), self.state.reloads)
        self.now = 20.0
        self.state.use(self.named("b"))
        self.assertEqual(("b", 20.0), (self.state.configuration, self.state.since))
        self.state.restore(self.named("a"))
        self.assertEqual(("a", 10.0), (self.state.configuration, self.state.since))
