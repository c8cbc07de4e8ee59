"""Waiting for what a client says first; deadlines and leaving are tested with those who wait (test_hello)."""

from __future__ import annotations

import socket

from twisted.internet import reactor

from sniproxy.net.firstbytes import FirstBytes
from tests.net.support import SocketTestCase, connected


class Line(FirstBytes[bytes]):
    """Wants a line."""

    def taken(self, data: bytes) -> bytes | None:
        if b"\0" in data:
            raise ValueError("no line")
        return bytes(self.received) if b"\n" in self.received else None


class FirstBytesTests(SocketTestCase):
    """FirstBytes."""

    def pair(self) -> tuple[socket.socket, Line]:
        far, ours = connected()
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        return far, Line(reactor, ours, 5.0, "line")

    async def test_taken(self) -> None:
        """It waits until there is what it wants; what comes behind it stays in the socket or is kept."""
        far, line = self.pair()
        far.sendall(b"one\ntwo")
        self.assertEqual(b"one\ntwo", await line.first())
        self.assertNotIn(line, reactor.getReaders())

    async def test_wrong(self) -> None:
        """What is raised ends the waiting."""
        far, line = self.pair()
        far.sendall(b"\0")
        await self.assertFailure(line.first(), ValueError)
        self.assertNotIn(line, reactor.getReaders())

    def test_abstract(self) -> None:
        """What is wanted is for subclasses to say."""
        far, ours = connected()
        waiting = FirstBytes[bytes](reactor, ours, 5.0, "line")
        self.assertRaises(NotImplementedError, waiting.taken, b"")
        waiting.first().addErrback(lambda failure: None)
        waiting.first().cancel()
        far.close()
        ours.close()
