"""Tests for sniproxy.server.workers.supervisor: real processes on a real command line."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.config.parser import parse
from sniproxy.server.workers import supervisor
from sniproxy.server.workers.post import READY
from sniproxy.server.workers.process import Worker
from sniproxy.server.workers.sockets import available
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.server.workers.case import NAME, WorkersCase, route
from tests.server.workers.running import TWISTD, Running, configuration, exists
from tests.support.hellos import hello
from tests.support.proxies import Backend
from tests.support.reactor import as_reactor
from tests.support.sockets import TIMEOUT_S, read_exactly, read_to_end
from tests.support.twistdprocess import ENVIRONMENT


class WorkersTests(WorkersCase):
    """Start, reload, log rotation and exit."""

    def test_loop(self) -> None:
        """A loop through another proxy enters each worker at most once: the hello's second visit to one is denied."""
        with socket.create_server(("127.0.0.1", 0)) as other, ExitStack() as stack:
            other.settimeout(TIMEOUT_S)
            port = other.getsockname()[1]
            running = Running(
                self,
                configuration(
                    self,
                    f'[[route]]\nserver_name = "~h([0-9]+)[.]test"\ntarget = "127.0.0.{{1}}:{port}"\n'
                    f'[policy]\nallow_cidrs = ["127.0.0.0/8"]\nallow_ports = [{port}]\n',
                ),
            )
            ends = [stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT_S))]
            said = hello(name="h1.test")
            ends[0].sendall(said)
            rounds = 0
            while rounds < 3:
                # Either the worker has dialled the other proxy, or it has closed the connection with an alert.
                found, _, _ = select.select([other, ends[-1]], [], [], TIMEOUT_S)
                if other not in found:
                    break
                rounds += 1
                upstream = stack.enter_context(other.accept()[0])
                upstream.settimeout(TIMEOUT_S)
                self.assertEqual(said, read_exactly(upstream, len(said)))
                # The other proxy leads back.
                ends.append(
                    stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT_S))
                )
                ends[-1].sendall(said)
            alert = fatal_alert(Alert.ACCESS_DENIED)
            self.assertEqual(alert, read_to_end(ends[-1]))
            self.assertIn(rounds, (1, 2))
        running.wait_for("loop denied")
        running.finish(signal.SIGTERM)

    def test_drain_and_second_signal(self) -> None:
        """The first signal drains all workers, the second one ends them; a worker's own signal drains it."""
        backend = Backend(self)
        running = Running(self, configuration(self, route(backend)))
        self.tunnels(running, backend)
        running.process.send_signal(signal.SIGTERM)
        for index in (0, 1):
            running.wait_for("draining over 30 s")
            # systemd may send its signals to every process of a unit.
            os.kill(running.pids[index], signal.SIGTERM)
        status, said = running.finish(signal.SIGINT)
        self.assertEqual(-signal.SIGTERM, status)
        self.assertNotIn("Traceback", said)
        self.assertEqual(2, said.count("stopped: "))
        self.assertIn("shutdown", said)

    def test_reload(self) -> None:
        """An invalid file changes nothing, also in a restarted worker; a valid file is served by all workers."""
        backend = Backend(self)
        path = configuration(self, route(backend))
        good = path.read_text()
        running = Running(self, path)
        for bad, why in (("colour = 1\n", "unknown key"), ("workers = 3\n", "restart to change it")):
            path.write_text(bad + good.replace("workers = 2", "") if "workers" in bad else bad + good)
            running.process.send_signal(signal.SIGHUP)
            for _ in range(3):
                running.wait_for(why)
        os.kill(running.pids[0], signal.SIGKILL)
        running.wait_for("worker 0: ready:")
        running.look()
        reloads = running.status()["configuration"]["reloads"]
        self.assertEqual((0, 2), (reloads["succeeded"], reloads["failed"]))
        self.assertIn("restart to change it", reloads["error"])
        path.write_text(good + '[[route]]\nserver_name = "b.test"\ntarget = "127.0.0.1:9"\n')
        running.process.send_signal(signal.SIGHUP)
        for _ in range(2):
            running.wait_for(f"reloaded {path.absolute()}: 2 routes")
        os.kill(running.pids[0], signal.SIGKILL)
        running.wait_for("worker 0: ready: 2 routes")
        self.assertNotIn("Traceback", running.finish(signal.SIGTERM)[1])

    def test_reopen(self) -> None:
        """After a log rotation and USR1 both workers write to the new access log."""
        backend, lines, old = Backend(self), Path(self.mktemp()).absolute(), Path(self.mktemp())
        log = f'[timeouts]\ndrain = 0\n[access_log]\npath = "{lines}"\n'
        running = Running(self, configuration(self, route(backend) + log))
        lines.rename(old)
        running.process.send_signal(signal.SIGUSR1)
        for _ in running.pids:
            running.wait_for(f"access log {lines}: reopened")
        clients = {"{}:{}".format(*client.getsockname()) for client, _ in self.tunnels(running, backend).values()}
        running.finish(signal.SIGTERM)
        written = {json.loads(line)["client"] for line in lines.read_text().splitlines()}
        self.assertEqual((clients, ""), (clients & written, old.read_text()))

    def test_cannot_start(self) -> None:
        """A worker's failure at start ends the program with its error and status 1, and leaves no process."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            path = Path(self.mktemp())
            path.write_text(f'workers = 2\n[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n')
            done = subprocess.run(
                [*TWISTD, "--pidfile=", "-n", "sniproxy", "--config", str(path)],
                capture_output=True,
                text=True,
                timeout=4 * TIMEOUT_S,
                env=ENVIRONMENT,
                check=False,
            )
        said = (
            f"sniproxy: cannot listen on 127.0.0.1 port {port}: Address already in use; it is held by pid {os.getpid()}"
        )
        self.assertIn(said, done.stderr)
        self.assertEqual(1, done.returncode)
        self.assertNotIn("restarting it", done.stdout)
        self.assertNotIn("Traceback", done.stdout + done.stderr)

    def kill(self, pid: int) -> None:
        """Kill processes that a failed test has left."""
        if exists(pid):
            os.kill(pid, signal.SIGKILL)

    def test_daemon(self) -> None:
        """As a daemon it writes its pid file, logs to one file, and exits on a signal."""
        pid, logged, lines = Path(self.mktemp()), Path(self.mktemp()), Path(self.mktemp())
        path = configuration(self, f'[access_log]\npath = "{lines.absolute()}"\n')
        done = subprocess.run(
            [*TWISTD, "--pidfile", str(pid), "-l", str(logged), "sniproxy", "--config", str(path)],
            capture_output=True,
            text=True,
            timeout=4 * TIMEOUT_S,
            env=ENVIRONMENT,
            check=False,
        )
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        number = int(pid.read_text())
        watched = os.pidfd_open(number)
        self.addCleanup(os.close, watched)
        self.addCleanup(self.kill, number)
        port = int(path.read_text().partition("tcp:")[2].partition(":")[0])
        count = 0
        # Workers serve before the supervisor is ready, and hears of a signal.
        while count < 20 or "#info] ready: " not in logged.read_text():
            count += 1
            self.refused(port)
        os.kill(number, signal.SIGTERM)
        poll = select.poll()
        poll.register(watched)
        self.assertTrue(poll.poll(TIMEOUT_S * 1000))
        said = logged.read_text()
        for text in ("worker 0: ready", "worker 1: ready", "2 workers: all listening"):
            self.assertIn(text, said)
        self.assertEqual(["no_route"] * count, [json.loads(line)["result"] for line in lines.read_text().splitlines()])
        self.assertFalse(pid.exists())


class _Fake(Worker):
    """A worker without a process that records its calls."""

    def start(self, *ignored: object) -> None:
        pass

    def kill_after(self, reactor: Any, seconds: float, what: str) -> None:
        self.limits = [*getattr(self, "limits", []), (seconds, what)]

    def cancel_kill(self) -> None:
        self.limits = []

    def send_order(self, what: str, text: str = "") -> None:
        pass


class LimitTests(SynchronousTestCase):
    """Time limits of workers."""

    def test_replacement(self) -> None:
        """A restarted worker has a minute to become ready; a stopping one has a limit too."""
        self.patch(supervisor, "Worker", _Fake)
        text = 'workers = 2\n[[listener]]\nendpoint = "tcp:4443"\n'
        one = supervisor.Supervisor(parse(text, "x.toml"), as_reactor(Clock()), lambda: text, [])
        one._start_again(0, 0.5)
        worker = one._workers[0]
        assert isinstance(worker, _Fake)
        self.assertEqual([(60.0, "become ready")], worker.limits)
        one._reported(worker, READY)
        self.assertEqual([], worker.limits)
        one.stopService()
        one._reported(worker, READY)  # it was on its way
        self.assertEqual([(40.0, "end")], worker.limits)
        one.end_now()
        self.assertEqual((10.0, "end"), worker.limits[-1])

    def test_queue_is_not_kept_for_long(self) -> None:
        """Before a pause of more than 2 s the supervisor closes its copies, so that other workers get the clients."""
        text = 'workers = 2\n[[listener]]\nendpoint = "tcp:4443"\n'
        one = supervisor.Supervisor(parse(text, "x.toml"), as_reactor(Clock()), lambda: text, [])
        for sock in one._kept[1]._sockets, one._kept[0]._sockets:
            sock["tcp:4443"] = socket.socket()
        one._later(0, 2.0)
        self.assertEqual([1, 1], [len(kept) for kept in one._kept.values()])
        one._later(0, 4.0)
        self.assertEqual([0, 1], [len(kept) for kept in one._kept.values()])
        one.stopService()
        self.assertEqual([0, 0], [len(kept) for kept in one._kept.values()])

    if not available:
        test_queue_is_not_kept_for_long.skip = "sockets are kept on Linux"  # type: ignore[attr-defined]


class SystemdTests(TestCase):
    """Sockets that systemd passes."""

    timeout = 60

    def test_passed(self) -> None:
        """One process can use a passed socket, and several workers can share it."""
        for workers in (1, 2):
            backend = Backend(self)
            path = Path(self.mktemp())
            path.write_text(
                f'workers = {workers}\n[[listener]]\nname = "public"\nendpoint = "systemd:domain=INET:name=front"\n'
                f"[timeouts]\ndrain = 0\n{route(backend)}"
            )
            with socket.create_server(("127.0.0.1", 0)) as listening:
                program = (
                    "import os, sys\n"
                    "os.dup2(int(sys.argv[1]), 3)\n"
                    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='front')\n"
                    "os.execv(sys.argv[2], sys.argv[2:])\n"
                )
                before = (TWISTD[0], "-c", program, str(listening.fileno()))
                running = Running(self, path, before, (listening.fileno(),))
                self.assertEqual(workers if workers > 1 else 0, len(running.pids))
                with socket.create_connection(listening.getsockname(), timeout=TIMEOUT_S) as client:
                    client.sendall(hello(name=NAME))
                    with backend.accept() as upstream:
                        self.assertEqual(hello(name=NAME), read_exactly(upstream, len(hello(name=NAME))))
                status, said = running.finish(signal.SIGTERM)
            self.assertEqual(-signal.SIGTERM, status)
            self.assertNotIn("Traceback", said)
