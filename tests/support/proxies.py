"""A whole proxy in the process of the test, on loopback, and backends for it."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.config.parser import parse
from sniproxy.events import Connection
from sniproxy.service import ProxyService
from sniproxy.util.names import host_port
from tests.support.hellos import hello
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, in_thread, read_exactly

LISTENER = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'


class Backend:
    """A listening loopback socket. Call L{accept} in a thread."""

    def __init__(self, case: SynchronousTestCase, host: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.bind((host, 0))
        self.sock.listen(8)
        self.sock.settimeout(TIMEOUT_S)
        self.port: int = self.sock.getsockname()[1]
        self.address = host_port(host, self.port)
        case.addCleanup(self.sock.close)

    def accept(self) -> socket.socket:
        """The next connection."""
        sock, _ = self.sock.accept()
        sock.settimeout(TIMEOUT_S)
        return sock


class SilentTarget:
    """A listening loopback socket with a full backlog, so that connects to it time out.

    @ivar address: C{host:port}.
    """

    def __init__(self, case: TestCase) -> None:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        case.addCleanup(listening.close)
        host, port = listening.getsockname()
        self.address = f"{host}:{port}"
        for _ in range(3):
            filling = socket.socket()
            filling.setblocking(False)
            filling.connect_ex((host, port))
            case.addCleanup(filling.close)


class Proxy:
    """A running L{ProxyService}, stopped when the test ends.

    @param text: its configuration. Without a listener it gets one on 127.0.0.1 named ``public``.
    @ivar records: of ended connections.
    """

    def __init__(self, case: TestCase, text: str, clock: Any = reactor, **options: Any) -> None:
        if "[[listener]]" not in text:
            text = LISTENER + text
        self.records: list[Connection] = []
        self._waiting: list[tuple[int, Deferred[Connection]]] = []
        self.service = ProxyService(parse(text, "test.toml"), clock, observer=self._told, **options)
        self.service.startService()
        self.port = next(iter(self.service.addresses.values()))[1] if self.service.addresses else 0
        case.addCleanup(self._stop)

    def connect(self, listener: str = "public") -> socket.socket:
        """A client's connection, with a timeout."""
        return socket.create_connection(self.service.addresses[listener], timeout=TIMEOUT_S)

    def ended(self, number: int = 0) -> Deferred[Connection]:
        """The record of an ended connection, by the order of ends. @param number: from 0."""
        told: Deferred[Connection] = Deferred()
        if number < len(self.records):
            told.callback(self.records[number])
        else:
            self._waiting.append((number, told))
        return told

    def _told(self, connection: Connection) -> None:
        self.records.append(connection)
        for entry in list(self._waiting):
            number, told = entry
            if number < len(self.records):
                self._waiting.remove(entry)
                told.callback(self.records[number])

    def _stop(self) -> Any:
        if not self.service.running:
            return None
        stopped = maybeDeferred(self.service.stopService)
        self.service.end_now()
        return stopped


async def open_tunnel(case: TestCase, proxy: Proxy, backend: Backend, name: str) -> tuple[socket.socket, socket.socket]:
    """Open a tunnel by a hello with this server name. @return: the sockets of the client and of the backend."""
    client = proxy.connect()
    case.addCleanup(client.close)
    client.sendall(hello(name=name))
    upstream = await in_thread(backend.accept)
    case.addCleanup(upstream.close)
    await in_thread(read_exactly, upstream, len(hello(name=name)))
    return client, upstream
