"""Tests for sniproxy.net.firstbytes; test_hello tests deadlines and clients that leave."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from sniproxy.events import Refusal, Result
from sniproxy.net.firstbytes import ClientGone, FirstBytes, ReadTimeout
from sniproxy.util.buffered import BufferAccount
from tests.support.reactor import reactor
from tests.support.sockets import FullClock, HandClock, SocketTestCase, connected, in_thread, reset


class Line(FirstBytes[bytes]):
    """Reads a line."""

    def parse(self, data: bytes) -> bytes | None:
        if b"\0" in data:
            raise ValueError("no line")
        return bytes(self.received) if b"\n" in self.received else None


class FirstBytesTests(SocketTestCase):
    """FirstBytes."""

    def pair(self, clock: Any = reactor) -> tuple[socket.socket, Line]:
        far, ours = connected()
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        return far, Line(clock, ours, 5.0, BufferAccount(), "line")

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

    async def test_no_room(self) -> None:
        """A socket that the system cannot watch is refused, without a deadline that is left."""
        clock = FullClock()
        _, line = self.pair(clock)
        refusal: Any = await self.assertFailure(line.first(), Refusal)
        why = Result.LIMIT, "cannot watch its socket: No space left on device"
        self.assertEqual((why, []), ((refusal.result, str(refusal)), clock.getDelayedCalls()))

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

    async def test_in_pieces(self) -> None:
        """The parts of a message are collected; bytes count as kept until it is complete."""
        far, line = self.pair()
        first = line.first()
        for part in (b"a", b"b", b"c\n"):
            far.sendall(part)
            await self.read(line, part)
        self.assertEqual(b"abc\n", await first)

    async def read(self, line: Line, part: bytes) -> None:
        """Wait until a part was read."""
        while not line.received.endswith(part):
            await deferLater(reactor, 0)

    async def test_deadline(self) -> None:
        """An incomplete message fails at the deadline, with its name, and nothing stays in the reactor."""
        clock = HandClock()
        far, line = self.pair(clock)
        far.sendall(b"one")
        first = line.first()
        clock.advance(5)
        error = await self.assertFailure(first, ReadTimeout)
        self.assertEqual("no complete line within 5 s", str(error))
        self.assertNotIn(line, reactor.getReaders())

    async def test_left(self) -> None:
        """A close, a reset, and a hang-up that the reactor reports are clients that left."""
        for leave, why in ((socket.socket.close, "it closed the connection"), (reset, "Connection reset by peer")):
            far, line = self.pair()
            leave(far)
            error = await self.assertFailure(line.first(), ClientGone)
            self.assertEqual(why, str(error))
        _, line = self.pair()
        first = line.first()
        line.connectionLost(Failure(ConnectionDone()))
        error = await self.assertFailure(first, ClientGone)
        self.assertEqual("Connection reset by peer", str(error))
        line.connectionLost(Failure(ConnectionDone()))  # reported twice: the first report counts
        self.assertNotIn(line, reactor.getReaders())
