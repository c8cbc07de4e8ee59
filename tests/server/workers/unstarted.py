"""A supervisor whose workers have no process."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.server.workers import supervisor
from sniproxy.server.workers.handover import Handover, WorkerState
from sniproxy.server.workers.process import START_TIMEOUT_S, Worker
from sniproxy.server.workers.supervisor import Supervisor
from tests.server.workers.handovers import worker_state
from tests.support.reactor import as_reactor

TEXT = 'workers = 2\n[[listener]]\nendpoint = "tcp:4443"\n[timeouts]\ndrain = 7\n'


class FakeWorker(Worker):
    """A worker without a process.

    @ivar started: the text, and the number of passed sockets. @ivar orders: those that it got. @ivar limits: its
    deadlines that count. @ivar killed: the supervisor killed it. @ivar upgrade: its channel to the worker before.
    """

    def __init__(self, case: OrderCase, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._case = case
        self.orders: list[tuple[str, str]] = []
        self.limits: list[tuple[float, str]] = []
        self.killed = False
        self.pid = 100 + self.index

    def start(
        self,
        reactor: object,
        arguments: object,
        text: str,
        passed: int,
        kept: object = None,
        variables: object = None,
        upgrade: object = None,
    ) -> None:
        if self.index in self._case.cannot_start:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.started = text, passed
        self.upgrade = upgrade
        self._case.workers.append(self)

    def hand_over(self, now: float) -> WorkerState:
        return worker_state(self.index, since=self.since)

    def adopt(self, reactor: object, state: WorkerState) -> None:
        self.ready = state.ready
        self._case.workers.append(self)

    def send_order(self, what: str, text: str = "") -> None:
        self.orders.append((what, text))

    def kill(self) -> None:
        self.killed = True

    def kill_after(self, reactor: object, seconds: float, what: str) -> None:
        self.limits = [(seconds, what)]

    def cancel_kill(self) -> None:
        self.limits = []

    def report(self, what: str) -> None:
        self._reported(self, what)

    def end(self, how: str = "exited") -> None:
        self.exited = True
        self._ended(self, how)


class FakeKept:
    """The kept sockets of a worker. @ivar did: the calls."""

    def __init__(self, reactor: object = None) -> None:
        self.did: list[str] = []

    def close_channel(self) -> None:
        self.did.append("close")

    def release(self) -> None:
        self.did.append("release")


class OrderCase(SynchronousTestCase):
    """A supervisor on a manual clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.workers: list[FakeWorker] = []
        self.cannot_start: set[int] = set()
        self.not_ready: int | None = None
        self.error = ""
        self.text = TEXT
        self.patch(supervisor, "Worker", partial(FakeWorker, self))
        self.patch(supervisor, "wait_until_ready", self.wait_until_ready)
        self.patch(supervisor, "raise_descriptor_limit", lambda: None)

    def wait_until_ready(self, workers: Sequence[Worker], timeout: float) -> Worker | None:
        self.assertEqual(START_TIMEOUT_S, timeout)
        if self.not_ready is None:
            return None
        workers[self.not_ready].error = self.error
        return workers[self.not_ready]

    def supervisor(self, text: str = TEXT, handover: Handover | None = None) -> Supervisor:
        self.text = text
        return Supervisor(parse(text, "x.toml"), as_reactor(self.clock), lambda: self.text, [], handover)

    def running(self) -> Supervisor:
        """A supervisor whose two workers listen."""
        one = self.supervisor()
        one.startService()
        return one

    def orders(self) -> list[list[tuple[str, str]]]:
        """The orders of each worker since the last call."""
        found = [worker.orders for worker in self.workers]
        for worker in self.workers:
            worker.orders = []
        return found
