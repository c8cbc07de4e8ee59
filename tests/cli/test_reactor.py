"""Tests for sniproxy.cli.reactor: with a fake reactor, and in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli import reactor as module
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.reactor import run_in_reactor
from sniproxy.util.reactor import IReactor
from tests.support import programs

PROGRAM = """
import sys
from twisted.internet.defer import Deferred
from sniproxy.cli.reactor import run_in_reactor

async def command(reactor):
    {body}

sys.exit(run_in_reactor(command))
"""

TIMEOUT_S = 60.0


class FakeReactor:
    """A reactor that runs for one round, and then stops as after Ctrl-C, unless it has been stopped."""

    def __init__(self) -> None:
        self.stopped = False
        self._starting: list[Callable[[], object]] = []
        self._stopping: list[tuple[Callable[..., object], Any]] = []

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        self._starting.append(function)

    def addSystemEventTrigger(self, phase: str, event: str, function: Callable[..., object], argument: object) -> None:
        self._stopping.append((function, argument))

    def stop(self) -> None:
        self.stopped = True

    def run(self) -> None:
        for function in self._starting:
            function()
        if not self.stopped:
            for trigger, argument in self._stopping:
                trigger(argument)


class FakeReactorTests(SynchronousTestCase):
    """run_in_reactor in a fake reactor."""

    def run_command(self, command: Callable[[IReactor], Coroutine[Any, Any, int]]) -> int:
        self.reactor = FakeReactor()
        self.patch(module, "global_reactor", lambda: self.reactor)
        return run_in_reactor(command)

    def test_result(self) -> None:
        """The coroutine gets the reactor; its result stops the reactor, and is returned."""

        async def command(reactor: object) -> int:
            self.assertIs(self.reactor, reactor)
            return 7

        self.assertEqual(7, self.run_command(command))
        self.assertTrue(self.reactor.stopped)

    def test_exception(self) -> None:
        """The exception of the coroutine is raised after the reactor has stopped."""

        async def command(reactor: object) -> int:
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, self.run_command, command)
        self.assertTrue(self.reactor.stopped)

    def test_interrupted(self) -> None:
        """A reactor that stops by itself cancels the coroutine; what it returns then does not count."""
        ended = []

        async def command(reactor: object) -> int:
            try:
                await Deferred()
            finally:
                ended.append(True)
            return 7

        self.assertEqual(INTERRUPTED, self.run_command(command))
        self.assertEqual([True], ended)
        self.assertFalse(self.reactor.stopped)


class ReactorTests(SynchronousTestCase):
    """run_in_reactor in a process."""

    def start(self, body: str) -> subprocess.Popen[str]:
        child: subprocess.Popen[str] = programs.start(
            self,
            [*programs.DEFAULT_SIGINT, sys.executable, "-c", PROGRAM.format(body=body)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return child

    def test_result(self) -> None:
        """The result of the coroutine is the exit status; an exception is raised."""
        for body, status, said in (("return 7", 7, ""), ("raise ValueError('oh')", 1, "ValueError: oh\n")):
            child = self.start(body)
            error = child.communicate(timeout=TIMEOUT_S)[1]
            self.assertEqual(status, child.returncode)
            self.assertTrue(error.endswith(said), error)

    def test_interrupted(self) -> None:
        """Ctrl-C cancels the coroutine, which can clean up."""
        lines = ("print('started', flush=True)", "try:", "    await Deferred()", "finally:", "    print('cleaned up')")
        body = "\n    ".join(lines)
        child = self.start(body)
        assert child.stdout is not None
        with programs.killed_after(child):
            self.assertEqual("started\n", child.stdout.readline())
        child.send_signal(signal.SIGINT)
        out, error = child.communicate(timeout=TIMEOUT_S)
        self.assertEqual((INTERRUPTED, "cleaned up\n", ""), (child.returncode, out, error))
