"""Tests for sniproxy.server.workers.upgrade with real processes that share a socket from systemd."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from sniproxy.server.workers.sockets import available
from tests.server.workers.case import WorkersCase, route
from tests.server.workers.running import TWISTD, Running
from tests.support.proxies import Backend
from tests.support.sockets import read_exactly

PASS = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='front')\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)
"""Passes a socket on as systemd does."""


class SystemdTests(WorkersCase):
    """A listener that is a socket from systemd."""

    if not available:
        skip = "descriptors are handed over on Linux"

    def test_workers(self) -> None:
        """At USR2 workers are replaced; the program that checks the configuration has the socket, too."""
        backend, path = Backend(self), Path(self.mktemp())
        path.write_text(
            'workers = 2\n[[listener]]\nname = "public"\nendpoint = "systemd:domain=INET:name=front"\n'
            f'[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n[timeouts]\ndrain = 0\n{route(backend)}'
        )
        with socket.create_server(("127.0.0.1", 0)) as listening:
            number = listening.fileno()
            running = Running(self, path, (TWISTD[0], "-c", PASS, str(number)), (number,))
        tunnels = self.tunnels(running, backend)
        running.process.send_signal(signal.SIGUSR2)
        running.wait_for("upgrade: replaced 2 workers and the supervisor: ")
        for client, upstream in (*tunnels.values(), self.tunnel(running, backend)):
            client.sendall(b"hello")
            self.assertEqual(b"hello", read_exactly(upstream, 5))
        self.assertNotIn("Traceback", running.finish(signal.SIGTERM)[1])
