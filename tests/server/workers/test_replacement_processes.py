"""Tests for sniproxy.server.workers.replacement with real processes: the supervisor's program is replaced, too."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from twisted.trial.unittest import TestCase

from sniproxy.cli.adminclient import AdminError, drain
from sniproxy.server.workers.replacement import CANNOT
from sniproxy.server.workers.sockets import available
from tests.server.workers.running import held_port
from tests.support.sockets import TIMEOUT_S
from tests.support.upgradedprogram import NAME, PLAIN, WAIT_TIMEOUT_S, Ends, UpgradedProgram

NEW = f"print('the new program', flush=True)\n{PLAIN}"
"""A program that says that it is another."""

AT_CHECK = "import os\nstate = os.environ.get('SNIPROXY_SUPERVISOR', '')\nif ':' in state:\n    {does}\n" + PLAIN
"""A program that misbehaves when it checks the state of the supervisor."""

AT_START = f"import os\nif ':' not in os.environ.get('SNIPROXY_SUPERVISOR', ':'):\n    os._exit(7)\n{PLAIN}"
"""A program that ends when it is to take over."""


class ReplacedTests(TestCase):
    """Two workers, and the tunnels through them."""

    timeout = 300
    if not available:
        skip = "descriptors are handed over on Linux"

    def start(self, text: str = "", **more: Any) -> UpgradedProgram:
        endpoint = f"tcp:{held_port(self)}:interface=127.0.0.1"
        program = UpgradedProgram(self, text, endpoint=endpoint, workers=2, **more)
        self.tunnels: list[Ends] = [program.open() for _ in range(4)]
        return program

    def check(self, program: UpgradedProgram) -> None:
        """The tunnels continue, a new client is served, and nothing has raised."""
        for one in (*self.tunnels, program.open()):
            one.exchange()
        self.assertNotIn("Traceback", program.said)
        self.assertNotIn("Unhandled", program.said)

    def processes(self, program: UpgradedProgram) -> dict[int, int | None]:
        """The workers' processes, by index."""
        return {one["index"]: one["pid"] for one in program.status()["workers"]}

    def wait_for_ready(self, sock: socket.socket, program: UpgradedProgram) -> None:
        """Wait until the service manager hears that the program is ready. It fails if the manager hears nothing."""
        while not sock.recv(4096).decode().startswith(f"READY=1\nMAINPID={program.pid}\n"):
            pass

    def open_until(self, program: UpgradedProgram, worker: int) -> bool:
        """Open a tunnel, unless this worker has one. @return: it has."""
        if worker in [one["worker"] for one in program.status()["tunnels"]]:
            return True
        self.tunnels.append(program.open())
        return False

    def test_replaced(self) -> None:
        """The supervisor runs the code on disk, in the same process, with the sums and drains of the one before.

        It starts a worker that is killed again.
        """
        program = self.start()
        program.open().close()
        program.wait_for_status("totals", lambda found: found["ended"] == 1)
        drain(program.admin, NAME, 0.001)
        before = program.status()
        program.write(NEW)
        done = program.upgrade()
        self.assertEqual((program.pid, program.pid, 4), (done["pid"], done["old_pid"], done["moved"]))
        self.assertEqual(1, program.said.count("the new program"))
        after = program.status()
        since = before["drains"][0]["since"]
        found = after["started"], after["drains"][0]["since"], after["totals"]["ended"]
        self.assertEqual((before["started"], since, 1), found)
        for one in self.tunnels:
            one.exchange()
        processes = self.processes(program)
        killed = processes[0]
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        program.wait_for(f"worker 0 (pid {killed}) was killed by SIGKILL; restarting it")
        program.wait_for_status("workers", lambda found: found[0]["error"] is None and found[0]["pid"] != killed)
        self.assertEqual(processes[1], self.processes(program)[1])

    def test_failures(self) -> None:
        """If the new program cannot take over, the old one continues, with the new workers, and says why."""
        program = self.start()
        for code, why in (
            (AT_CHECK.format(does="raise SystemExit('no such library')"), "supervisor: no such library"),
            (AT_CHECK.format(does="del os.environ['SNIPROXY_SUPERVISOR']"), f"supervisor: {CANNOT}"),
        ):
            before = self.processes(program)
            program.write(code)
            self.assertIn(why, program.refused())
            self.assertEqual([], [index for index, pid in self.processes(program).items() if pid == before[index]])
            self.check(program)
        program.write(NEW)
        self.assertEqual(program.pid, program.upgrade()["pid"])
        program.wait_for("the new program")
        self.check(program)

    def test_number(self) -> None:
        """An upgrade changes the number of workers: one more serves; one too many keeps its tunnels, and is shown."""
        program = self.start()
        program.configure(workers=3)
        program.upgrade()
        program.until(lambda: self.open_until(program, 2), "tunnel of worker 2")
        held = [one["worker"] for one in program.status()["tunnels"]]
        self.assertEqual({0, 1, 2}, set(self.processes(program)))
        surplus = self.processes(program)[2]
        program.configure(workers=2)
        program.upgrade()
        self.assertEqual({0, 1}, set(self.processes(program)))
        (old,) = program.wait_for_status("old_processes", lambda found: found)
        self.assertEqual((surplus, held.count(2)), (old["pid"], old["tunnels"]))
        self.check(program)
        self.assertNotIn(2, [one["worker"] for one in program.status()["tunnels"]])
        for one in self.tunnels:
            one.close()
        program.wait_for(f"worker 2 (pid {surplus}) of an upgrade exited")

    def test_dies(self) -> None:
        """If the new program ends after all, the command fails, and the workers drain, as if it had been killed."""
        program = self.start("[timeouts]\ndrain = 0\n")
        program.write(AT_START)
        self.assertRaises(AdminError, program.upgrade)
        self.assertEqual(7, program.process.wait(WAIT_TIMEOUT_S))
        for one in self.tunnels:
            self.assertEqual(b"", one.client.recv(1))

    def test_daemon(self) -> None:
        """A daemon stays one, with its pid file and its log; the pid file goes with it."""
        program = self.start(options=("--pidfile=proxy.pid", "--logfile=out"))
        path = program.folder / "proxy.pid"
        self.assertNotEqual(program.pid, program.process.pid)
        self.assertEqual(program.pid, program.upgrade()["pid"])
        self.assertEqual(program.pid, int(path.read_text()))
        program.wait_for("upgrade: replaced 2 workers and the supervisor")
        self.check(program)
        workers = self.processes(program)
        os.kill(program.pid, signal.SIGTERM)
        os.kill(program.pid, signal.SIGTERM)
        program.until(lambda: not path.exists(), "end")
        for pid in (program.pid, *workers.values()):
            program.wait_for_end(pid or 0)

    def test_service_manager(self) -> None:
        """A service manager hears that the same process is ready; a signal during the upgrade is not lost."""
        address = f"\0sniproxy-test-{os.getpid()}-{id(self)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.bind(address)
            program = self.start(environment={"NOTIFY_SOCKET": f"@{address[1:]}"})
            self.wait_for_ready(sock, program)
            os.kill(program.pid, signal.SIGUSR2)
            program.wait_for("worker 0: upgrade: started process")
            os.kill(program.pid, signal.SIGHUP)
            program.wait_for("upgrade: replaced 2 workers and the supervisor: 4 tunnels moved")
            program.wait_for_status("configuration", lambda found: found["reloads"]["succeeded"] == 1)
            self.wait_for_ready(sock, program)
        self.check(program)
