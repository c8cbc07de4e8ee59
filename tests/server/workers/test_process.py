"""Tests for sniproxy.server.workers.process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.logger import capturedLogs, formatEvent

from sniproxy.server.workers.post import BEAT, READY, STOP
from sniproxy.server.workers.process import Worker, how, wait_until_ready
from tests.server.workers.running import configuration
from tests.support.sockets import TIMEOUT_S, HandClock, SocketTestCase, in_thread


class HowTests(SocketTestCase):
    """how: how a process ended."""

    def test_texts(self) -> None:
        """By itself, with a status, by a signal."""
        for reason, text in (
            (ProcessDone(0), "ended"),
            (ProcessTerminated(3), "ended with status 3"),
            (ProcessTerminated(signal=signal.SIGKILL), "was ended by SIGKILL"),
        ):
            self.assertEqual(text, how(reason))


class WorkerTests(SocketTestCase):
    """A process, started before the reactor runs."""

    timeout = 180

    def arguments(self, path: Path) -> list[str]:
        logger = ["-n", "--pidfile=", "--logger", "sniproxy.server.workers.lines.observer"]
        return [*logger, "sniproxy", "--config", str(path)]

    async def test_not_ready(self) -> None:
        """One that cannot use its configuration is found, with its error."""
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(Path("x.toml")), "colour = 1\n", 0)
        self.assertIs(worker, wait_until_ready([worker], 4 * TIMEOUT_S))
        self.assertIn("x.toml:1: colour = 1: unknown key", worker.error)
        self.assertEqual("ended with status 1", await ended)

    async def test_told_when_it_is_gone(self) -> None:
        """What is told to one whose pipe is closed, for it is ending, is lost, and harms nobody."""
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(Path("x.toml")), "colour = 1\n", 0)
        await ended
        worker.tell(STOP)

    async def test_ready_and_killed(self) -> None:
        """One that listens is ready; killed, it is waited for until it has ended."""
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
        self.assertEqual("was ended by SIGKILL", await ended)
        worker.kill()  # again is no harm

    async def test_limit(self) -> None:
        """One that does not end in its time is killed; one that has done what it was to do is not."""
        path = configuration(self)
        clock = HandClock()
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(path), path.read_text(), 0)
        self.assertIsNone(wait_until_ready([worker], 4 * TIMEOUT_S))
        os.kill(worker.pid, signal.SIGSTOP)  # it hears nothing any more
        worker.limit(clock, 5.0, "become ready")
        worker.unlimit()
        clock.advance(6)
        worker.limit(clock, 5.0, "become ready")
        worker.limit(clock, 10.0, "end")
        worker.tell(STOP)
        clock.advance(9)
        self.assertFalse(ended.called)
        with capturedLogs() as logs:
            clock.advance(2)
        self.assertEqual(
            [f"worker 0 (pid {worker.pid}) does not end within 10 s: it is killed"],
            [formatEvent(event) for event in logs],
        )
        self.assertEqual("was ended by SIGKILL", await ended)

    async def test_answers_and_dumps(self) -> None:
        """It answers its supervisor; at the signal it writes its stacks to the log, and is killed a second later."""
        path = configuration(self)
        clock = HandClock()
        answered: Deferred[None] = Deferred()
        ended: Deferred[str] = Deferred()

        def reported(worker: Worker, what: str) -> None:
            if what == BEAT:
                answered.callback(None)

        worker = Worker(0, 0.0, 0.0, reported, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(path), path.read_text(), 0)
        self.assertIsNone(wait_until_ready([worker], 4 * TIMEOUT_S))
        worker.tell(BEAT)
        await answered
        with capturedLogs() as logs:
            worker.dump_and_kill(clock)
            while not any("most recent call first" in str(formatEvent(event)) for event in logs):
                await in_thread(int)
            self.assertFalse(ended.called)
            clock.advance(2)
            self.assertEqual("was ended by SIGKILL", await ended)
        self.assertTrue(any("worker 0:   File" in str(formatEvent(event)) for event in logs))

    async def test_ended_in_time(self) -> None:
        """The limit of one that has ended is gone with it."""
        clock = HandClock()
        ended: Deferred[str] = Deferred()
        worker = Worker(0, 0.0, 0.0, lambda worker, what: None, lambda worker, how: ended.callback(how))
        worker.start(reactor, self.arguments(Path("x.toml")), "colour = 1\n", 0)
        worker.limit(clock, 5.0, "become ready")
        self.assertEqual("ended with status 1", await ended)
        self.assertEqual([], clock.getDelayedCalls())
