"""The map of sockets: which sockets it takes, and their counters."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.kernel import bpf
from sniproxy.relay.kernel.sockmap import SLOT_REUSE_DELAY_S, SocketMap, SocketPair
from tests.relay.kernel.support import sockmap
from tests.support.sockets import connected, links, opened_since, read_exactly


class GateTests(SynchronousTestCase):
    """A map for two tunnels."""

    def setUp(self) -> None:
        sockmap()
        self.clock = Clock()
        self.sockets = SocketMap(2, self.clock.seconds)
        self.addCleanup(self.sockets.close)

    def pair(self) -> tuple[socket.socket, ...]:
        sockets = (*connected(), *connected())
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def joined(self) -> tuple[SocketPair | None, tuple[socket.socket, ...]]:
        sockets = self.pair()
        return self.sockets.add(sockets[1], sockets[3]), sockets

    def test_full(self) -> None:
        """A full map refuses a tunnel; the slots of an ended tunnel are reused after a delay."""
        first, _ = self.joined()
        assert first is not None
        self.assertIsNotNone(self.joined()[0])
        self.assertIsNone(self.joined()[0])
        self.sockets.remove(first)
        self.assertIsNone(self.joined()[0])
        self.clock.advance(SLOT_REUSE_DELAY_S)
        again, _ = self.joined()
        assert again is not None
        self.assertEqual(first.client.slot, again.client.slot)

    def test_other_sockets(self) -> None:
        """Unix sockets and ended connections are refused, and use no slot."""
        _, ours, theirs, target = self.pair()
        for other in socket.socketpair():
            self.addCleanup(other.close)
            self.assertIsNone(self.sockets.add(ours, other))
            self.assertIsNone(self.sockets.add(other, target))
        theirs.close()
        self.assertIsNone(self.sockets.add(ours, target))

    def test_bytes_wait(self) -> None:
        """A socket with unread bytes is refused, because a segment may be partly read."""
        theirs, ours, _, target = self.pair()
        theirs.sendall(b"early")
        self.assertIsNone(self.sockets.add(ours, target))
        ours.setblocking(True)
        self.assertEqual(b"early", read_exactly(ours, 5))
        self.assertIsNotNone(self.sockets.add(ours, target))

    def test_the_client_is_refused(self) -> None:
        """If the kernel refuses the client's socket, the target's bytes are passed."""
        update: Callable[[int, bytes, bytes], None] = bpf.update

        def refuse(descriptor: int, key: bytes, value: bytes) -> None:
            if key == bytes(4) and len(key) == 4:
                raise OSError(95, "Operation not supported")
            update(descriptor, key, value)

        self.patch(bpf, "update", refuse)
        pair, (_, _, far, near) = self.joined()
        assert pair is not None
        self.assertEqual((0, False, True), (pair.client.slot, pair.client.attached, pair.target.attached))
        pair.target.open_window(1 << 20)
        far.sendall(b"answer")
        near.setblocking(True)
        self.assertEqual(b"answer", read_exactly(near, 6))
        self.assertEqual((0, 6), (pair.target.redirected, pair.target.passed))

    def test_forwards(self) -> None:
        """Bytes are redirected in an open window, and passed otherwise."""
        pair, (client, ours, target, _) = self.joined()
        assert pair is not None
        pair.client.open_window(1 << 20)
        client.sendall(b"question")
        self.assertEqual(b"question", read_exactly(target, 8))
        self.assertEqual((8, 0), (pair.client.redirected, pair.client.passed))
        pair.client.open_window(0)
        client.sendall(b"late")
        ours.setblocking(True)
        self.assertEqual(b"late", read_exactly(ours, 4))
        self.assertEqual((8, 4), (pair.client.redirected, pair.client.passed))

    def test_opened_before_all_is_forwarded(self) -> None:
        """Nothing is redirected until all passed bytes are sent on."""
        pair, (client, ours, target, _) = self.joined()
        assert pair is not None
        ours.setblocking(True)
        client.sendall(b"one")
        self.assertEqual(b"one", read_exactly(ours, 3))
        pair.client.open_window(1 << 20)
        client.sendall(b"two")
        self.assertEqual(b"two", read_exactly(ours, 3))
        pair.client.set_forwarded(6)
        client.sendall(b"three")
        self.assertEqual(b"three", read_exactly(target, 5))

    def test_close(self) -> None:
        """All descriptors are closed, also after a failure."""
        before = links()
        SocketMap(2).close()
        self.assertEqual(opened_since(before), {})

        def refused(code: bytes) -> int:
            raise PermissionError(1, os.strerror(1))

        self.patch(bpf, "load_program", refused)
        self.assertRaises(PermissionError, SocketMap, 2)
        self.assertEqual(opened_since(before), {})
