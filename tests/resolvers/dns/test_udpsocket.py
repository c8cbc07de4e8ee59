"""Tests for sniproxy.resolvers.dns.udpsocket."""

from __future__ import annotations

import errno
import socket

from twisted.internet.defer import Deferred

from sniproxy.resolvers.dns.udpsocket import DatagramSocket
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase


class DatagramSocketTests(SocketTestCase):
    """The socket of one lookup."""

    def open(self, address: str, port: int) -> DatagramSocket:
        self.received: Deferred[bytes] = Deferred()
        self.failed: Deferred[OSError] = Deferred()
        opened = DatagramSocket(reactor, address, port, self.received.callback, self.failed.callback)
        self.addCleanup(opened.close)
        return opened

    async def test_exchange(self) -> None:
        """It sends and receives over IPv4 and IPv6; a second close does nothing."""
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as server, socket.socket(family, socket.SOCK_DGRAM) as other:
                server.bind((address, 0))
                server.settimeout(10)
                ours = self.open(address, server.getsockname()[1])
                ours.send(b"asked")
                data, peer = server.recvfrom(100)
                self.assertEqual(b"asked", data)
                other.sendto(b"forged", peer)
                server.sendto(b"answered", peer)
                self.assertEqual(b"answered", await self.received)
                ours.close()
                ours.close()

    async def test_refused(self) -> None:
        """The kernel's error is reported: no server listens there."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            port = gone.getsockname()[1]
        ours = self.open("127.0.0.1", port)
        ours.send(b"asked")
        self.assertEqual(errno.ECONNREFUSED, (await self.failed).errno)

    def test_no_way(self) -> None:
        """A failed connect leaves no descriptor open."""
        # The kernel refuses a broadcast address without SO_BROADCAST.
        self.assertRaises(OSError, self.open, "255.255.255.255", 53)
