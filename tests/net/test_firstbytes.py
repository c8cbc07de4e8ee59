"""Tests for sniproxy.net.firstbytes; test_hello tests deadlines and clients that leave."""

from __future__ import annotations

import socket

from sniproxy.net.firstbytes import FirstBytes
from sniproxy.util.buffered import BufferAccount
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, in_thread


class Line(FirstBytes[bytes]):
    """Reads a line."""

    def parse(self, data: bytes) -> bytes | None:
        if b"\0" in data:
            raise ValueError("no line")
        return bytes(self.received) if b"\n" in self.received else None


class FirstBytesTests(SocketTestCase):
    """FirstBytes."""

    def pair(self) -> tuple[socket.socket, Line]:
        far, ours = connected()
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        return far, Line(reactor, ours, 5.0, BufferAccount(), "line")

    async def test_taken(self) -> None:
        """It waits until its bytes are complete; later bytes stay in the socket, or are kept."""
        far, line = self.pair()
        far.sendall(b"one\ntwo")
        self.assertEqual(b"one\ntwo", await line.first())
        self.assertNotIn(line, reactor.getReaders())

    async def test_at_once(self) -> None:
        """If the bytes have already arrived, neither the reactor nor a deadline is used."""
        far, line = self.pair()
        await in_thread(far.sendall, b"one\n")
        first = line.first()
        self.assertTrue(first.called)
        self.assertEqual(b"one\n", await first)
        self.assertEqual((None, False), (line._deadline, line in reactor.getReaders()))

    async def test_wrong(self) -> None:
        """An exception of the parser ends the wait."""
        far, line = self.pair()
        far.sendall(b"\0")
        await self.assertFailure(line.first(), ValueError)
        self.assertNotIn(line, reactor.getReaders())

    def test_abstract(self) -> None:
        """A subclass must define which bytes are complete."""
        far, ours = connected()
        waiting = FirstBytes[bytes](reactor, ours, 5.0, BufferAccount(), "line")
        self.assertRaises(NotImplementedError, waiting.parse, b"")
        first = waiting.first()
        first.addErrback(lambda failure: None)
        first.cancel()
        far.close()
        ours.close()
