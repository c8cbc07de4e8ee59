"""Moving bytes by recv and send."""

from __future__ import annotations

from sniproxy.relay.copy import READ_BYTES, ROOM, CopyDirection
from sniproxy.relay.direction import Side
from tests.relay import deadlinecontract, pythonrelay
from tests.support.sockets import connected, in_thread


class CopyTests(pythonrelay.PythonRelayContract, deadlinecontract.DeadlineContract, deadlinecontract.NotifiedContract):
    """The relay's contract by copying."""

    async def test_holds_no_more_than_a_read(self) -> None:
        """One call reads at most READ_BYTES."""
        far, ours = connected(4 * READ_BYTES)
        other, target = connected()
        direction = CopyDirection(Side(ours, "client", None), Side(target, "target", None), b"")  # type: ignore[arg-type]
        await in_thread(far.sendall, bytes(2 * READ_BYTES))
        self.assertTrue(0 < direction.fill() <= READ_BYTES)
        for sock in (far, ours, other, target):
            sock.close()

    async def test_shared_room(self) -> None:
        """What found no room is a copy: reads of other directions do not change it."""
        far, ours = connected()
        other, target = connected()
        direction = CopyDirection(Side(ours, "client", None), Side(target, "target", None), b"")  # type: ignore[arg-type]
        with self.assertRaises(BlockingIOError):
            while True:
                target.send(bytes(READ_BYTES))
        await in_thread(far.sendall, b"first")
        direction.fill()
        self.assertRaises(BlockingIOError, direction.flush)
        ROOM[:5] = b"other"
        self.assertEqual(b"first", bytes(direction._head))
        for sock in (far, ours, other, target):
            sock.close()
