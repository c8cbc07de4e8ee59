"""Upgrades of the real program to another number of workers.

No tunnel is cut, no byte is wrong, and no client is refused.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from bench.upgradeload import Load
from bench.upgradeprocesses import NAME
from sniproxy.server.workers.sockets import available
from tests.server.workers.running import held_port
from tests.support.hellos import hello
from tests.support.upgradedprogram import NAME as OTHER
from tests.support.upgradedprogram import Ends, UpgradedProgram

TUNNELS = 12
"""Tunnels whose bytes are checked, beside clients that come meanwhile."""


class NumberCase(TestCase):
    """The program, with a load. @ivar tunnels: further tunnels, of which the test decides when they end."""

    timeout = 300
    if not available:
        skip = "descriptors are handed over on Linux"

    def start(self, workers: int, text: str = "") -> UpgradedProgram:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.load = Load(folder, TUNNELS)
        self.addCleanup(self.load.stop)
        self.text = f'[[route]]\nserver_name = "{NAME}"\ntarget = "127.0.0.1:{self.load.port}"\n{text}'
        self.port = held_port(self)
        endpoint = f"tcp:{self.port}:interface=127.0.0.1"
        self.program = UpgradedProgram(self, self.text, endpoint=endpoint, workers=workers)
        self.load.open(self.port)
        self.tunnels: list[Ends] = [self.program.open() for _ in range(4)]
        return self.program

    def upgrade(self, workers: int) -> dict[str, Any]:
        """Upgrade to a number of workers, and check that the tunnels continue. @return: the result."""
        self.program.configure(self.text, workers=workers)
        done = self.program.upgrade()
        self.program.wait_for_status("workers", lambda found: [one["error"] for one in found] == [None] * workers)
        self.check()
        return done

    def check(self) -> None:
        """The tunnels continue, new clients are served, and nothing has raised."""
        for one in (*self.tunnels, *(self.program.open() for _ in range(4))):
            one.exchange()
        self.assertNotIn("Traceback", self.program.said)
        self.assertNotIn("Unhandled", self.program.said)

    def check_load(self) -> None:
        """End the load: no tunnel was cut, no byte is wrong, and each new client was served."""
        seen = self.load.end()
        self.assertEqual(([], [], {}), (seen.lost, seen.wrong, dict(seen.failed)))
        self.assertLess(0, seen.new)

    def processes(self) -> dict[int, int]:
        """The workers' processes, by index."""
        return {one["index"]: one["pid"] for one in self.program.status()["workers"]}


class FewerTests(NumberCase):
    """From several workers to one, and back."""

    def test_one(self) -> None:
        """With one worker left the supervisor stays: it restarts that worker, reloads, and gets others again."""
        program = self.start(2)
        program.until(lambda: self.open_until(1), "tunnel of worker 1")
        surplus = self.processes()[1]
        self.assertEqual(program.pid, self.upgrade(1)["pid"])
        self.assertEqual([0], list(self.processes()))
        program.wait_for_status("old_processes", lambda found: [one["pid"] for one in found] == [surplus])
        program.configure(f"{self.text}[timeouts]\nhello = 3\n")
        os.kill(program.pid, signal.SIGHUP)
        program.wait_for_status("configuration", lambda found: found["timeouts"]["hello"] == 3)
        program.configure(self.text, workers=2)
        os.kill(program.pid, signal.SIGHUP)
        program.wait_for("workers = 2: 1 at start; upgrade or restart to change it")
        self.assertEqual(program.pid, self.upgrade(2)["pid"])
        program.until(lambda: self.open_until(1), "tunnel of worker 1")
        self.check()
        self.check_load()

    def open_until(self, worker: int) -> bool:
        """Open a tunnel, unless this worker has one. @return: it has."""
        if worker in [one["worker"] for one in self.program.status()["tunnels"]]:
            return True
        self.tunnels.append(self.program.open())
        return False

    def test_killed(self) -> None:
        """The only worker of a supervisor is started again, on the socket of the one before."""
        program = self.start(2)
        self.upgrade(1)
        (process,) = self.processes().values()
        os.kill(process, signal.SIGKILL)
        program.wait_for(f"worker 0 (pid {process}) was killed by SIGKILL; restarting it")
        client = program.connect()  # it may wait for the worker
        client.sendall(hello(name=OTHER))
        program.wait_for("worker 0: ready:", 3)
        self.tunnels = [program.opened(client, OTHER)]
        self.check()
