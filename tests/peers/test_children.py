"""Tests for tests.peers.children."""

from __future__ import annotations

import os
import select
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import provide
from tests.peers.children import Child, ChildError
from tests.peers.needs import require


class ChildTests(SynchronousTestCase):
    """Children that run shell scripts."""

    def setUp(self) -> None:
        """Skip the test if no child can be started."""
        require("setpriv")

    def child(self, script: str) -> Child:
        """Start a shell with this script."""
        child = Child(["sh", "-c", script])
        self.addCleanup(child.stop)
        return child

    def test_line(self) -> None:
        """A line is awaited on both outputs, and earlier lines are kept, each with its time."""
        child = self.child("echo one; echo two >&2; cat")
        self.assertEqual(child.wait_for_text("tw"), "two")
        child.write("three\n")
        child.wait_for_text("three")
        self.assertEqual(child.lines, ["one", "two", "three"])
        self.assertEqual((3, sorted(child.times)), (len(child.times), child.times))

    def test_end(self) -> None:
        """A child that exits before the text is an error with its output."""
        child = self.child("echo sorry; exit 3")
        failure = self.assertRaises(ChildError, child.wait_for_text, "ready")
        self.assertIn("'ready': its output ended; it said\nsorry", str(failure))
        self.assertEqual(child.wait(), 3)

    def test_repeated_lines(self) -> None:
        """The error of a child that repeats itself has its earlier lines, too."""
        child = self.child("echo why; yes sending | head -n 1000; exit 3")
        failure = self.assertRaises(ChildError, child.wait_for_text, "ready")
        self.assertTrue(str(failure).endswith("it said\nwhy\nsending"), failure)

    def test_silence(self) -> None:
        """A child that does not print in time is an error, too."""
        failure = self.assertRaises(ChildError, self.child("cat").wait_for_text, "ready", 0.01)
        self.assertIn("not within", str(failure))

    def test_stop(self) -> None:
        """A stopped child has exited; stop can be repeated."""
        child = self.child("cat")
        child.stop()
        self.assertIsNotNone(child.process.returncode)
        child.stop()

    def test_stubborn(self) -> None:
        """A child that ignores the stop is killed."""
        child = self.child("trap '' TERM; echo up; exec sleep 600")
        child.wait_for_text("up")
        child.stop(0.01)
        self.assertEqual(child.process.returncode, -9)

    def test_parent_is_killed(self) -> None:
        """A child is killed if its parent is killed."""
        script = (
            "from tests.peers.children import Child\n"
            "child = Child(['sh', '-c', 'echo up; exec sleep 600'])\n"
            "child.wait_for_text('up')\n"
            "print(child.process.pid, flush=True)\n"
            "child.process.wait()\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(provide.HERE.parents[1])}
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
        ) as parent:
            assert parent.stdout is not None
            grandchild = os.pidfd_open(int(parent.stdout.readline()))
            self.addCleanup(os.close, grandchild)
            parent.kill()
            # A process's descriptor is readable when the process has ended.
            self.assertEqual(select.select([grandchild], [], [], 20.0)[0], [grandchild])
