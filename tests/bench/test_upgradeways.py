"""Replacing proxies."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.peer import Peer
from bench.running import Running
from bench.upgradeways import Way, processes, stop, wait_until, ways
from tests.support import programs


class WaysTests(SynchronousTestCase):
    """Each way that this machine has the program for, except for ours (tests/test_upgrade_tunnels.py)."""

    def test_others(self) -> None:
        """HAProxy and nginx have new processes afterwards; without tunnels the old ones end."""
        for way in ways(5).values():
            if way.name.startswith("ours") or way.peer.program() is None:
                continue
            running = Running(way.peer, {"x.bench.test": 1})
            try:
                found = processes(running.folder)
                self.assertTrue(found, way.name)
                before = {running.main, *found}
                way.upgrade(running)
                wait_until(lambda folder=running.folder, way=way: len(processes(folder)) == way.expected, way.name)  # type: ignore[misc]
                self.assertTrue(set(processes(running.folder)) - before, way.name)
            finally:
                stop(running)
            wait_until(lambda folder=running.folder: not processes(folder), f"end of {way.name}")  # type: ignore[misc]

    def test_deadlines(self) -> None:
        """Ways with a deadline have it in their configuration; the others have none."""
        for way in ways(7).values():
            if way.name.startswith("ours") or way.peer.program() is None:
                continue
            running = Running(way.peer, {"x.bench.test": 1})
            try:
                text = Path(next(word for word in running.command if word.endswith((".cfg", ".conf")))).read_text()
            finally:
                stop(running)
            self.assertEqual(way.stop_after, "hard-stop-after 7s" in text or "shutdown_timeout 7s" in text, way.name)

    def test_refused(self) -> None:
        """A command that fails is an error with its text."""
        way: Way = ways()["ours"]
        peer: Peer = evolve(way.peer)
        running = Running(peer, {"x.bench.test": 1})
        self.addCleanup(stop, running)
        (running.folder / "sniproxy.toml").write_text("colour = 1\n")
        error = self.assertRaises(LoadError, way.upgrade, running)
        self.assertIn("sniproxyctl upgrade: status ", str(error))


class ProcessesTests(SynchronousTestCase):
    """The processes of a folder."""

    def test_children(self) -> None:
        """Processes that name the folder, and their children, are found; zombies are not."""
        with tempfile.TemporaryDirectory() as folder:
            code = "import subprocess, sys; subprocess.run(['sleep', '60'])"
            process = programs.start(self, [sys.executable, "-c", code, folder])
            wait_until(lambda: len(processes(Path(folder))) == 2, "two processes")
            for pid in processes(Path(folder)):
                os.kill(pid, 9)
            wait_until(lambda: not processes(Path(folder)), "no process")
            programs.kill(process)

    def test_never(self) -> None:
        """A condition that stays false is an error."""
        self.assertIn("it: not within 0 s", str(self.assertRaises(LoadError, wait_until, lambda: False, "it", 0.0)))
