"""Tests for sniproxy.net.reuseport."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from sniproxy.net.endpoints import parse_endpoint
from sniproxy.net.listener import listen_at_once
from sniproxy.net.reuseport import KeptEndpoint, SharedEndpoint
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase


class SharedEndpointTests(SocketTestCase):
    """SharedEndpoint: a port with several listeners."""

    async def test_two(self) -> None:
        """Two sockets listen on one port, over IPv4 and IPv6, with the requested backlog."""
        for text in ("tcp:0:interface=127.0.0.1", r"tcp6:0:interface=\:\:1"):
            first = listen_at_once(SharedEndpoint(reactor, parse_endpoint(text)), Factory(), text)
            port = first.getHost().port
            again = text.replace(":0:", f":{port}:")
            second = listen_at_once(SharedEndpoint(reactor, parse_endpoint(again)), Factory(), again)
            self.assertEqual(first.getHost(), second.getHost())
            for one in (first, second):
                await maybeDeferred(one.stopListening)

    async def test_kept(self) -> None:
        """A socket that already listens gives a port, with the client in its backlog."""
        sock = socket.create_server(("127.0.0.1", 0))
        address = sock.getsockname()
        with socket.create_connection(address) as client:
            port = listen_at_once(KeptEndpoint(reactor, sock), Factory(), "tcp:0")
            self.assertEqual((-1, address[1]), (sock.fileno(), port.getHost().port))
            accepted, came_from = port.socket.accept()
            accepted.close()
            self.assertEqual(client.getsockname(), came_from)
        await maybeDeferred(port.stopListening)

    async def test_kept_unix(self) -> None:
        """So does a UNIX socket. Its mode stays: others must not reach it. Its path goes when the port is closed."""
        path = Path(self.mktemp())
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen(5)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            port = listen_at_once(KeptEndpoint(reactor, sock), Factory(), "unix:x")
            self.assertIn(port, reactor.getReaders())
            port.stopReading()
            accepted, _ = port.socket.accept()
            accepted.close()
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        await maybeDeferred(port.stopListening)
        self.assertFalse(path.exists())

    async def test_not_shared(self) -> None:
        """A port that another process uses without sharing it is an ordinary error with its name."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            text = f"tcp:{port}:interface=127.0.0.1"
            error = self.assertRaises(
                CannotListenError, listen_at_once, SharedEndpoint(reactor, parse_endpoint(text)), Factory(), text
            )
        self.assertEqual(("127.0.0.1", port), (error.interface, error.port))
