"""Tests for sniproxy.cli.reactor, with a loop that ends at once, and each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli import reactor
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.reactor import run_in_reactor
from sniproxy.util.reactor import IReactor

PROGRAM = """
import sys
from twisted.internet.defer import Deferred
from sniproxy.cli.reactor import run_in_reactor

async def command(reactor):
    {body}

sys.exit(run_in_reactor(command))
"""

TIMEOUT_S = 60.0


class Loop:
    """A reactor that runs what waits for its start, then stops. @ivar stopped: how often a stop was asked for."""

    def __init__(self) -> None:
        self.starts: list[Callable[[], None]] = []
        self.triggers: list[Callable[[], None]] = []
        self.stopped = 0

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        self.starts.append(function)

    def addSystemEventTrigger(self, phase: str, event: str, function: Callable[..., None], *args: Any) -> None:
        self.triggers.append(lambda: function(*args))

    def run(self) -> None:
        for function in self.starts:
            function()
        for function in self.triggers:
            function()

    def stop(self) -> None:
        self.stopped += 1


class LoopTests(SynchronousTestCase):
    """run_in_reactor, in the loop of the test."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.patch(reactor, "global_reactor", lambda: self.loop)

    def test_result(self) -> None:
        """The command gets the reactor; its result stops the reactor once and is returned."""
        seen: list[object] = []

        async def command(reactor: IReactor) -> int:
            seen.append(reactor)
            return 7

        self.assertEqual(7, run_in_reactor(command))
        self.assertEqual(([self.loop], 1), (seen, self.loop.stopped))

    def test_exception(self) -> None:
        """An exception of the command stops the reactor and is raised."""

        async def command(reactor: IReactor) -> int:
            raise ValueError("oh")

        self.assertRaises(ValueError, run_in_reactor, command)
        self.assertEqual(1, self.loop.stopped)

    def test_interrupted(self) -> None:
        """A stop of the reactor cancels the command, which can clean up; its result no longer counts."""
        cleaned: list[str] = []

        async def command(reactor: IReactor) -> int:
            try:
                await Deferred()
            finally:
                cleaned.append("up")
            return 7

        self.assertEqual(INTERRUPTED, run_in_reactor(command))
        self.assertEqual((["up"], 0), (cleaned, self.loop.stopped))


class ReactorTests(SynchronousTestCase):
    """run_in_reactor, in a process of its own."""

    def start(self, body: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(body=body)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(child.kill)
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
        self.assertEqual("started\n", child.stdout.readline())
        child.send_signal(signal.SIGINT)
        out, error = child.communicate(timeout=TIMEOUT_S)
        self.assertEqual((INTERRUPTED, "cleaned up\n", ""), (child.returncode, out, error))
