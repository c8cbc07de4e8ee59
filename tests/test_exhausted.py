"""The program when its descriptors are used up: new connections wait or are refused, live ones go on."""

from __future__ import annotations

import json
import os
import resource
import socket

from twisted.trial.unittest import TestCase

from tests.hellos import hello
from tests.net.support import PATIENCE, read_exactly, read_to_end
from tests.proxies import Backend
from tests.support.running import Running

NAME = "a.test"
DATA = bytes(range(256)) * 256


class ExhaustedTests(TestCase):
    """A child process whose limit of open files is turned down while it runs."""

    def setUp(self) -> None:
        self.backend = Backend(self)
        where = ("--listen", "tcp:0:interface=127.0.0.1", "--route", f"{NAME}={self.backend.address}")
        self.proxy = Running(self, (*where, "--access-log", "-"))
        self.pid = self.proxy.process.pid
        self.plenty = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def leave(self, descriptors: int) -> None:
        """Let the proxy open so many more: a new one takes the lowest number that is free."""
        used = {int(name) for name in os.listdir(f"/proc/{self.pid}/fd")}
        most, free = 0, 0
        while most in used or free < descriptors:
            free += most not in used
            most += 1
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (most, self.plenty[1]))

    def client(self) -> socket.socket:
        client = socket.create_connection(self.proxy.address, timeout=PATIENCE)
        self.addCleanup(client.close)
        client.sendall(hello(name=NAME))
        return client

    def target(self) -> socket.socket:
        target = self.backend.accept()
        self.addCleanup(target.close)
        read_exactly(target, len(hello(name=NAME)))
        return target

    def passes(self, client: socket.socket, target: socket.socket) -> None:
        for source, goal in ((client, target), (target, client)):
            source.sendall(b"a")
            self.assertEqual(b"a", read_exactly(goal, 1))
            source.sendall(DATA)
            self.assertEqual(DATA, read_exactly(goal, len(DATA)))

    def test_accept(self) -> None:
        """Without a descriptor for a new client it waits, the log says so, and it is served when there is one."""
        live = self.client(), self.target()
        self.leave(0)
        late = self.client()
        self.proxy.wait_for("new connections wait: Too many open files; live ones go on")
        self.passes(*live)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.plenty)
        self.passes(late, self.target())

    def test_dial(self) -> None:
        """With a descriptor for a client and none for its target it is closed plainly; live ones go on."""
        live = self.client(), self.target()
        self.leave(1)
        self.assertEqual(b"", read_to_end(self.client()))
        self.proxy.wait_for('"connect_failed"')
        record = json.loads(self.proxy.said.splitlines()[-1])
        self.assertIn("Too many open files", record["reason"])
        self.passes(*live)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.plenty)
        self.passes(self.client(), self.target())
