"""Tests for sniproxy.server.workers.process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.logger import capturedLogs, formatEvent

from sniproxy.server.workers.post import HEARTBEAT, READY, REFUSED, RELOAD, RELOADED, STOP
from sniproxy.server.workers.process import Worker, describe_end, wait_until_ready
from sniproxy.server.workers.sockets import KeptSockets, available
from tests.server.workers.running import configuration
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, HandClock, SocketTestCase, in_thread


class HowTests(SocketTestCase):
    """describe_end."""

    def test_texts(self) -> None:
        """An exit, an exit with a status, and a signal."""
        for reason, text in (
            (ProcessDone(0), "exited"),
            (ProcessTerminated(3), "exited with status 3"),
            (ProcessTerminated(signal=signal.SIGKILL), "was killed by SIGKILL"),
            (OSError("lost"), "exited: lost"),
            (None, "exited: None"),
        ):
            self.assertEqual(text, describe_end(reason))


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
