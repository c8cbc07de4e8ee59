"""Tests for sniproxy.server.workers.supervisor: workers that replace others, without processes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs, formatEvent

from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server.upgrade.program import CommandLine
from sniproxy.server.workers import supervisor
from sniproxy.server.workers.admin.drains import KeptDrain
from sniproxy.server.workers.beat import INTERVAL_S
from sniproxy.server.workers.handover import Handover, Result
from sniproxy.server.workers.post import HEARTBEAT, READY, REOPEN, RETIRE, STOP
from sniproxy.server.workers.process import START_TIMEOUT_S, STOP_GRACE_S
from sniproxy.server.workers.supervisor import Supervisor
from sniproxy.server.workers.upgrade import WorkersUpgrade
from tests.server.workers.handovers import admin_state, handover, worker_state
from tests.server.workers.unstarted import TEXT, FakeKept, FakeWorker, OrderCase

OTHER = TEXT.replace("4443", "4444")


class SuccessorTests(OrderCase):
    """Workers that replace others. @ivar one: the supervisor. @ivar kept: of the new worker."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(supervisor, "KeptSockets", FakeKept)
        self.patch(supervisor, "available", True)
        self.one = self.running()
        self.orders()
        self.kept: Any = FakeKept()

    def check(self, text: str) -> Any:
        """Check another configuration."""

        def read() -> Configuration:
            self.text = text
            return parse(text, "x.toml")

        return self.one.check(read)

    def successor(self) -> FakeWorker:
        """A new worker 0."""
        channel: Any = "channel"
        worker = self.one.start_successor(0, self.kept, channel)
        assert isinstance(worker, FakeWorker)
        self.assertIs(worker, self.workers[-1])
        return worker

    def did(self, kept: object) -> list[str]:
        """What was done with kept sockets since the last call."""
        assert isinstance(kept, FakeKept)
        found, kept.did = kept.did, []
        return found

    def restarts(self) -> list[int]:
        """The indexes of the workers that are about to be started again."""
        return sorted(self.one._pauses)

    def current(self) -> list[object]:
        """The workers of an index."""
        return [worker for worker, _ in self.one.current()]

    def test_check(self) -> None:
        """The checked configuration is for new workers; it is current when it is used, and not if it is discarded."""
        use = self.check(OTHER)
        worker = self.successor()
        self.assertEqual(((OTHER, 0), "channel"), (worker.started, worker.upgrade))
        self.text = "something else"  # a reload reads a file that is invalid
        self.assertEqual((OTHER, 0), self.successor().started)
        for wanted, port in ((False, 4443), (True, 4444)):
            use(wanted)
            self.assertEqual(port, self.one.configuration.listeners[0].endpoint.port)
            self.assertIs(self.one.configuration, self.one.admin.state.configuration)
        self.workers[1].end()
        self.clock.advance(1)
        self.assertEqual((OTHER, 0), self.workers[-1].started)

    def test_invalid(self) -> None:
        """An invalid configuration is refused; a supervisor that stops reads none."""
        self.assertRaises(ConfigError, self.check, "colour = 1\n")
        self.one.stopService()
        self.assertRaises(ConfigError, self.check, TEXT)

    def test_cannot_start(self) -> None:
        """A refused process changes nothing."""
        self.check(TEXT)
        self.cannot_start.add(0)
        channel: Any = "channel"
        self.assertRaises(OSError, self.one.start_successor, 0, self.kept, channel)
        self.assertEqual(({}, self.workers), (self.one._others, self.current()))

    def test_promoted(self) -> None:
        """The new worker has the index; the old one keeps its tunnels until it exits, and reopens its logs."""
        self.check(TEXT)
        old, new = self.workers[0], self.successor()
        old_kept = self.one._kept[0]
        replaced: list[object] = []
        self.patch(self.one.admin, "replaced", replaced.append)
        self.assertEqual(self.workers[:2], self.current())
        self.one.promote(new, self.kept)
        self.assertEqual([new, self.workers[1]], self.current())
        self.assertIs(self.kept, self.one._kept[0])
        self.assertEqual((["release"], [], [old]), (self.did(old_kept), self.did(self.kept), replaced))
        self.one.reopen_logs()
        self.assertEqual([[(REOPEN, "")]] * 3, self.orders())
        with capturedLogs() as logs:
            old.end()
        self.assertEqual(["worker 0 (pid 100) of an upgrade exited"], [formatEvent(event) for event in logs])
        self.assertEqual(["close", "release"], self.did(old_kept))
        self.assertEqual(([], [new, self.workers[1]]), (self.restarts(), self.current()))
        new.report(READY)
        new.end()
        self.assertEqual(([0], ["close"]), (self.restarts(), self.did(self.kept)))

    def test_candidate_ends(self) -> None:
        """A new worker that ends before it is in charge changes nothing, and is not started again."""
        self.check(TEXT)
        ended: list[object] = []
        self.patch(self.one.admin, "ended", ended.append)
        self.successor().end("exited with status 1")
        self.assertEqual((self.workers[:2], [], []), (self.current(), self.restarts(), ended))
        self.assertEqual(["close", "release"], self.did(self.kept))
        self.assertNotIn(self.workers[2], self.one.admin.drains._confirmed)

    def test_drains(self) -> None:
        """A new worker that was ready before it has the index gets the drains that have changed since its start."""
        sent: list[object] = []
        self.patch(self.one.admin.drains, "_send_missing", lambda: sent.append(None))
        self.check(TEXT)
        new = self.successor()
        new.ready = True
        self.one.promote(new, self.kept)
        self.assertEqual([], sent)
        new = self.successor()
        new.ready = True
        self.one.admin.drains._drains["route", "a.test"] = KeptDrain(1.0, 2.0)
        self.one.promote(new, self.kept)
        self.assertEqual([None], sent)

    def test_old_dies(self) -> None:
        """The new worker takes over from one that has died, which is not started again."""
        self.check(TEXT)
        old, new = self.workers[0], self.successor()
        old_kept = self.one._kept[0]
        old.exited = True
        self.one.promote(new, self.kept)  # a worker says how its upgrade has ended before its exit is handled
        old.end()
        self.assertEqual(([new, self.workers[1]], [], {}), (self.current(), self.restarts(), self.one._others))
        self.assertEqual(["release", "close"], self.did(old_kept))
        self.assertEqual([(START_TIMEOUT_S, "become ready")], new.limits)
        new.report(READY)
        self.assertEqual([], new.limits)

    def test_both_die(self) -> None:
        """If both are dead, one worker is started, once."""
        self.check(TEXT)
        old, new = self.workers[0], self.successor()
        new.end()
        old.exited = True
        self.one.promote(new, self.kept)
        self.assertEqual([0], self.restarts())
        old.end()
        self.assertEqual(([self.workers[1]], [0]), (self.current(), self.restarts()))
        self.clock.advance(1)
        self.assertEqual(4, len(self.workers))
        self.assertEqual([self.workers[3], self.workers[1]], self.current())

    def test_new_dies_in_charge(self) -> None:
        """If the new worker has died by then, another is started, and the old one keeps its tunnels."""
        self.check(TEXT)
        old, new = self.workers[0], self.successor()
        new.end()
        self.one.promote(new, self.kept)
        self.assertEqual(([0], [old]), (self.restarts(), list(self.one._others)))
        self.clock.advance(1)
        self.assertEqual([self.workers[3], self.workers[1]], self.current())

    def test_pause(self) -> None:
        """A worker that is about to be started again has no successor, and none takes its place."""
        self.workers[0].end()
        self.assertEqual([self.workers[1]], self.current())
        self.check(TEXT)
        new = self.successor()
        self.one.promote(new, self.kept)
        self.clock.advance(5)
        self.assertEqual(([new, self.workers[1]], 3), (self.current(), len(self.workers)))

    def test_stop(self) -> None:
        """A stop stops old and new workers, and ends with the last of them; none is started any more."""
        self.check(TEXT)
        old, new = self.workers[0], self.successor()
        self.one.promote(new, self.kept)
        candidate = self.successor()
        stopping = self.one.stopService()
        self.assertEqual([[(STOP, "")]] * 4, self.orders())
        self.assertEqual([[(7 + STOP_GRACE_S, "end")]] * 4, [worker.limits for worker in self.workers])
        candidate.end()
        self.one.promote(candidate, self.kept)
        for worker in (new, self.workers[1]):
            worker.end()
        self.assertNoResult(stopping)
        old.end()
        self.successResultOf(stopping)
        self.assertEqual([], self.restarts())

    def test_stop_with_an_old_one(self) -> None:
        """A stop waits for an old worker, although no other is left."""
        self.check(TEXT)
        old, new = self.workers[0], self.successor()
        self.one.promote(new, self.kept)
        new.end()
        self.workers[1].end()
        stopping = self.one.stopService()
        self.assertNoResult(stopping)
        old.end()
        self.successResultOf(stopping)


class NumberTests(OrderCase):
    """An upgrade to another number of workers."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.running()
        self.orders()

    def use(self, workers: int) -> str:
        """Use a configuration with this number of workers. @return: its text."""

        def read() -> Configuration:
            self.text = TEXT.replace("workers = 2", f"workers = {workers}")
            return parse(self.text, "x.toml")

        self.one.check(read)(True)
        self.assertEqual(workers, self.one.wanted)
        return self.text

    def test_more(self) -> None:
        """Workers that are missing are started; one that cannot be started is started later."""
        text = self.use(4)
        self.cannot_start.add(3)
        (two, new), (three, nothing) = self.one.add_missing()
        self.assertEqual((2, self.workers[2], 3, None), (two, new, three, nothing))
        limits = [(START_TIMEOUT_S, "become ready")]
        self.assertEqual(((text, 0), limits), (self.workers[2].started, self.workers[2].limits))
        self.cannot_start.clear()
        self.assertEqual([], list(self.one.add_missing()))
        self.clock.advance(1)
        self.assertEqual([0, 1, 2, 3], sorted(self.one._workers))

    def test_fewer(self) -> None:
        """One too many gets the order to retire, is asked whether it answers, and is not started again."""
        self.use(1)
        self.one.retire_surplus()
        for worker in self.workers:
            worker.ready = True
        self.assertEqual([[], [(RETIRE, "")]], self.orders())
        self.clock.advance(INTERVAL_S)
        self.assertEqual([[(HEARTBEAT, "")]] * 2, self.orders())
        with capturedLogs() as logs:
            self.workers[1].end()
        self.assertEqual(["worker 1 (pid 101) of an upgrade exited"], [formatEvent(event) for event in logs])
        self.assertEqual([0], sorted(self.one._workers))


class HandOverTests(OrderCase):
    """The supervisor's program is replaced."""

    def given(self) -> Handover:
        return handover(workers=(worker_state(),), sockets={}, admin=admin_state())

    def test_hand_over(self) -> None:
        """The next program gets the text of the workers' configuration, and the workers."""
        self.patch(supervisor, "available", False)
        found = self.running().hand_over(Result(2, 6, 1, 0.5), True, "/run/x.pid")
        self.assertEqual((TEXT, [0, 1]), (found.text, [one.index for one in found.workers]))
        self.assertEqual((Result(2, 6, 1, 0.5), True, "/run/x.pid"), (found.result, found.reload, found.pid_file))

    def test_adopted(self) -> None:
        """It starts no worker but one that waits for its start."""
        one = self.supervisor(TEXT, self.given())
        one.startService()
        self.assertEqual(([True], True), ([worker.ready for worker in self.workers], one.admin.state.ready))
        self.assertEqual([0], sorted(one._workers))
        self.clock.advance(2)
        self.assertEqual([0, 1], sorted(one._workers))

    def test_cannot_listen(self) -> None:
        """If its admin endpoint cannot listen after all, the workers are not killed: they drain when it ends."""
        one = self.supervisor(TEXT, self.given())

        def start(configuration: object) -> None:
            raise CannotListenError(None, None, OSError())

        self.patch(one.admin, "start", start)
        self.assertRaises(CannotListenError, one.startService)
        self.assertEqual([False], [worker.killed for worker in self.workers])
        first = self.supervisor()
        self.patch(first.admin, "start", start)
        self.assertRaises(CannotListenError, first.startService)
        self.assertEqual([True, True], [worker.killed for worker in self.workers[1:]])


class UpgradeByTests(OrderCase):
    """Supervisor.upgrade_by, and a reload while an upgrade runs."""

    def made(self) -> tuple[Supervisor, WorkersUpgrade]:
        one = self.running()
        return one, one.upgrade_by(CommandLine(["python"], "/"), lambda: parse(TEXT, "x.toml"), lambda: ({}, ""))

    def test_admin(self) -> None:
        """The admin endpoint can start the upgrade."""
        one, upgrade = self.made()
        self.assertEqual(upgrade.upgrade, one.admin.state.upgrade)

    def test_reload(self) -> None:
        """A reload waits for the end of an upgrade, so that all workers have the same configuration."""
        one, upgrade = self.made()
        waiting: Deferred[None] = Deferred()
        self.patch(upgrade, "when_idle", lambda: waiting)
        reload = one.reload_beside(lambda: parse(OTHER, "x.toml"))
        self.assertNoResult(reload)
        self.assertEqual([[], []], self.orders())
        waiting.callback(None)
        self.assertIsNone(self.successResultOf(reload))
        self.assertEqual(4444, one.configuration.listeners[0].endpoint.port)
        self.patch(upgrade, "when_idle", lambda: succeed(None))
        self.assertIn("x.toml", str(self.successResultOf(one.reload_beside(lambda: parse("colour = 1", "x.toml")))))
