"""Functions that run in a child process."""

from __future__ import annotations

import multiprocessing
import os
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError, run_in_process

_spawn = multiprocessing.get_context("spawn")


def _fails(error: Exception) -> object:
    raise error


class ApartTests(SynchronousTestCase):
    """Results and errors."""

    def test_result(self) -> None:
        """The result is returned from another process."""
        pid = run_in_process(_spawn, "work", os.getpid)
        self.assertIsInstance(pid, int)
        self.assertNotEqual(pid, os.getpid())

    def test_errors(self) -> None:
        """Errors name the process and the reason."""
        for error in (OSError("no room"), LoadError("no room")):
            told = self.assertRaises(LoadError, run_in_process, _spawn, "producer", partial(_fails, error))
            self.assertEqual(str(told), "the producer failed: no room")

    def test_dies(self) -> None:
        """A process that exits without a result is an error."""
        told = self.assertRaises(LoadError, run_in_process, _spawn, "producer", partial(os._exit, 3))
        self.assertEqual(str(told), "the producer exited without a result")
