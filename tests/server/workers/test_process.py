"""Tests for sniproxy.server.workers.process."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.upgrade.channel import socket_pair
from sniproxy.server.upgrade.messages import MAX_PACKET_BYTES, VERSIONS, Offer, Offered, Refused, decode, encode
from sniproxy.server.workers import process
from sniproxy.server.workers.admin.link import NoReply, WorkerLink
from sniproxy.server.workers.ends import Replaced
from sniproxy.server.workers.post import HEARTBEAT, READY, REFUSED, RELOAD, RELOADED, STOP, UPGRADED
from sniproxy.server.workers.process import Worker, wait_until_ready
from sniproxy.server.workers.sockets import KeptSockets, available
from tests.server.workers.running import configuration
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import TIMEOUT_S, HandClock, SocketTestCase, in_thread


class ReportTests(SocketTestCase):
    """The reports and orders of a worker."""

    def test_reload(self) -> None:
        """A worker reloads from the order until its report, whatever the report says."""
        reported: list[str] = []
        worker = Worker(0, 0.0, 0.0, lambda worker, what: reported.append(what), lambda worker, how: None)
        worker.transport = SimpleNamespace(pipes={})  # it has closed its pipe for orders
        for answer in (RELOADED, REFUSED):
            worker.send_order(RELOAD, "text")
            self.assertTrue(worker.reloading)
            worker.childDataReceived(5, f"{HEARTBEAT}\n{answer}".encode())
            self.assertTrue(worker.reloading)
            worker.childDataReceived(5, b"\n")
            self.assertFalse(worker.reloading)
        self.assertEqual([HEARTBEAT, RELOADED, HEARTBEAT, REFUSED], reported)
        self.assertFalse(worker.ready)


def _call(ended: Deferred[str], worker: Worker, how: str) -> None:
    ended.callback(how)


class UpgradeTests(SynchronousTestCase):
    """Worker.wait_for_upgrade. @ivar answers: how the upgrade has ended."""

    def setUp(self) -> None:
        self.answers: list[Replaced] = []
        self.clock = HandClock()
        self.ends: list[str] = []
        self.worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: self.ends.append(how))

    def wait(self) -> None:
        self.worker.wait_for_upgrade(self.clock, 5.0, self.answers.append)

    def test_reported(self) -> None:
        """The worker says how its upgrade has ended; a second report has no effect."""
        for report, answer in (
            ("[null, 3, 1, true]", Replaced(None, 3, 1, True)),
            ('["no memory", 0, 4, false]', Replaced("no memory", 0, 4)),
        ):
            self.wait()
            for _ in range(2):
                self.worker.childDataReceived(5, f"{UPGRADED} {report}\n".encode())
            self.assertEqual([answer], self.answers)
            self.assertEqual([], self.clock.getDelayedCalls())
            self.answers.clear()
        self.assertEqual([], self.ends)

    def test_late(self) -> None:
        """A worker that does not say it in time has failed."""
        self.wait()
        self.clock.advance(5)
        self.worker.childDataReceived(5, f"{UPGRADED} [null, 3, 1, true]\n".encode())
        self.assertEqual([Replaced("it does not answer", late=True)], self.answers)

    def test_ready(self) -> None:
        """A worker that replaces none has only to become ready."""
        self.assertFalse(self.worker.upgrading)
        self.wait()
        self.assertTrue(self.worker.upgrading)
        self.worker.childDataReceived(5, f"{READY}\n".encode())
        self.assertEqual(([Replaced(None, in_charge=True)], False), (self.answers, self.worker.upgrading))

    def test_died(self) -> None:
        """So has one that exits, and the supervisor learns of the exit after that."""

        def answered(replaced: Replaced) -> None:
            self.answers.append(replaced)
            self.ends.append("")

        self.worker.wait_for_upgrade(self.clock, 5.0, answered)
        self.worker.processEnded(Failure(ProcessTerminated(signal=signal.SIGKILL)))
        self.assertEqual([Replaced("it was killed by SIGKILL during the upgrade", died=True)], self.answers)
        self.assertEqual(["", "was killed by SIGKILL"], self.ends)
        self.assertTrue(self.worker.exited)
        self.assertEqual([], self.clock.getDelayedCalls())


class WorkerTests(SocketTestCase):
    """A worker that is started before the reactor runs."""

    timeout = 180

    def arguments(self, path: Path) -> list[str]:
        logger = ["-n", "--pidfile=", "--logger", "sniproxy.server.workers.lines.observer"]
        return [*logger, "sniproxy", "--config", str(path)]

    async def test_not_ready(self) -> None:
        """A worker with an invalid configuration fails with its error."""
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(Path("x.toml")), "colour = 1\n", 0)
        self.assertIs(worker, wait_until_ready([worker], 4 * TIMEOUT_S))
        self.assertIn("x.toml:1: colour = 1: unknown key", worker.error)
        self.assertEqual("exited with status 1", await ended)

    async def test_successor(self) -> None:
        """A worker that replaces another gets the channel to it, also with kept sockets."""
        for kept in (None, KeptSockets(reactor)) if available else (None,):
            ours, theirs = socket_pair()
            self.addCleanup(ours.close)
            ours.settimeout(4 * TIMEOUT_S)
            ended: Deferred[str] = Deferred()
            worker = Worker(0, 0.0, 0.0, lambda worker, what: None, partial(_call, ended))
            ours.send(encode(Offer(VERSIONS, "0", os.getpid(), 0)))
            ours.send(encode(Offered()))
            with theirs:
                worker.start(reactor, self.arguments(Path("x.toml")), "colour = 1\n", 0, kept, upgrade=theirs)
            refused = decode(await in_thread(ours.recv, MAX_PACKET_BYTES))
            assert isinstance(refused, Refused)
            self.assertIn("x.toml:1: colour = 1: unknown key", refused.why)
            self.assertEqual("exited with status 1", await ended)
            if kept is not None:
                kept.close_channel()

    async def test_silent(self) -> None:
        """A worker that is not ready in time has failed."""
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(Path("x.toml")), "", 0)
        self.assertIs(worker, wait_until_ready([worker], 0.0))
        worker.kill()
        self.assertEqual("was killed by SIGKILL", await ended)

    async def test_sockets(self) -> None:
        """A worker passes its listening sockets on to the supervisor, which keeps them after its end."""
        path = configuration(self)
        kept = KeptSockets(reactor)
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(path), path.read_text(), 0, kept)
        self.assertIsNone(wait_until_ready([worker], 4 * TIMEOUT_S))
        worker.kill()
        await ended
        kept.close_channel()
        self.assertLess(0, len(kept))
        kept.release()

    if not available:
        test_sockets.skip = "sockets are kept on Linux"  # type: ignore[attr-defined]

    async def test_told_when_it_is_gone(self) -> None:
        """An order to a worker that has closed its pipe is ignored."""
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(Path("x.toml")), "colour = 1\n", 0)
        await ended
        worker.send_order(STOP)

    async def test_ready_and_killed(self) -> None:
        """A worker that listens is ready; L{Worker.kill} waits for its exit."""
        path = configuration(self)
        ended: Deferred[str] = Deferred()
        reported: list[str] = []
        worker = Worker(
            0, 0.0, 0.0, lambda worker, what: reported.append(what), lambda worker, how: ended.callback(how)
        )
        worker.start(reactor, self.arguments(path), path.read_text(), 0)
        self.assertIsNone(wait_until_ready([worker], 4 * TIMEOUT_S))
        self.assertEqual([READY], reported)
        worker.kill()
        self.assertEqual("was killed by SIGKILL", await ended)
        worker.kill()  # again is no harm

    async def test_limit(self) -> None:
        """A worker is killed when its time is up, unless that was cancelled."""
        path = configuration(self)
        clock = HandClock()
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(path), path.read_text(), 0)
        self.assertIsNone(wait_until_ready([worker], 4 * TIMEOUT_S))
        os.kill(worker.pid, signal.SIGSTOP)  # it hears nothing any more
        worker.kill_after(clock, 5.0, "become ready")
        worker.cancel_kill()
        clock.advance(6)
        worker.kill_after(clock, 5.0, "become ready")
        worker.kill_after(clock, 10.0, "end")
        worker.send_order(STOP)
        clock.advance(9)
        self.assertFalse(ended.called)
        with capturedLogs() as logs:
            clock.advance(2)
        self.assertEqual(
            [f"worker 0 (pid {worker.pid}) did not end within 10 s: killing it"],
            [formatEvent(event) for event in logs],
        )
        self.assertEqual("was killed by SIGKILL", await ended)

    async def test_answers_and_dumps(self) -> None:
        """It answers heartbeats; on the signal it dumps its stacks to the log, and is killed a second later."""
        path = configuration(self)
        clock = HandClock()
        answered: Deferred[None] = Deferred()
        ended: Deferred[str] = Deferred()

        def reported(worker: Worker, what: str) -> None:
            if what == HEARTBEAT:
                answered.callback(None)

        worker = Worker(0, 0.0, 0.0, reported, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(path), path.read_text(), 0)
        self.assertIsNone(wait_until_ready([worker], 4 * TIMEOUT_S))
        worker.send_order(HEARTBEAT)
        await answered
        with capturedLogs() as logs:
            worker.dump_and_kill(clock)
            while not any("most recent call first" in str(formatEvent(event)) for event in logs):
                await in_thread(int)
            self.assertFalse(ended.called)
            clock.advance(2)
            self.assertEqual("was killed by SIGKILL", await ended)
        self.assertTrue(any("worker 0:   File" in str(formatEvent(event)) for event in logs))

    async def test_ended_in_time(self) -> None:
        """An exit cancels the kill."""
        clock = HandClock()
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(Path("x.toml")), "colour = 1\n", 0)
        worker.kill_after(clock, 5.0, "become ready")
        self.assertEqual("exited with status 1", await ended)
        self.assertEqual([], clock.getDelayedCalls())


class HandOverTests(SynchronousTestCase):
    """Worker.hand_over and Worker.adopt."""

    def made(self) -> Worker:
        return Worker(1, 5.0, 0.5, lambda worker, what: None, lambda worker, how: None)

    def test_same(self) -> None:
        """Another program continues with the process: its pipes, half lines, orders that wait, and its deadline."""
        self.adopted: list[object] = []
        self.patch(process, "AdoptedProcess", lambda reactor, state, worker: self.adopted.append((state, worker)))
        clock = HandClock()
        first = self.made()
        pipes = {
            number: SimpleNamespace(fileno=lambda number=number: number + 20, dataBuffer=b"abc", offset=1,
                                    _tempDataBuffer=[b"d", b"e"])
            for number in (2, 4)
        }  # fmt: skip
        first.transport = SimpleNamespace(pid=7, status=-1, pipes=pipes)
        first.connectionMade()
        first._orders = 4
        first.childDataReceived(5, b"ready\nbeat [1, 2, 3]\nhalf a rep")
        first.childDataReceived(2, b"sniproxy: bad\nhalf a line")
        first.kill_after(clock, 5.0, "end")
        clock.advance(2)
        state = first.hand_over(clock.seconds())
        self.assertEqual((7, None, {2: 22, 4: 24}, b"bcde"), (state.pid, state.status, state.pipes, state.unsent))
        self.assertEqual(
            (True, "bad", b"half a line", b"half a rep"), (state.ready, state.error, state.log, state.reports)
        )
        second = self.made()
        second.transport = first.transport
        second.connectionMade()
        second.adopt(as_reactor(clock), state)
        self.assertEqual(state, second.hand_over(clock.seconds()))
        self.assertEqual([(state, second)], self.adopted)
        for one in (first, second):
            one.cancel_kill()

    def test_ended(self) -> None:
        """A process whose status was collected, and whose output is not read yet."""
        worker = self.made()
        worker.transport = SimpleNamespace(pid=None, status=9, pipes={})
        worker._link = WorkerLink(reactor)
        self.addCleanup(worker._link.close)
        state = worker.hand_over(0.0)
        self.assertEqual((9, b"", worker._link.descriptor), (state.status, state.unsent, state.admin))
        self.patch(process, "AdoptedProcess", lambda *_: None)
        other = self.made()
        number = os.dup(worker._link.descriptor or -1)
        other.adopt(reactor, replace(state, admin=number))
        assert other._link is not None
        self.assertEqual(number, other._link.descriptor)
        other._link.close()

    def test_starting(self) -> None:
        """A worker whose process is starting answers no request."""
        self.failureResultOf(self.made().ask("GET", "/status", 1.0, 1), NoReply)
