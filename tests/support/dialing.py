"""Loopback servers to dial, and the case of the dialer's tests."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet.defer import Deferred

from sniproxy.interfaces import Target
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer, DialError
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase


class Server:
    """A loopback port that listens; closed, it refuses; full, it never answers."""

    def __init__(self, host: str = "127.0.0.1", backlog: int = 8) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.bind((host, 0))
        self.sock.listen(backlog)
        self.target = Target(*self.sock.getsockname()[:2])
        self.port = self.target.port
        self.others: list[socket.socket] = []

    def fill(self) -> Target:
        """Fill the backlog, so that Linux drops further SYNs."""
        for _ in range(4):
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", self.port))
            self.others.append(other)
        return self.target

    def close(self) -> Target:
        for sock in (self.sock, *self.others):
            sock.close()
        return self.target


class DialerCase(SocketTestCase):
    """The connected socket, or the reason for a failure."""

    def dialer(self, clock: Any = reactor, **denied: str) -> Dialer:
        return Dialer(
            clock, lambda target, host: denied.get((host or target.host).replace(".", "_")), LingeringCloser(clock)
        )

    def dial(self, dialer: Dialer, *targets: Target, seconds: float = 10.0) -> Deferred[socket.socket]:
        self.tried: list[str] = []
        return Deferred.fromCoroutine(dialer.dial(targets, seconds, lambda target: self.tried.append(str(target))))

    async def failure(self, dialling: Deferred[socket.socket]) -> DialError:
        """The error of the dial."""
        return cast(DialError, await self.assertFailure(dialling, DialError))

    def names(self, **names: list[str]) -> None:
        """Set what getaddrinfo returns."""
        self.patch(
            socket,
            "getaddrinfo",
            lambda host, port, **more: [(None, None, None, "", (address, port)) for address in names.get(host, [])],
        )

    def server(self, **options: Any) -> Server:
        server = Server(**options)
        self.addCleanup(server.close)
        return server
