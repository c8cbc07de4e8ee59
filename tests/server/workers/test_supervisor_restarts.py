"""Tests for sniproxy.server.workers.supervisor: workers that die, hang or end, and a supervisor that does."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
from contextlib import ExitStack

from tests.server.workers.case import WorkersCase, route
from tests.server.workers.clients import Clients
from tests.server.workers.running import Running, configuration, exists, held_port
from tests.support.hellos import hello
from tests.support.proxies import Backend
from tests.support.sockets import TIMEOUT_S, read_exactly, read_to_end


class RestartTests(WorkersCase):
    """Workers that die, end or hang."""

    def test_one_dies(self) -> None:
        """A killed worker loses only its own tunnels, and is restarted; SIGTERM ends all workers."""
        backend = Backend(self)
        running = Running(self, configuration(self, route(backend) + "[timeouts]\ndrain = 0\n"))
        pids = running.pids
        self.assertEqual([0, 1], sorted(pids))
        tunnels = self.tunnels(running, backend)
        os.kill(pids[1], signal.SIGKILL)
        for end in tunnels[1]:
            try:
                self.assertEqual(b"", read_to_end(end))
            except ConnectionResetError:  # bytes may have been under way
                pass
        client, upstream = tunnels[0]
        client.sendall(b"still here")
        self.assertEqual(b"still here", read_exactly(upstream, 10))
        running.wait_for(f"worker 1 (pid {pids[1]}) was killed by SIGKILL; restarting it")
        running.wait_for("worker 1: ready:")
        running.look()
        self.assertEqual(pids[0], running.pids[0])
        self.assertNotEqual(pids[1], running.pids[1])
        self.tunnels(running, backend)
        upstream.sendall(b"and here")
        self.assertEqual(b"and here", read_exactly(client, 8))
        status, said = running.finish(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, status)
        self.assertNotIn("Traceback", said)
        self.assertEqual([], [pid for pid in running.pids.values() if exists(pid)])

    def test_one_ends(self) -> None:
        """Workers that stop while clients connect reset none of them: they accept waiting clients first."""
        running = Running(self, configuration(self))
        clients = Clients(self, running.port)
        for index in (0, 1, 0):
            clients.wait_for_more(30)
            os.kill(running.pids[index], signal.SIGTERM)
            running.wait_for(f"worker {index}: ready:")
            running.look()
        self.assertEqual(["closed"], list(clients.stop()))
        running.finish(signal.SIGTERM)

    def waiting(self, stack: ExitStack, port: int) -> list[socket.socket]:
        """Make 40 clients wait in the backlogs of suspended workers. The kernel gives each worker some of them."""
        return [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)) for _ in range(40)
        ]

    def ask(self, clients: list[socket.socket]) -> None:
        """Each client gets an alert and a FIN. A reset raises."""
        for client in clients:
            client.sendall(hello(name="nowhere.test"))
            while client.recv(4096):
                pass

    def test_one_is_killed_with_a_queue(self) -> None:
        """Clients in the backlog of a killed worker are accepted by the restarted one."""
        running = Running(self, configuration(self))
        for _ in range(2):  # the second time, the socket has been handed on once before
            pids = running.pids
            for pid in pids.values():
                os.kill(pid, signal.SIGSTOP)
            with ExitStack() as stack:
                clients = self.waiting(stack, running.port)
                os.kill(pids[0], signal.SIGKILL)
                os.kill(pids[1], signal.SIGCONT)
                running.wait_for("worker 0: ready:")
                self.ask(clients)
            running.look()
            self.assertEqual(pids[1], running.pids[1])
        self.assertNotIn("Traceback", running.finish(signal.SIGTERM)[1])

    def test_listener_of_a_reload(self) -> None:
        """The backlog of a listener that a reload adds is kept too, and that of a removed one is closed."""
        path = configuration(self)
        running = Running(self, path)
        port, before = held_port(self), running.port
        path.write_text(path.read_text().replace(f"tcp:{before}:", f"tcp:{port}:"))
        running.process.send_signal(signal.SIGHUP)
        for _ in running.pids:
            running.wait_for(f"reloaded {path.absolute()}: 0 routes")
        for pid in running.pids.values():
            os.kill(pid, signal.SIGSTOP)
        with ExitStack() as stack:
            clients = self.waiting(stack, port)
            for pid in running.pids.values():
                os.kill(pid, signal.SIGKILL)
            for _ in range(2):
                running.wait_for(": ready:")
            self.ask(clients)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", before))
        self.assertNotIn("Traceback", running.finish(signal.SIGTERM)[1])

    def test_hangs(self) -> None:
        """A hung worker does not prevent the program's exit."""
        running = Running(self, configuration(self, "[timeouts]\ndrain = 0\n"))
        hung = running.pids[1]
        os.kill(hung, signal.SIGSTOP)
        status, said = running.finish(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, status)
        self.assertIn(f"worker 1 (pid {hung}) did not end within 10 s: killing it", said)
        self.assertFalse(exists(hung))

    def test_stopped(self) -> None:
        """A worker that hangs for 10 s is restarted; one that answers after 2 s is not."""
        running = Running(self, configuration(self))
        pids = running.pids
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        for index in (0, 1):
            running.wait_for(f"worker {index} (pid {pids[index]}) has not answered for 2")
        os.kill(pids[0], signal.SIGCONT)
        running.wait_for(f"worker 0 (pid {pids[0]}) answers again")
        running.wait_for(f"worker 1 (pid {pids[1]}) has not answered for 10 s: dumping its stack and killing it")
        running.wait_for("(most recent call first)")  # faulthandler's words
        running.wait_for(f"worker 1 (pid {pids[1]}) was killed by SIGKILL; restarting it at once")
        running.wait_for("worker 1: ready:")
        running.look()
        self.assertEqual(pids[0], running.pids[0])
        self.assertNotEqual(pids[1], running.pids[1])
        running.finish(signal.SIGTERM)

    def test_supervisor_stands_still(self) -> None:
        """A suspended supervisor does not block workers; when it resumes it logs all their lines."""
        running = Running(self, configuration(self, "[timeouts]\ndrain = 0\n"))
        for pid in running.pids.values():
            with open(f"/proc/{pid}/fd/2", "wb") as its_log:
                fcntl.fcntl(its_log, fcntl.F_SETPIPE_SZ, 4096)
        running.process.send_signal(signal.SIGSTOP)
        self.addCleanup(running.process.send_signal, signal.SIGCONT)
        count = 100
        for number in range(count):
            self.refused(running.port, f"n{number}.test")  # whose lines are not summed
        running.process.send_signal(signal.SIGCONT)
        _, said = running.finish(signal.SIGTERM)
        self.assertEqual(count, len(set(re.findall(r"no_route .* (n\d+[.]test)", said))), said)
        self.assertNotIn(" lost", said)

    def test_supervisor_is_killed(self) -> None:
        """Workers whose supervisor has died drain and exit."""
        backend = Backend(self)
        running = Running(self, configuration(self, route(backend) + "[timeouts]\ndrain = 0\n"))
        tunnels = self.tunnels(running, backend)
        running.process.kill()
        for client, upstream in tunnels.values():
            self.assertEqual((b"", b""), (read_to_end(client), read_to_end(upstream)))
