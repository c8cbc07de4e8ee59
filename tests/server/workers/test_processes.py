"""Tests for sniproxy.server.workers.processes."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.upgrades import OldProcess
from sniproxy.config.parser import parse
from sniproxy.server.statecounts import StateCounts
from sniproxy.server.workers import processes
from sniproxy.server.workers.admin.endpoint import SupervisorAdmin
from sniproxy.server.workers.handover import Pause, Result, Sockets, WorkerState
from sniproxy.server.workers.processes import Processes
from tests.server.workers.handovers import TEXT, admin_state, handover, worker_state
from tests.support.reactor import as_reactor

RESULT = Result(1, 2, 3, 4.0)


class FakeWorker:
    """@ivar adopted: the state of its process. @ivar seen: the workers of the supervisor at that moment."""

    def __init__(self, case: ProcessesTests, index: int, since: float, pause: float) -> None:
        self.index, self.since, self.pause = index, since, pause
        self.pid = 100 + index
        self.adopted: WorkerState | None = None
        self.seen = 0
        self._case = case

    def hand_over(self, now: float) -> WorkerState:
        return worker_state(self.index, since=now)

    def adopt(self, reactor: object, state: WorkerState) -> None:
        self.adopted, self.seen = state, len(self._case.processes.current)


class FakeKept:
    """@ivar sockets: those that it has."""

    def __init__(self, sockets: Any) -> None:
        self.sockets = sockets if isinstance(sockets, Sockets) else None

    def hand_over(self) -> Sockets:
        assert self.sockets is not None
        return self.sockets

    def adopt(self, sockets: Sockets) -> None:
        self.sockets = sockets


class ProcessesTests(SynchronousTestCase):
    """Processes."""

    def setUp(self) -> None:
        self.patch(processes, "KeptSockets", FakeKept)
        self.clock = Clock()
        self.processes: Any = Processes()
        self.admin = SupervisorAdmin(as_reactor(self.clock), parse(TEXT, "x.toml"), tuple)
        self.started: list[tuple[int, float]] = []

    def made(self, index: int, since: float, pause: float) -> Any:
        return FakeWorker(self, index, since, pause)

    def start(self, index: int, waited: float) -> None:
        self.started.append((index, waited))

    def test_hand_over(self) -> None:
        """Current and old workers, their sockets, and the workers that are to be started again."""
        self.clock.advance(10)
        old, kept = Sockets(None, {"tcp:1": 8}), Sockets(7, {})
        self.processes.current[0] = self.made(0, 0.0, 0.0)
        self.processes.kept[0] = FakeKept(kept)
        self.processes.others[self.made(1, 0.0, 0.0)] = FakeKept(old)
        self.processes.pauses[1] = self.clock.callLater(3, self.start, 1, 4.0)
        found = self.processes.hand_over(10.0, self.admin, "text", RESULT, True, "/run/x.pid")
        first, second = found.workers
        self.assertEqual((0, 10.0, None), (first.index, first.since, first.sockets))
        self.assertEqual((1, old), (second.index, second.sockets))
        self.assertEqual(((Pause(1, 3.0, 4.0),), {0: kept}), (found.pauses, found.sockets))
        self.assertEqual(("text", RESULT, True, "/run/x.pid"), (found.text, found.result, found.reload, found.pid_file))

    def test_adopt(self) -> None:
        """All of these continue; a worker hears of its process when all are known."""
        given = handover(admin=admin_state(drains=(("route", "a.test", 2.0, 3.0),)))
        before = FakeKept(None)
        self.processes.kept[0] = before
        self.processes.adopt(as_reactor(self.clock), self.admin, given, self.made, self.start)
        ((index, worker),) = self.processes.current.items()
        ((old, kept),) = self.processes.others.items()
        self.assertEqual((0, given.workers[0], 1), (index, worker.adopted, worker.seen))
        self.assertEqual((given.workers[1], given.workers[1].sockets), (old.adopted, kept.sockets))
        self.assertIs(before, self.processes.kept[0])
        self.assertEqual(given.sockets, {index: one.sockets for index, one in self.processes.kept.items()})
        self.assertEqual([("route", "a.test")], list(self.admin.drains.drains))
        self.clock.advance(2)
        self.assertEqual([(1, 4.0)], self.started)


class KillableWorker:
    """@ivar killed: it was killed. @ivar ends, counts, pid: as those of a worker."""

    def __init__(self, pid: int, tunnels: int = 0) -> None:
        self.pid, self.counts = pid, StateCounts(tunnels)
        self.ends: float | None = None
        self.killed = False

    def kill(self) -> None:
        self.killed = True


class OpenKept:
    """Kept sockets. @ivar did: the calls."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def close_channel(self) -> None:
        self.did.append("close")

    def release(self) -> None:
        self.did.append("release")


class NumberTests(SynchronousTestCase):
    """Processes of which there are too many or not enough, and their end."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.workers = [KillableWorker(100 + index, index) for index in range(3)]
        self.kept = [OpenKept() for _ in range(4)]
        made: Any = Processes()
        self.processes = made
        self.processes.current.update(enumerate(self.workers))
        self.processes.kept.update(enumerate(self.kept))
        self.processes.pauses[3] = self.clock.callLater(1, self.fail)

    def test_missing(self) -> None:
        """Those that run or are to be started again are not missing."""
        self.assertEqual([[], [4, 5]], [self.processes.missing(count) for count in (2, 6)])

    def test_retire(self) -> None:
        """Workers above the number are others, and are shown while they have tunnels; none is started again."""
        self.assertEqual(self.workers[1:], self.processes.retire(1, 50.0))
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(([0], [0]), (list(self.processes.current), list(self.processes.kept)))
        self.assertEqual([[], [], [], ["release"]], [one.did for one in self.kept])
        self.assertEqual(dict(zip(self.workers[1:], self.kept[1:3], strict=True)), self.processes.others)
        self.workers[1].counts = StateCounts(0)
        self.assertEqual(self.workers[1:], self.processes.retired())
        self.assertEqual([OldProcess(102, 2, 50.0)], self.processes.old_processes())

    def test_kill(self) -> None:
        """All are killed, and their sockets are closed."""
        self.processes.kill()
        self.assertEqual([True] * 3, [one.killed for one in self.workers])
        self.assertEqual([["close", "release"]] * 4, [one.did for one in self.kept])
        self.assertEqual({}, self.processes.current)
        self.processes.cancel_pauses()
        self.assertEqual([], self.clock.getDelayedCalls())
