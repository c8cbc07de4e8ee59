"""Tests for sniproxy.cli.reactor, each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.exitstatus import INTERRUPTED

PROGRAM = """
import sys
from twisted.internet.defer import Deferred
from sniproxy.cli.reactor import run_in_reactor

async def command(reactor):
    {body}

sys.exit(run_in_reactor(command))
"""

TIMEOUT_S = 60.0


class ReactorTests(SynchronousTestCase):
    """run_in_reactor."""

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
