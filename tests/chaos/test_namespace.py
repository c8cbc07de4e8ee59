"""Processes of a run: killed, stopped, and ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
from threading import Thread

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.chaos import namespace, wire
from tests.chaos.trouble import Trouble
from tests.support.sockets import TIMEOUT_S

SLEEPS = ["sleep", "600"]


class KillTests(SynchronousTestCase):
    """The end of a run."""

    def test_all(self) -> None:
        """Every process with the mark is killed, in a session of its own and stopped, too; no other is."""
        environments = [{**os.environ, "CHAOS_RUN": mark} for mark in ("test-1", "test-1", "test-12")]
        found = [subprocess.Popen(SLEEPS, env=each, start_new_session=True) for each in environments]
        for process in found:
            self.addCleanup(process.wait, TIMEOUT_S)
            self.addCleanup(process.kill)
        found[1].send_signal(signal.SIGSTOP)
        reaps = [Thread(target=process.wait, args=(TIMEOUT_S,)) for process in found[:2]]
        for thread in reaps:
            thread.start()
        namespace.kill_all("test-1")
        for thread in reaps:
            thread.join(TIMEOUT_S)
        self.assertEqual([-signal.SIGKILL, -signal.SIGKILL, None], [process.poll() for process in found])

    def test_too_long(self) -> None:
        """A run that takes too long is ended, with its status 1 and what it printed."""
        if why := wire.why_not():
            raise SkipTest(why)
        status, said = namespace.run_inside("tests.chaos.sleeper", "", 1)
        self.assertEqual(1, status)
        self.assertIn("did not end in 1 s", said)


class TroubleTests(SynchronousTestCase):
    """Kills and stops."""

    def test_trouble(self) -> None:
        """Workers are stopped, continued and killed, until the end; a seed chooses."""
        workers = [subprocess.Popen(SLEEPS) for _ in range(3)]
        for worker in workers:
            self.addCleanup(worker.wait, TIMEOUT_S)
            self.addCleanup(worker.kill)
        trouble = Trouble(3, 0.001, lambda: [worker.pid for worker in workers if worker.poll() is None])
        thread = Thread(target=trouble.run)
        thread.start()
        self.addCleanup(thread.join, TIMEOUT_S)
        self.addCleanup(trouble.end)
        for worker in workers:
            self.assertEqual(-signal.SIGKILL, worker.wait(TIMEOUT_S))
        trouble.end()
        thread.join(TIMEOUT_S)
        self.assertGreaterEqual(len(trouble.kills), 3)
