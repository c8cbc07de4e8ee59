"""Tests for tests.run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import run

WITH_CLUSTER = re.compile(r"PulsarTestCase|\.cluster_of\(|\.secured\b|\blab\.(cluster|start)\b|\bCluster\(")
"""Uses of a cluster in a module of tests."""


class DivideTests(SynchronousTestCase):
    """Which tests run in any process, and which in one."""

    def test_names(self) -> None:
        """Only tests of brokers are apart: whole modules, and single tests of them."""
        spread = ["tests.net", "tests.peers.test_top.TopTests.test_keys", "tests.test_ctl"]
        brokers = ["tests.peers.test_bridge", "tests.peers.test_lab.LabTests.test_closed"]
        self.assertEqual((spread, brokers), run.divide([*spread, *brokers]))

    def test_all(self) -> None:
        """`tests` is every module once: those of packages by the package, and those of tests/peers one by one."""
        spread, brokers = run.divide(["tests"])
        names = [*spread, *brokers]
        self.assertEqual(len(names), len(set(names)))
        expected = []
        for path in run.ROOT.joinpath("tests").rglob("test_*.py"):
            parts = path.relative_to(run.ROOT).with_suffix("").parts
            expected.append(".".join(parts if parts[1] == "peers" else parts[:2]))
        self.assertEqual(set(expected), set(names))

    def test_peers(self) -> None:
        """The modules of tests/peers that are not apart use no cluster."""
        spread, brokers = run.divide(["tests.peers"])
        self.assertIn("tests.peers.test_java_client", brokers)
        self.assertIn("tests.peers.test_import_nginx", spread)
        texts = {name: run.ROOT.joinpath(*name.split(".")).with_suffix(".py").read_text() for name in spread}
        self.assertEqual([], [name for name, text in texts.items() if WITH_CLUSTER.search(text)])


class MainTests(SynchronousTestCase):
    """The runs of trial."""

    def setUp(self) -> None:
        self.runs: list[list[str]] = []
        self.statuses: list[int] = []
        self.patch(run, "trial", self.started)

    def started(self, arguments: list[str], limit: float, program_limit: float) -> int:
        """Instead of trial: the next of the statuses, or 0."""
        self.runs.append([word for word in arguments if not word.startswith("--temp-directory=")])
        return self.statuses.pop(0) if self.statuses else 0

    def test_both(self) -> None:
        """Tests with brokers follow in a run of their own, without other processes."""
        self.assertEqual(0, run.main(["-j3", "tests.net", "tests.peers.test_lab", "tests.util"]))
        self.assertEqual([["-j3", "tests.net", "tests.util"], ["tests.peers.test_lab"]], self.runs)

    def test_one_process(self) -> None:
        """With -j1, trial runs the tests itself."""
        run.main(["-j1", "tests.net"])
        self.assertEqual([["tests.net"]], self.runs)

    def test_only(self) -> None:
        """--only leaves out the others."""
        names = ["tests.net", "tests.peers.test_lab"]
        run.main(["-j2", "--only", "spread", *names])
        run.main(["-j2", "--only", "brokers", *names])
        self.assertEqual([["-j2", "tests.net"], ["tests.peers.test_lab"]], self.runs)

    def test_failure(self) -> None:
        """A failure of the first run is reported after the second."""
        self.statuses = [1]
        self.assertEqual(1, run.main(["-j2", "tests.net", "tests.peers.test_lab"]))
        self.assertEqual(2, len(self.runs))


ORPHAN = """
import subprocess
from unittest import TestCase
import tests

class Tests(TestCase):
    def test_that_leaves_a_program(self):
        subprocess.Popen(["sh", "-c", "sleep 4321 &"])
"""

CRASHES = """
import os
import signal
import subprocess
from unittest import TestCase
import tests

class Tests(TestCase):
    def test_that_crashes(self):
        subprocess.Popen(["sleep", "4321"])
        os.kill(os.getpid(), signal.SIGKILL)
"""

HANGS = """
import os
import threading
from pathlib import Path
from unittest import TestCase
import tests

class Tests(TestCase):
    def test_that_hangs(self):
        Path(os.environ["PYTHONPATH"].split(os.pathsep)[0], "hangs").touch()
        threading.Event().wait()
"""

LATE = """
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from tests import run

def monotonic():
    return time.monotonic() + (run.LIMIT_S if Path("hangs").exists() else 0)

run.time = SimpleNamespace(**{**vars(time), "monotonic": monotonic})
sys.exit(run.main(sys.argv[1:]))
"""
"""Runs tests with a clock by which the limit has passed once the test hangs, however long the start took."""


class TrialTests(SynchronousTestCase):
    """One run of trial, in processes of its own."""

    def ran(
        self, code: str, *options: str, program: Sequence[str] = ("-m", "tests.run")
    ) -> subprocess.CompletedProcess[str]:
        """The run of a module."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "written.py").write_text(code)
        return subprocess.run(
            [sys.executable, *program, "-j2", *options, "written"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(run.ROOT)])},
            capture_output=True,
            text=True,
        )

    def test_hangs(self) -> None:
        """A run that does not end is killed, and tells where it was."""
        ended = self.ran(HANGS, program=("-c", LATE))
        self.assertEqual(1, ended.returncode)
        self.assertIn("in test_that_hangs", ended.stdout)
        self.assertRegex(ended.stdout, r"FAILED \(errors=1\)")

    def test_orphan(self) -> None:
        """A program that a test has left is killed. It has the output of a worker, whose end trial waits for."""
        ended = self.ran(ORPHAN, "--program-limit=1")
        self.assertRegex(ended.stdout, r"killed after \d+ s: process \d+: sleep 4321")
        self.assertEqual(0, ended.returncode, ended.stdout)

    def test_crash(self) -> None:
        """A worker that crashes fails its test, although a program that the test started goes on."""
        ended = self.ran(CRASHES, "--program-limit=1")
        self.assertEqual(1, ended.returncode)
        self.assertIn("written.Tests.test_that_crashes", ended.stdout)
        self.assertRegex(ended.stdout, r"FAILED \(errors=1\)")
