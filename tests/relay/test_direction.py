"""One direction of a relay."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from sniproxy.relay.direction import READ_BYTES, ROOM, Direction, Side
from sniproxy.util.buffered import BufferAccount
from tests.support.sockets import connected, in_thread, read_exactly, read_to_end, reset
from tests.tls.material import tls_pair


class DirectionTests(TestCase):
    """What it holds."""

    def setUp(self) -> None:
        self.far, ours = connected(4 * READ_BYTES)
        self.other, self.target = connected()
        for sock in (self.far, ours, self.other, self.target):
            self.addCleanup(sock.close)
        self.sides = (Side(ours, "client", None), Side(self.target, "target", None))  # type: ignore[arg-type]

    def test_head(self) -> None:
        """It holds what was read before, until that is written."""
        direction = Direction(*self.sides, b"x")
        self.assertTrue(direction.holds())
        self.assertEqual((1, b"x", False), (direction.flush(), self.other.recv(2), direction.holds()))

    def test_restore(self) -> None:
        """It continues with the bytes, the count and the end of another."""
        direction = Direction(*self.sides, b"")
        direction.restore(b"xy", 5, True)
        self.assertEqual((b"xy", 5, True, True), (direction.held(), direction.moved, direction.eof, direction.holds()))
        self.assertEqual((2, b"xy", b""), (direction.flush(), self.other.recv(3), direction.held()))

    async def test_holds_no_more_than_a_read(self) -> None:
        """One call reads at most READ_BYTES."""
        direction = Direction(*self.sides, b"")
        await in_thread(self.far.sendall, bytes(2 * READ_BYTES))
        self.assertTrue(0 < direction.fill() <= READ_BYTES)

    def test_dry(self) -> None:
        """A read that did not fill the buffer has drained the source."""
        direction = Direction(*self.sides, b"")
        self.far.sendall(b"x")
        direction.fill()
        self.assertTrue(direction.dry)

    async def test_shared_room(self) -> None:
        """What found no room is a copy: reads of other directions do not change it."""
        direction = Direction(*self.sides, b"")
        # The kernel may make more room at any time.
        while not direction.holds():
            with self.assertRaises(BlockingIOError):
                while True:
                    self.target.send(bytes(READ_BYTES))
            await in_thread(self.far.sendall, b"first")
            direction.fill()
            with contextlib.suppress(BlockingIOError):
                direction.flush()
        ROOM[:5] = b"other"
        self.assertEqual(b"first", bytes(direction._head))

    async def test_rest(self) -> None:
        """Bytes read before the relay are written in parts, if there is room for a part only."""
        head = os.urandom(32 * READ_BYTES)
        direction = Direction(*self.sides, head)
        sent = direction.flush()
        self.assertTrue(0 < sent < len(head) and direction.holds())
        received = in_thread(read_exactly, self.other, len(head))
        while direction.holds():
            direction.flush_once()
            await in_thread(int)
        self.assertEqual(head, await received)

    async def test_flush_once(self) -> None:
        """At the end of the relay held bytes are written as far as possible; an error of the destination is ignored."""
        direction = Direction(*self.sides, b"last")
        direction.flush_once()
        self.assertEqual((4, b"last"), (direction.moved, await in_thread(read_exactly, self.other, 4)))
        direction.flush_once()  # nothing is held
        broken = Direction(*self.sides, b"lost")
        self.target.shutdown(socket.SHUT_WR)
        broken.flush_once()
        self.assertEqual(0, broken.moved)

    async def test_last_bytes(self) -> None:
        """What a source sent is passed on in a number of reads, up to its end, an error, or no more bytes."""
        direction = Direction(*self.sides, b"head ")
        await in_thread(self.far.sendall, b"alert")
        direction.pass_last_bytes(9)
        self.assertEqual(b"head alert", await in_thread(read_exactly, self.other, 10))
        self.assertEqual(10, direction.moved)
        self.far.close()
        direction.pass_last_bytes(9)
        direction.eof = True
        direction.pass_last_bytes(9)
        self.assertEqual(10, direction.moved)

    def test_blocked(self) -> None:
        """What a blocked direction holds counts in the account of its relay, until it is released."""
        relay = Relays()
        for side in self.sides:
            side.relay = relay
        direction = Direction(*self.sides, b"waits")
        direction.block()
        direction.block()
        self.assertEqual((True, 5), (direction.blocked, relay.account.bytes))
        direction.release()
        self.assertEqual((False, 0), (direction.blocked, relay.account.bytes))
        Direction(*self.sides, b"").unblock()

    async def test_finish(self) -> None:
        """The end of the source is passed on."""
        Direction(*self.sides, b"").finish()
        self.assertEqual(b"", await in_thread(read_to_end, self.other))

    async def test_tls(self) -> None:
        """Plaintext crosses between two TLS connections; a source that is cut, cuts the destination."""
        for cut in (True, False):
            client, ours_client = tls_pair(0, "client")
            target, ours_target = tls_pair(0, "target")
            sides = (Side(ours_client, "client", Relays()), Side(ours_target, "target", Relays()))
            for sock in (client, ours_client, target, ours_target):
                self.addCleanup(sock.close)
            direction = Direction(*sides, b"")
            await in_thread(client.sendall, b"secret")
            self.assertEqual((6, False), (direction.fill(), direction.eof))
            direction.flush()
            self.assertEqual(b"secret", await in_thread(read_exactly, target, 6))
            if cut:
                socket.socket.shutdown(client, socket.SHUT_WR)
            else:
                client.shutdown(socket.SHUT_WR)
            self.assertEqual((0, True), (direction.fill(), direction.eof))
            direction.finish()
            self.assertEqual(b"", await in_thread(read_to_end, target))
            self.assertEqual(cut, target.cut)  # type: ignore[attr-defined]


class Relays:
    """A relay that records what its sides report."""

    def __init__(self) -> None:
        self.account = BufferAccount()
        self.pumped: list[Direction] = []
        self.broken: list[tuple[Side, int | None]] = []

    def pump(self, direction: Direction) -> None:
        self.pumped.append(direction)

    def lost(self, side: Side, error: OSError) -> None:
        self.broken.append((side, error.errno))


class SideTests(TestCase):
    """What a side reports to its relay."""

    def setUp(self) -> None:
        self.far, ours = connected()
        self.addCleanup(self.far.close)
        self.addCleanup(ours.close)
        self.relay = Relays()
        self.side = Side(ours, "client", self.relay)
        nowhere: Any = None
        self.side.inbound, self.side.outbound = Direction(self.side, nowhere, b""), Direction(nowhere, self.side, b"")

    def test_ready(self) -> None:
        """A readable side pumps its inbound direction, a writable one the outbound direction."""
        self.side.doRead()
        self.side.doWrite()
        self.assertEqual([self.side.inbound, self.side.outbound], self.relay.pumped)

    def test_reset_of_a_side_that_is_not_read(self) -> None:
        """A reset is reported where the side is not read, because it is blocked or has ended."""
        reset(self.far)
        self.side.peer_left(True)  # the side is read: its read finds the reset
        self.side.inbound.ended = True
        self.side.peer_left(False)
        self.assertEqual([], self.relay.broken)
        self.side.peer_left(True)
        self.assertEqual([(self.side, errno.ECONNRESET)], self.relay.broken)

    def test_lost(self) -> None:
        """What the reactor loses, the relay loses."""
        self.side.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([(self.side, errno.ECONNRESET)], self.relay.broken)
