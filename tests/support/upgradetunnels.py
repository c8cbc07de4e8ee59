"""Certificates and listening sockets for tests of the upgrade's load."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import trustme
from twisted.trial.unittest import SynchronousTestCase

from bench.upgradetls import Loop

NAME = "upgrade.bench.test"


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a client and of a server with `NAME`."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(server)
    client = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    return client, server


class Ends:
    """A loop, and pairs of connected sockets, which end with the test."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.loop = Loop()
        case.addCleanup(self.loop.close)
        self.client_context, self.server_context = contexts()
        self._listening = socket.create_server(("127.0.0.1", 0))
        case.addCleanup(self._listening.close)

    def connected(self) -> tuple[socket.socket, socket.socket]:
        """The sockets of a client and of the server, not blocking."""
        client = socket.create_connection(self._listening.getsockname())
        server, _ = self._listening.accept()
        client.setblocking(False)
        server.setblocking(False)
        return client, server

    def run(self, done: Callable[[], bool]) -> None:
        """Run until the condition holds, at most 20 seconds."""
        late: list[bool] = []
        self.loop.later(20, lambda: late.append(True))
        self.loop.run(lambda: done() or bool(late))
        assert not late
