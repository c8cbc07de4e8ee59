"""Tests for sniproxy.server.workers.upgrade with real processes: two workers, and tunnels through each."""

from __future__ import annotations

import os
import signal

from twisted.trial.unittest import TestCase

from sniproxy.server.workers.sockets import available
from tests.server.workers.clients import Clients
from tests.server.workers.running import held_port
from tests.support.upgradedprogram import AT_COMMIT, AT_TUNNEL, PLAIN, WAIT_TIMEOUT_S, Ends, UpgradedProgram

COUNT = 12
"""Tunnels that are open, at least."""

SERVED = {"closed"}
"""How connections end that are served: the proxy sends an alert and closes them."""


class WorkersUpgradeCase(TestCase):
    """Two workers. @ivar tunnels: by the index of their worker."""

    timeout = 300
    if not available:
        skip = "descriptors are handed over on Linux"

    def setUp(self) -> None:
        endpoint = f"tcp:{held_port(self)}:interface=127.0.0.1"
        self.program = UpgradedProgram(self, endpoint=endpoint, workers=2)
        self.tunnels: dict[int, list[Ends]] = {0: [], 1: []}
        while min(map(len, self.tunnels.values())) < COUNT // 2:
            one = self.program.open()
            self.tunnels[self.workers()[self.client_of(one)]].append(one)
        self.pids = self.processes()

    def client_of(self, tunnel: Ends) -> str:
        return "{}:{}".format(*tunnel.client.getsockname())

    def workers(self) -> dict[str, int]:
        """The index of the worker of each client."""
        return {one["client"]: one["worker"] for one in self.program.status()["tunnels"]}

    def processes(self) -> dict[int, int]:
        """The workers' processes, by index."""
        return {one["index"]: one["pid"] for one in self.program.status()["workers"]}

    def new_code(self, code: str = "") -> None:
        """Let new workers run this code first. Empty: no other code."""
        (self.program.folder / "sitecustomize.py").write_text(code)

    def check(self, *tunnels: Ends) -> None:
        """These tunnels continue, new clients are served, and nothing has raised."""
        for one in tunnels or [one for part in self.tunnels.values() for one in part]:
            one.exchange()
        for _ in range(4):  # some of them reach each worker
            new = self.program.open()
            new.exchange()
            new.close()
        self.assertNotIn("Traceback", self.program.said)
        self.assertNotIn("Unhandled", self.program.said)


class UpgradeTests(WorkersUpgradeCase):
    """Upgrades that succeed."""

    def test_twice(self) -> None:
        """All workers are replaced, twice: no tunnel is lost, no byte is wrong, and each client is served."""
        assert self.program.address is not None
        clients = Clients(self, self.program.address[1], threads=2)
        total = sum(map(len, self.tunnels.values()))
        for _ in range(2):
            before = self.processes()
            done = self.program.upgrade()
            self.assertEqual((self.program.pid, total), (done["pid"], done["moved"]))
            after = self.processes()
            self.assertEqual([], [index for index in (0, 1) if before[index] == after[index]])
            self.check()
        clients.wait_for_more(20)
        self.assertEqual(SERVED, set(clients.stop()))
        found = self.workers()
        for index, tunnels in self.tunnels.items():
            self.assertEqual({index}, {found[self.client_of(one)] for one in tunnels})
        for process in self.pids.values():
            self.program.wait_for_end(process)


class FailureTests(WorkersUpgradeCase):
    """Upgrades that fail."""

    def continues(self, why: str) -> None:
        """An upgrade fails with this reason, and the old workers continue. The next one succeeds."""
        self.assertIn(why, self.program.refused())
        self.assertEqual(self.pids, self.processes())
        self.check()
        self.assertNotIn("restarting it", self.program.said)
        self.new_code()
        self.program.write(PLAIN)
        self.program.upgrade()
        self.check()

    def test_program(self) -> None:
        """The new program does not start: no worker is touched, and its last line is the reason."""
        self.program.write("import nowhere\n")
        self.continues("No module named 'nowhere'")
        self.assertNotIn(" of an upgrade exited with", self.program.said)

    def test_configuration(self) -> None:
        """The new worker refuses a configuration that the supervisor takes, and its error is the reason."""
        self.new_code(
            "from sniproxy.config import parser\nfrom sniproxy.config.schema import ConfigError\n"
            "def parse(*given, **more):\n    raise ConfigError('x.toml: not for this release')\nparser.parse = parse\n"
        )
        self.continues("worker 0: x.toml: not for this release")

    def test_worker(self) -> None:
        """The new worker ends at its start."""
        self.new_code("import os, sys\nsys.stderr.write('no such library\\n')\nsys.stderr.flush()\nos._exit(3)\n")
        self.continues("worker 0: the new process did not start: it has closed the channel; see its lines in the log")
        self.assertIn("worker 0: no such library", self.program.said)

    def test_new_killed(self) -> None:
        """The new worker is killed in the middle: the old one continues with the tunnels that it still has."""
        self.new_code(AT_TUNNEL.format(process="os.getpid()"))
        self.assertIn("worker 0: the new process has failed: ", self.program.refused())
        self.assertEqual(self.pids, self.processes())
        found = self.workers()
        left = [one for one in self.tunnels[0] if self.client_of(one) in found]
        self.assertLess(0, len(left))
        self.check(*left, *self.tunnels[1])

    def test_old_killed(self) -> None:
        """The old worker is killed in the middle: the new one is the worker of that index, with what it has taken."""
        self.new_code(AT_TUNNEL.format(process="self.old.pid"))
        self.assertIn("worker 0: it was killed by SIGKILL during the upgrade", self.program.refused())
        self.program.wait_for("failed during the upgrade")
        after = self.processes()
        self.assertEqual((True, self.pids[1]), (after[0] != self.pids[0], after[1]))
        found = self.workers()
        left = [one for one in self.tunnels[0] if self.client_of(one) in found]
        self.assertLessEqual(2, len(left))
        self.check(*left, *self.tunnels[1])
        self.assertNotIn("restarting it", self.program.said)
        self.new_code()
        self.program.upgrade()
        self.check(*left, *self.tunnels[1])

    def test_late_at_commit(self) -> None:
        """A new worker reads the commit late: the old ones serve, and a stop ends its tunnels, too."""
        self.new_code(AT_COMMIT)
        self.assertIn("worker 0: the new process did not answer", self.program.refused())
        process = self.program.started()
        os.kill(process, signal.SIGCONT)
        self.program.wait_for("upgrade: the old process continues")
        self.check()
        for times in (1, 2):
            os.kill(self.program.pid, signal.SIGTERM)
            if times == 1:
                self.program.wait_for("draining over", 2)
        self.program.process.wait(WAIT_TIMEOUT_S)
        self.program.wait_for_end(process)
        self.assertNotIn("killing it", self.program.said)
