"""One direction of a relay."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from sniproxy.relay.direction import READ_BYTES, ROOM, Direction, Side
from tests.support.sockets import connected, in_thread


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
        with self.assertRaises(BlockingIOError):
            while True:
                self.target.send(bytes(READ_BYTES))
        await in_thread(self.far.sendall, b"first")
        direction.fill()
        self.assertRaises(BlockingIOError, direction.flush)
        ROOM[:5] = b"other"
        self.assertEqual(b"first", bytes(direction._head))
