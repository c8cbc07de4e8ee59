"""Tests for sniproxy.server.workers.firstworker, without processes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.workers import CannotStart
from sniproxy.server.workers.ends import Replaced
from sniproxy.server.workers.firstworker import ANSWER_TIMEOUT_S, CLOSE_DELAY_S, FirstWorker
from tests.support.reactor import as_reactor

TEXT = 'workers = 2\n[[listener]]\nendpoint = "tcp:4443"\n[admin]\nendpoint = "unix:/a"\n'


class FakeWorker:
    """The first worker. @ivar answer: says how its upgrade has ended. @ivar limits: how long each wait for that is."""

    error = ""
    answer: Callable[[Replaced], None]

    def __init__(self) -> None:
        self.limits: list[float] = []

    def wait_for_upgrade(self, reactor: object, seconds: float, answered: Callable[[Replaced], None]) -> None:
        self.limits.append(seconds)
        self.answer = answered


class FakePredecessor:
    """The process without workers. @ivar did: the calls."""

    def __init__(self, did: list[str], admin: socket.socket | None) -> None:
        self.did = did
        self._admin = admin

    def take_admin(self, endpoint: str) -> socket.socket | None:
        self.did.append(f"take {endpoint.partition(':backlog')[0]}")
        return self._admin

    def pass_on(self, reactor: object, sock: socket.socket) -> None:
        self.did.append("pass on")
        sock.close()

    def refuse(self, why: str) -> None:
        self.did.append(f"refuse: {why}")

    def finish(self) -> None:
        self.did.append("finish")

    def close(self) -> None:
        self.did.append("close")


class FirstWorkerTests(SynchronousTestCase):
    """FirstWorker. @ivar did: what it has called. @ivar drains: fires when those of the worker are known."""

    def setUp(self) -> None:
        self.clock, self.worker = Clock(), FakeWorker()
        self.did: list[str] = []
        self.drains: Deferred[None] = Deferred()
        self.error: OSError | None = None
        did = self.did.append

        def start(index: int, kept: object, channel: socket.socket) -> FakeWorker:
            if self.error is not None:
                raise self.error
            did(f"start {index}")
            return self.worker

        def add_missing() -> Any:
            did("add")
            return [(1, SimpleNamespace(pid=7)), (2, None)]

        self.admin: Any = SimpleNamespace(
            use_socket=lambda sock: did("use socket"), hold=lambda: did("hold"), serve=lambda: did("serve"),
            leave=lambda: did("leave"), learn_drains=lambda worker: self.drains, state=SimpleNamespace(ready=True),
        )  # fmt: skip
        self.supervisor: Any = SimpleNamespace(
            admin=self.admin, configuration=parse(TEXT, "x.toml"), running=True, start_successor=start,
            promote=lambda worker, kept: did("promote"), add_missing=add_missing,
        )  # fmt: skip

    def made(self, admin: socket.socket | None = None) -> FirstWorker:
        predecessor: Any = FakePredecessor(self.did, admin)
        return FirstWorker(as_reactor(self.clock), self.supervisor, predecessor)

    def started(self) -> FirstWorker:
        """One whose worker has been started."""
        first = self.made()
        first.start()
        self.did.clear()
        first.take_over(lambda: self.did.append("in charge"), lambda: self.did.append("failed"))
        return first

    def test_start(self) -> None:
        """The worker gets the offer. Until it is in charge, the admin endpoint waits."""
        with socket.socket() as sock:
            first = self.made(sock)
        self.assertEqual(["take unix:/a", "use socket"], self.did)
        self.did.clear()
        first.start()
        self.assertEqual((["hold", "start 0", "pass on"], False), (self.did, self.admin.state.ready))
        self.assertTrue(first.waits)

    def test_without_admin(self) -> None:
        """There may be no admin endpoint, or the old process has none there."""
        self.made()
        self.assertEqual(["take unix:/a"], self.did)
        self.did.clear()
        self.supervisor.configuration = parse(TEXT.partition("[admin]")[0], "x.toml")
        self.made()
        self.assertEqual([], self.did)

    def test_cannot_start(self) -> None:
        """The system may refuse to start it."""
        self.error = OSError(11, "no process")
        self.assertEqual("cannot start a worker: no process", str(self.assertRaises(CannotStart, self.made().start)))
        self.assertNotIn("pass on", self.did)

    def test_in_charge(self) -> None:
        """Then the program is in charge, too; the others start with the drains, and the channel is closed later."""
        first = self.started()
        self.worker.answer(Replaced(None, in_charge=True))
        self.assertEqual((["promote", "finish", "in charge", "serve"], False), (self.did, first.waits))
        with capturedLogs() as logs:
            self.drains.callback(None)
        self.assertEqual(("add", ["worker 1: started, as process 7"]), (self.did[-1], list(map(formatEvent, logs))))
        first.stop()
        self.assertEqual("add", self.did[-1])
        self.clock.advance(CLOSE_DELAY_S)
        self.assertEqual("close", self.did[-1])

    def test_stopped_meanwhile(self) -> None:
        """A program that stops starts no others. An internal error is logged."""
        self.started()
        self.worker.answer(Replaced(None, in_charge=True))
        self.supervisor.running = False
        self.drains.callback(None)
        self.assertNotIn("add", self.did)
        self.drains = Deferred()
        self.started()
        self.worker.answer(Replaced(None, in_charge=True))
        self.drains.errback(ValueError())
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_late(self) -> None:
        """The old process decides how long it waits."""
        self.started()
        self.worker.answer(Replaced("it does not answer", late=True))
        self.assertEqual(([], [ANSWER_TIMEOUT_S] * 2), (self.did, self.worker.limits))
        self.worker.answer(Replaced(None, in_charge=True))
        self.assertIn("in charge", self.did)

    def test_failed(self) -> None:
        """If the worker ends before, so does the program: the old process knows why, and keeps its sockets."""
        first = self.started()
        self.worker.answer(Replaced("it exited with status 1 during the upgrade", died=True))
        why = "refuse: worker 0: it exited with status 1 during the upgrade"
        self.assertEqual([why, "leave", "close", "failed"], self.did)
        self.assertFalse(first.waits)
        self.worker.error = "cannot listen"
        self.started()
        self.worker.answer(Replaced("it exited with status 1 during the upgrade", died=True))
        self.assertEqual("refuse: worker 0: cannot listen", self.did[0])

    def test_stop(self) -> None:
        """A program that stops before leaves the sockets to the old process."""
        first = self.started()
        first.stop()
        first.stop()
        self.assertEqual(["leave", "close"], self.did)
