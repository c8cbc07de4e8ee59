"""Moving bytes by splice."""

from __future__ import annotations

import errno
import os
from typing import Any

from sniproxy.relay import poller, splice
from sniproxy.relay.copy import ROOM
from sniproxy.relay.direction import Side
from sniproxy.relay.splice import SpliceDirection
from tests.relay import deadlinecontract, pythonrelay
from tests.relay.relaycontract import MEBI
from tests.support.sockets import connected, in_thread, links, opened_since, read_exactly, reset


class SpliceTests(pythonrelay.PythonRelayContract, deadlinecontract.NotifiedContract):
    """The relay's contract by splice."""

    way = SpliceDirection
    if not splice.available:
        skip = "this system has no os.splice (Linux, Python 3.10)"

    async def test_idle_tunnels_hold_no_pipe(self) -> None:
        """After bytes have crossed, the pipe is back among the spare ones; small messages need none."""
        for _ in range(3):
            splice.close_spare_pipes()
            tunnel = self.tunnel()
            tunnel.client.sendall(b"x")
            await in_thread(read_exactly, tunnel.upstream, 1)
            self.assertEqual(0, len(splice._spare))  # a small message needs none
            for _ in range(2):
                sending = in_thread(tunnel.client.sendall, bytes(4 * MEBI))
                await in_thread(read_exactly, tunnel.upstream, 4 * MEBI)
                await sending
            relay: Any = tunnel.relay
            self.assertTrue(relay._up.spliced)
            self.assertEqual(1, len(splice._spare))
            tunnel.close()
            await tunnel.done

    async def test_out_of_descriptors(self) -> None:
        """Without a descriptor for a pipe the bytes are copied."""
        splice.close_spare_pipes()

        def none_left(flags: int) -> tuple[int, int]:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(os, "pipe2", none_left)
        tunnel = self.tunnel()
        tunnel.client.sendall(bytes(100_000))
        self.assertEqual(bytes(100_000), await in_thread(read_exactly, tunnel.upstream, 100_000))
        tunnel.close()
        await tunnel.done

    async def test_short_way(self) -> None:
        """A small message takes one read and one write; an end, much at once and what finds no room are left over."""
        far, ours = connected()
        other, target = connected()
        for sock in (far, ours, other, target):
            self.addCleanup(sock.close)
        direction = SpliceDirection(Side(ours, "client", None), Side(target, "target", None), b"")  # type: ignore[arg-type]
        far.sendall(b"small")
        self.assertFalse(direction.hand_on())  # it is not known to be dry
        direction.dry = True
        self.assertTrue(direction.hand_on())
        self.assertEqual((b"small", 5, True), (other.recv(9), direction.moved, direction.dry))
        self.assertRaises(BlockingIOError, direction.hand_on)
        self.assertFalse(direction.holds())  # so it was the read
        with self.assertRaises(BlockingIOError):
            while True:
                target.send(bytes(splice.BULK_BYTES))
        far.sendall(b"first")
        self.assertRaises(BlockingIOError, direction.hand_on)
        ROOM[:5] = b"other"
        self.assertEqual(b"first", bytes(direction._head))
        direction._head = b""
        far.close()
        self.assertFalse(direction.hand_on())
        self.assertTrue(direction.eof)

    async def test_short_way_resets(self) -> None:
        """A reset on the short path, reading or writing, is reported for that side."""
        for side in ("client", "target"):
            tunnel = self.tunnel()
            tunnel.client.sendall(b"x")
            await in_thread(read_exactly, tunnel.upstream, 1)
            reset(tunnel.client if side == "client" else tunnel.upstream)
            if side == "target":
                tunnel.client.sendall(b"x")
            relay: Any = tunnel.relay
            relay._client.ready(poller.IN)
            ending = await tunnel.done
            self.assertEqual(f"the {side}'s connection was reset", ending.reason)
            tunnel.close()

    async def test_few_spare_pipes(self) -> None:
        """No more pipes are kept than a bound, and closing them closes all."""
        before = links()
        pipes = [splice._take_pipe() for _ in range(splice._KEPT + 3)]
        for pipe in pipes:
            direction = SpliceDirection(None, None, b"")  # type: ignore[arg-type]
            direction._pipe = pipe
            direction.release()
        self.assertEqual(splice._KEPT, len(splice._spare))
        splice.close_spare_pipes()
        self.assertEqual(opened_since(before), {})
