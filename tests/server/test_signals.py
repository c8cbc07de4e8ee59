"""Tests for sniproxy.server.signals."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.signals import ProgramSignals
from tests.support.reactor import as_reactor


class SignalTests(SynchronousTestCase):
    """ProgramSignals. @ivar calls: what the handlers have called."""

    def setUp(self) -> None:
        self.calls: list[object] = []
        self.handlers: dict[int, Any] = {}
        self.patch(signal, "signal", self.handlers.__setitem__)
        self.patch(signal, "getsignal", lambda number: lambda number, frame: self.calls.append(number))

    def made(self, upgrade: Callable[[int, object], object] | None) -> ProgramSignals:
        reactor = as_reactor(SimpleNamespace(callFromThread=lambda function: function()))
        proxy = SimpleNamespace(
            reopen_logs=lambda: self.calls.append("reopen"), end_now=lambda: self.calls.append("end")
        )
        made = ProgramSignals(reactor, proxy, lambda: self.calls.append("reload"), upgrade)
        made.prepare()
        made.start()
        return made

    def send(self, *numbers: int) -> list[object]:
        """Send signals. @return: the calls."""
        self.calls.clear()
        for number in numbers:
            self.handlers[number](number, None)
        return self.calls

    def test_program(self) -> None:
        """Each signal calls the proxy, and the handler before it; the second stop is at once."""
        made = self.made(lambda number, frame: self.calls.append("upgrade"))
        self.assertEqual(["reload"], self.send(signal.SIGHUP))
        self.assertEqual(["upgrade"], self.send(signal.SIGUSR2))
        self.assertEqual(["reopen", signal.SIGUSR1], self.send(signal.SIGUSR1))
        self.assertFalse(made.stopping)
        self.assertEqual([signal.SIGTERM, "end"], self.send(signal.SIGTERM, signal.SIGINT))
        self.assertTrue(made.stopping)

    def test_worker(self) -> None:
        """A worker leaves upgrades and a second stop to its supervisor."""
        self.made(None)
        self.assertNotIn(signal.SIGUSR2, self.handlers)
        self.assertEqual([signal.SIGTERM], self.send(signal.SIGTERM, signal.SIGTERM))

    def test_no_handler(self) -> None:
        """A handler before it that is none of Python's is not called."""
        self.patch(signal, "getsignal", lambda number: signal.SIG_DFL)
        self.made(None)
        self.assertEqual(["reopen"], self.send(signal.SIGUSR1))
