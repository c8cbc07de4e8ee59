"""The program without free descriptors: new connections wait or are refused, existing ones continue."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.resolvers.answers import asked_for, reply
from tests.support.hellos import hello
from tests.support.proxies import Backend
from tests.support.sockets import TIMEOUT_S, read_exactly, read_to_end
from tests.support.twistdprocess import TwistdProcess

NAME = "a.test"
DATA = bytes(range(256)) * 256


class _Exhausted(TestCase):
    """A child process whose limit of open files is lowered while it runs."""

    pid: int
    plenty: tuple[int, int]

    def leave(self, descriptors: int) -> None:
        """Leave this many free descriptors to the proxy."""
        used = {int(name) for name in os.listdir(f"/proc/{self.pid}/fd")}
        most, free = 0, 0
        while most in used or free < descriptors:
            free += most not in used
            most += 1
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (most, self.plenty[1]))


class ExhaustedTests(_Exhausted):
    """Connections."""

    def setUp(self) -> None:
        self.backend = Backend(self)
        where = ("--listen", "tcp:0:interface=127.0.0.1", "--route", f"{NAME}={self.backend.address}")
        self.proxy = TwistdProcess(self, (*where, "--access-log", "-"))
        self.pid = self.proxy.process.pid
        self.plenty = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def client(self) -> socket.socket:
        client = socket.create_connection(self.proxy.address, timeout=TIMEOUT_S)
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
        """If there is no descriptor, a new client waits, this is logged, and the client is served later."""
        live = self.client(), self.target()
        self.leave(0)
        late = self.client()
        self.proxy.wait_for("paused: Too many open files; new connections wait in the backlog")
        self.passes(*live)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.plenty)
        self.passes(late, self.target())

    def test_dial(self) -> None:
        """With a descriptor for the client but none for the target, it gets a plain close; others continue."""
        live = self.client(), self.target()
        self.leave(1)
        self.assertEqual(b"", read_to_end(self.client()))
        self.proxy.wait_for('"connect_failed"')
        record = json.loads(self.proxy.said.splitlines()[-1])
        self.assertIn("Too many open files", record["reason"])
        self.passes(*live)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.plenty)
        self.passes(self.client(), self.target())


class LookupTests(_Exhausted):
    """Lookups without a descriptor: the reason is logged, the client gets no alert, and the next lookup works."""

    def start(self, resolver: str, truncated: bool = False) -> None:
        self.truncated = truncated
        self.backend = Backend(self)
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 0))
        answering = threading.Thread(target=self.answer)
        answering.start()
        self.addCleanup(self.server.close)
        self.addCleanup(answering.join)
        self.addCleanup(self.server.sendto, b"", self.server.getsockname())
        path = Path(self.mktemp())
        path.write_text(
            f"""
[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"
[[route]]
server_name = "*.test"
{resolver.format(backend=self.backend.port, server=self.server.getsockname()[1])}
[access_log]
path = "-"
"""
        )
        self.proxy = TwistdProcess(self, ("--config", str(path)))
        self.pid = self.proxy.process.pid
        self.plenty = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def answer(self) -> None:
        """Answer queries over UDP until an empty datagram arrives."""
        while (came := self.server.recvfrom(4096))[0]:
            asked, name, _ = asked_for(came[0])
            records = () if self.truncated else ((f"{name}.", 5, "A", "127.0.0.1"),)
            self.server.sendto(reply(asked, *records, truncated=self.truncated), came[1])

    def connect(self, name: str) -> socket.socket:
        client = socket.create_connection(self.proxy.address, timeout=TIMEOUT_S)
        self.addCleanup(client.close)
        client.sendall(hello(name=name))
        return client

    def check(self, descriptors: int) -> None:
        """Assert that a lookup with this many descriptors fails, and that the next one, with more, succeeds."""
        self.leave(descriptors)
        self.assertEqual(b"", read_to_end(self.connect("a.test")))
        self.proxy.wait_for('"a.test"')
        record = json.loads(self.proxy.said.splitlines()[-1])
        self.assertIn("too many open files", record["reason"])
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.plenty)
        self.truncated = False
        self.connect("b.test")
        target = self.backend.accept()
        self.addCleanup(target.close)
        self.assertEqual(len(hello(name="b.test")), len(read_exactly(target, len(hello(name="b.test")))))

    def test_udp(self) -> None:
        """The C{dns} resolver cannot open a socket for its query."""
        self.start(DNS)
        self.check(1)

    def test_tcp(self) -> None:
        """The C{dns} resolver cannot open a socket for a query over TCP."""
        self.start(DNS, truncated=True)
        self.check(2)

    def test_plain(self) -> None:
        """The system's resolver has no descriptor."""
        self.start('target = "localhost:{backend}"')
        self.check(1)


DNS = """resolver = "d"
[resolver.d]
type = "dns"
target = "a.internal:{backend}"
servers = "127.0.0.1:{server}"
ipv6 = false
"""
