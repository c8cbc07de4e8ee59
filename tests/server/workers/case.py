"""Two workers and their supervisor, and tunnels through each worker."""

from __future__ import annotations

import socket

from twisted.trial.unittest import TestCase

from tests.server.workers.running import Running
from tests.support.hellos import hello
from tests.support.proxies import Backend
from tests.support.sockets import TIMEOUT_S, read_exactly, read_to_end

NAME = "a.test"


def route(backend: Backend) -> str:
    """A route from L{NAME} to a backend."""
    return f'[[route]]\nserver_name = "{NAME}"\ntarget = "{backend.address}"\n'


class WorkersCase(TestCase):
    """Two workers and their supervisor."""

    timeout = 120

    def tunnel(self, running: Running, backend: Backend) -> tuple[socket.socket, socket.socket]:
        """Open a tunnel. @return: both ends."""
        client = socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT_S)
        self.addCleanup(client.close)
        client.sendall(hello(name=NAME))
        upstream = backend.accept()
        self.addCleanup(upstream.close)
        read_exactly(upstream, len(hello(name=NAME)))
        return client, upstream

    def tunnels(self, running: Running, backend: Backend) -> dict[int, tuple[socket.socket, socket.socket]]:
        """Open a tunnel through each worker. @return: by worker index."""
        found: dict[int, tuple[socket.socket, socket.socket]] = {}
        while len(found) < 2:
            client, upstream = self.tunnel(running, backend)
            name = "{}:{}".format(*client.getsockname())
            (mine,) = (one for one in running.status()["tunnels"] if one["client"] == name)
            found.setdefault(mine["worker"], (client, upstream))
        return found

    def refused(self, port: int, name: str = "nobody.test") -> None:
        """Make a connection that is refused."""
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
            client.sendall(hello(name=name))
            read_to_end(client)
