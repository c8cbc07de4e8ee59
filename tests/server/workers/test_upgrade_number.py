"""Upgrades of the real program to another number of workers.

No tunnel is cut, no byte is wrong, and no client is refused.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from bench.upgradeload import Load
from bench.upgradeprocesses import NAME
from sniproxy.cli.adminclient import drain
from sniproxy.server.workers.sockets import available
from tests.server.workers.running import held_port
from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S
from tests.support.upgradedprogram import AT_COMMIT, AT_TUNNEL, PLAIN, Ends, UpgradedProgram
from tests.support.upgradedprogram import NAME as OTHER

TUNNELS = 12
"""Tunnels whose bytes are checked, beside clients that come meanwhile."""


class NumberCase(TestCase):
    """The program, with a load. @ivar tunnels: further tunnels, of which the test decides when they end."""

    timeout = 300
    if not available:
        skip = "descriptors are handed over on Linux"

    def start_with_load(self, workers: int) -> UpgradedProgram:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.load = Load(folder, TUNNELS, new=2)
        self.addCleanup(self.load.stop)
        self.start(workers, f'[[route]]\nserver_name = "{NAME}"\ntarget = "127.0.0.1:{self.load.port}"\n')
        assert self.program.address is not None
        self.load.open(self.program.address[1])
        return self.program

    def start(self, workers: int, text: str = "", **more: Any) -> UpgradedProgram:
        self.text = text
        port = held_port(self, socket.SO_REUSEADDR if workers == 1 else socket.SO_REUSEPORT)
        endpoint = f"tcp:{port}:interface=127.0.0.1"
        self.program = UpgradedProgram(self, text, endpoint=endpoint, workers=workers, **more)
        self.tunnels: list[Ends] = [self.program.open() for _ in range(4)]
        return self.program

    def upgrade(self, workers: int) -> dict[str, Any]:
        """Upgrade to a number of workers, and check that the tunnels continue. @return: the result."""
        self.program.configure(self.text, workers=workers)
        done = self.program.upgrade()
        self.program.wait_for_status("workers", lambda found: [one["error"] for one in found] == [None] * workers)
        self.check()
        return done

    def exchange(self) -> None:
        """The tunnels continue, and new clients are served."""
        for one in (*self.tunnels, *(self.program.open() for _ in range(4))):
            one.exchange()

    def check(self) -> None:
        """Nothing has raised, either."""
        self.exchange()
        self.assertNotIn("Traceback", self.program.said)
        self.assertNotIn("Unhandled", self.program.said)

    def check_load(self) -> None:
        """End the load: no tunnel was cut, no byte is wrong, and each new client was served."""
        seen = self.load.end()
        self.assertEqual(([], [], {}), (seen.lost, seen.wrong, dict(seen.failed)))
        self.assertLess(0, seen.new)

    def open_until(self, worker: int) -> bool:
        """Open a tunnel, unless this worker has one. @return: it has."""
        if worker in [one["worker"] for one in self.program.status()["tunnels"]]:
            return True
        self.tunnels.append(self.program.open())
        return False

    def processes(self) -> dict[int, int]:
        """The workers' processes, by index."""
        return {one["index"]: one["pid"] for one in self.program.status()["workers"]}


class FewerTests(NumberCase):
    """From several workers to one, and back."""

    def test_one(self) -> None:
        """With one worker left the supervisor stays: it restarts that worker, reloads, and gets others again."""
        program = self.start_with_load(2)
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


class MoreTests(NumberCase):
    """From a process without workers to several, and back."""

    def test_two(self) -> None:
        """A supervisor takes over, with the tunnels in worker 0; later upgrades are its own."""
        program = self.start_with_load(1)
        first = program.pid
        done = self.upgrade(2)
        pid = done["pid"]
        self.assertEqual((first, {0, 1}), (done["old_pid"], set(self.processes())))
        self.assertNotIn(pid, [first, *self.processes().values()])
        program.wait_for_end(first)
        self.assertEqual(pid, self.upgrade(1)["pid"])
        self.assertEqual(pid, self.upgrade(2)["pid"])
        self.check_load()

    def test_drain(self) -> None:
        """What drains continues to drain, at the same rate; a later command changes it in all workers."""
        name = "drained.test"
        program = self.start(1, f'[[route]]\nserver_name = "{name}"\ntarget = "127.0.0.1:9"\n')
        drain(program.admin, name, 0.002)
        self.upgrade(2)
        (found,) = program.wait_for_status("drains", len)
        self.assertEqual((name, 0.002), (found["name"], found["rate"]))
        self.assertEqual({}, drain(program.admin, name, 0.004)["missing"])

    def test_stays(self) -> None:
        """A connection that cannot move yet is left in the old process, which `/status` shows; then it moves."""
        program = self.start(1, "[timeouts]\nhello = 600\n")
        client = program.connect()
        client.sendall(hello(name=OTHER)[:50])
        program.wait_for_status("live", lambda live: live == 5)
        done = self.upgrade(2)
        self.assertEqual((4, 1), (done["moved"], done["stayed"]))
        program.wait_for_status("old_processes", lambda found: [one["pid"] for one in found] == [program.pid])
        client.sendall(hello(name=OTHER)[50:])
        self.tunnels.append(program.opened(client))
        program.wait_for_end(program.pid)
        self.check()

    def check_places(self, *options: str) -> None:
        """The pid file has the supervisor, which removes it; the service manager learns its process."""
        address = f"\0sniproxy-test-{os.getpid()}-{id(self)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.bind(address)
            options = ("--pidfile=proxy.pid", *options)
            program = self.start(1, options=options, environment={"NOTIFY_SOCKET": f"@{address[1:]}"})
            file = program.folder / "proxy.pid"
            pid = self.upgrade(2)["pid"]
            heard: list[str] = []
            while not {f"READY=1\nMAINPID={pid}", f"MAINPID={pid}"} <= set(heard):
                heard.append("\n".join(sock.recv(4096).decode().splitlines()[:2]))
        program.wait_for_end(program.pid)
        self.assertEqual(pid, int(file.read_text()))
        processes = self.processes()
        program.until(lambda: self.open_until(1), "tunnel of worker 1")
        os.kill(pid, signal.SIGTERM)
        program.wait_for("draining over", 2)
        os.kill(pid, signal.SIGTERM)
        for process in (pid, *processes.values()):
            program.wait_for_end(process)
        self.assertFalse(file.exists())

    def test_places(self) -> None:
        """In the foreground."""
        self.check_places("--nodaemon")

    def test_daemon(self) -> None:
        """As a daemon, with its log file."""
        self.check_places("--logfile=out")


class FailureTests(NumberCase):
    """From a process without workers to several, if that fails: the process continues, and says why."""

    def refused(self, why: str) -> None:
        """An upgrade to two workers fails with this reason."""
        self.program.configure(self.text, workers=2)
        self.continues(why)

    def continues(self, why: str) -> None:
        """An upgrade fails with this reason; the old process continues. The next one succeeds."""
        self.assertIn(why, self.program.refused())
        self.assertEqual([], self.program.status()["old_processes"])
        self.exchange()
        (self.program.folder / "sitecustomize.py").write_text("")
        self.program.write(PLAIN)
        self.assertNotEqual(self.program.pid, self.program.upgrade()["pid"])
        self.exchange()
        self.program.wait_for_end(self.program.pid)

    def new_code(self, code: str) -> None:
        """Let new workers run this code first."""
        (self.program.folder / "sitecustomize.py").write_text(code)

    def test_configuration(self) -> None:
        """The supervisor cannot use the configuration."""
        self.start(1)
        self.text = '[[listener]]\nendpoint = "unix:x"\n'
        self.program.configure(self.text, workers=2)
        self.assertIn("workers cannot share a unix endpoint", self.program.refused())
        self.check()
        self.text = ""
        self.upgrade(2)

    def test_listener(self) -> None:
        """The supervisor's admin endpoint cannot listen."""
        program = self.start(1)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
            program.configure(workers=2)
            file = program.folder / "proxy.toml"
            before, after = f"unix:{program.folder}/admin", f"tcp:{port}:interface=127.0.0.1"
            file.write_text(file.read_text().replace(before, after))
            said = program.refused()
        self.assertIn(f"cannot listen on 127.0.0.1 port {port}: Address already in use", said)
        self.check()
        self.upgrade(2)

    def test_program(self) -> None:
        """The new program does not start."""
        self.start(1).write("import nowhere\n")
        self.refused("No module named 'nowhere'")

    def test_worker(self) -> None:
        """The first worker does not start."""
        self.start(1)
        self.new_code("import os, sys\nsys.stderr.write('no such library\\n')\nsys.stderr.flush()\nos._exit(3)\n")
        self.refused("worker 0: it exited with status 3 during the upgrade")
        self.assertIn("worker 0: no such library", self.program.said)

    def test_daemon(self) -> None:
        """The first worker of a daemon does not start."""
        self.start(1, options=("--pidfile=proxy.pid", "--logfile=out"))
        self.new_code("import os\nos._exit(3)\n")
        self.refused("worker 0: it exited with status 3 during the upgrade")

    def test_killed(self) -> None:
        """The first worker is killed in the middle: the old process continues with the tunnels that it still has."""
        program = self.start(1)
        self.new_code(AT_TUNNEL.format(process="os.getpid()"))
        program.configure(workers=2)
        self.assertIn("worker 0: it was killed by SIGKILL during the upgrade", program.refused())
        found = [one["client"] for one in program.status()["tunnels"]]
        self.tunnels = [one for one in self.tunnels if "{}:{}".format(*one.client.getsockname()) in found]
        self.assertLess(0, len(self.tunnels))
        self.check()
        self.new_code("")
        self.upgrade(2)

    def test_supervisor_killed(self) -> None:
        """The supervisor is killed before its worker is in charge: the old process continues."""
        self.start(1)
        self.new_code("import os\nos.kill(os.getppid(), 9)\n")
        self.refused("the new process ")

    def test_late(self) -> None:
        """The first worker reads the commit late: the old process serves, and the supervisor ends."""
        program = self.start(1)
        self.new_code(AT_COMMIT)
        program.configure(workers=2)
        self.assertIn("the new process did not answer", program.refused())
        supervisor = program.started()
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        for process in children:
            os.kill(int(process), signal.SIGCONT)
        program.wait_for("upgrade: the old process continues")
        self.check()
        for one in self.tunnels:
            one.close()
        program.wait_for_end(supervisor)
        program.open().exchange()
        self.assertEqual([], program.status()["old_processes"])
