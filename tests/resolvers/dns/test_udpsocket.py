"""Tests for sniproxy.resolvers.dns.udpsocket."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from sniproxy.resolvers.dns.udpsocket import BATCH, DatagramSocket
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

    def test_batch(self) -> None:
        """One turn reads a limited number of datagrams; the rest are read in the next one."""
        ours, received, _ = self.listed()
        for number in range(BATCH + 1):
            self.server.sendto(bytes([number]), self.address)
        ours.doRead()
        datagrams = [bytes([number]) for number in range(BATCH + 1)]
        self.assertEqual(datagrams[:-1], received)
        ours.doRead()
        self.assertEqual(datagrams, received)

    def test_closed_by_a_callback(self) -> None:
        """The callback may close the socket; no further datagram is delivered, and no error reported."""
        ours, received, failed = self.listed(lambda: ours.close())
        for _ in range(2):
            self.server.sendto(b"answered", self.address)
        ours.doRead()
        ours.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(([b"answered"], []), (received, failed))

    def test_error(self) -> None:
        """An error of a read, or one that the reactor reports, is told, also if the kernel has none any more."""
        ours, received, failed = self.listed()
        self.server.close()
        ours.send(b"asked")
        ours.doRead()
        ours.send(b"asked")
        ours.connectionLost(Failure(ConnectionDone()))
        ours.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([errno.ECONNREFUSED, errno.ECONNREFUSED, 0], [error.errno for error in failed])
        self.assertEqual(["Connection refused"] * 2 + ["the socket was closed"], [error.strerror for error in failed])
        self.assertEqual([], received)

    def listed(self, then: Callable[[], None] = lambda: None) -> tuple[DatagramSocket, list[bytes], list[OSError]]:
        """A socket connected to C{self.server}, its datagrams, and its errors. @param then: called after each."""
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.server.close)
        self.server.bind(("127.0.0.1", 0))
        received: list[bytes] = []
        failed: list[OSError] = []
        host, port = self.server.getsockname()

        def receive(data: bytes) -> None:
            received.append(data)
            then()

        ours = DatagramSocket(reactor, host, port, receive, failed.append)
        self.addCleanup(ours.close)
        ours.send(b"asked")
        _, self.address = self.server.recvfrom(100)
        return ours, received, failed

    def test_no_way(self) -> None:
        """A failed connect leaves no descriptor open."""
        # The kernel refuses a broadcast address without SO_BROADCAST.
        self.assertRaises(OSError, self.open, "255.255.255.255", 53)
