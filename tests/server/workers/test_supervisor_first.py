"""Tests for sniproxy.server.workers.supervisor: it replaces a process without workers; no processes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from sniproxy.config.parser import parse
from sniproxy.server.workers.ends import Replaced
from sniproxy.server.workers.post import STOP
from sniproxy.server.workers.supervisor import Supervisor
from tests.server.workers.unstarted import TEXT, OrderCase
from tests.support.reactor import as_reactor


class FirstTests(OrderCase):
    """A supervisor that replaces a process without workers."""

    def setUp(self) -> None:
        super().setUp()
        self.did: list[str] = []
        predecessor: Any = SimpleNamespace(
            pass_on=lambda reactor, sock: sock.close(), refuse=self.did.append, close=lambda: self.did.append("close"),
            finish=lambda: self.did.append("finish"),
        )  # fmt: skip
        self.text = TEXT
        self.one = Supervisor(parse(TEXT, "x.toml"), as_reactor(self.clock), lambda: self.text, [], None, predecessor)
        self.one.startService()
        self.worker: Any = self.workers[0]
        self.patch(self.worker, "wait_for_upgrade", lambda reactor, seconds, answered: self.answers.append(answered))
        self.answers: list[Callable[[Replaced], None]] = []
        assert self.one.first is not None
        self.one.first.take_over(lambda: self.did.append("in charge"), lambda: self.did.append("failed"))

    def test_in_charge(self) -> None:
        """Its first worker takes over; the others start then. Until then it does not reload, nor upgrade."""
        self.assertEqual(([(TEXT, 0)], True), ([one.started for one in self.workers], self.worker.upgrade is not None))
        self.assertEqual("the process before this one is in charge", self.one.reload(lambda: self.one.configuration))
        self.worker.ready = True
        self.answers[0](Replaced(None, in_charge=True))
        self.assertEqual((["finish", "in charge"], [0, 1]), (self.did, [one.index for one in self.workers]))
        self.assertIs(self.worker, self.one._workers[0])
        self.assertIsNone(self.one.reload(lambda: self.one.configuration))

    def test_failed(self) -> None:
        """Its first worker ends: so does it, and starts no other."""
        self.worker.exited = True
        self.answers[0](Replaced("it exited during the upgrade", died=True))
        self.worker.end()
        self.assertEqual(["worker 0: it exited during the upgrade", "close", "failed"], self.did)
        self.assertIsNone(self.successResultOf(self.one.stopService()))
        self.assertEqual(1, len(self.workers))

    def test_stop(self) -> None:
        """A stop lets the first worker stop."""
        stopping = self.one.stopService()
        self.assertEqual((["close"], [[(STOP, "")]]), (self.did, self.orders()))
        self.worker.end()
        self.successResultOf(stopping)
