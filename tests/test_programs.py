"""How tests run programs: each wait is bounded, and no process is left."""

from __future__ import annotations

import os
import select
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support import programs
from tests.support.sockets import TIMEOUT_S

PARENT = ("sh", "-c", "sleep 1000 & echo $!; wait")
"""A program whose child keeps its output open."""

SIGINT = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"


class ProgramTests(SynchronousTestCase):
    """Programs that do not end, or not as they should."""

    def test_cleanup(self) -> None:
        """The end of a test kills a program and what it has started."""
        program = programs.start(self, PARENT, stdout=subprocess.PIPE, text=True)
        child = os.pidfd_open(int(programs.read_until(program, "\n")))
        self.doCleanups()
        self.addCleanup(os.close, child)
        self.assertEqual(-9, program.returncode)
        self.assertEqual([child], select.select([child], [], [], TIMEOUT_S)[0])

    def test_silent(self) -> None:
        """A program that does not say what a test waits for is killed, and the test fails with what it said."""
        program = programs.start(self, PARENT, stdout=subprocess.PIPE, text=True)
        error = self.assertRaises(AssertionError, programs.read_until, program, "ready", 0.01)
        self.assertIn("it ended without 'ready': ", str(error))

    def test_does_not_end(self) -> None:
        """A program that ignores a signal is killed."""
        program = programs.start(self, ("sh", "-c", "trap '' TERM; echo it; while :; do sleep 1000; done"),
                                 stdout=subprocess.PIPE, text=True)  # fmt: skip
        programs.read_until(program, "it")
        self.assertEqual((-9, ""), programs.finish(program, 15, 0.01))

    def test_run(self) -> None:
        """A run has a bound, even if a child keeps the output open; a bad exit status is an error if asked for."""
        self.assertRaises(subprocess.TimeoutExpired, programs.run, PARENT, 0.01, capture_output=True)
        done = programs.run(("sh", "-c", "sleep 1000 >&- 2>&- & echo it; exit 3"), capture_output=True, text=True)
        self.assertEqual((3, "it\n"), (done.returncode, done.stdout))
        self.assertRaises(subprocess.CalledProcessError, programs.run, ("false",), check=True)

    def test_interrupt(self) -> None:
        """SIGINT has its default action, even if this process ignores it."""
        command = ("sh", "-c", 'trap "" INT; exec "$@"', "sh", *programs.DEFAULT_SIGINT, sys.executable, "-c", SIGINT)
        self.assertEqual("True\n", programs.run(command, capture_output=True, text=True).stdout)
