"""The epoll of kernel relays: which side is called for which event."""

from __future__ import annotations

import socket

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.relay.kernel.flow import Flow, KernelSide
from sniproxy.relay.kernel.program import ACKNOWLEDGED
from sniproxy.relay.kernel.sockmap import SocketMap, SocketPair
from sniproxy.relay.kernel.watch import ReadyWatch
from tests.relay.kernel.support import sockmap
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, in_thread, read_exactly, reset


class Nobody:
    """A relay that must not be called."""

    def pump(self, flow: Flow) -> None:
        raise AssertionError("nothing is pumped")

    def lost(self, side: KernelSide, error: OSError) -> None:
        raise AssertionError("nothing is lost")


class Told(KernelSide):
    """Records its calls, and fires a Deferred at the first."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "client", Nobody())
        self.forget()
        self.fault: Exception | None = None

    def forget(self) -> None:
        self.told: list[str] = []
        self.first: Deferred[None] = Deferred()
        self.scheduled = False

    def _hear(self, what: str) -> None:
        self.told.append(what)
        if not self.scheduled:
            self.scheduled = True
            reactor.callLater(0, self.first.callback, None)
        if self.fault is not None:
            raise self.fault

    def doRead(self) -> None:
        self._hear("read")

    def doWrite(self) -> None:
        self._hear("write")

    def connectionLost(self, reason: Failure) -> None:
        self._hear("lost")


class WatchTests(SocketTestCase):
    """A watch on the real reactor, over the sockets of one tunnel."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        sockmap()
        await super().setUp()
        self.sockets = SocketMap(2)
        self.watch = ReadyWatch(reactor, self.sockets.ring)
        self.client, ours = connected()
        self.target, other = connected()
        joined = self.sockets.add(ours, other)
        assert joined is not None
        self.pair: SocketPair = joined
        self.side, self.other = Told(ours), Told(other)
        self.side.inbound = Flow(self.side, self.other, self.pair.client, b"")
        self.other.inbound = Flow(self.other, self.side, self.pair.target, b"")
        for side in (self.side, self.other):
            self.watch.add(side)
            self.deafen(side)
        for sock in (self.client, self.target, ours, other):
            self.addCleanup(sock.close)
        self.addCleanup(self.give_back)

    @staticmethod
    def deafen(side: KernelSide) -> None:
        """Suppress notifications, as if one were not acknowledged."""
        side.inbound.row._cells[side.inbound.row.slot * 8 + ACKNOWLEDGED] = 9

    def give_back(self) -> None:
        for side in (self.side, self.other):
            self.watch.remove(side)
            self.watch.remove(side)
        self.watch.close()
        self.sockets.remove(self.pair)
        self.sockets.close()

    async def test_bytes(self) -> None:
        """A side that reads is called for bytes; another one is not."""
        self.watch.watch_read(self.other, wanted=False)
        self.target.sendall(b"answer")
        self.client.sendall(b"question")
        await self.side.first
        self.assertEqual([], self.other.told)
        self.watch.watch_read(self.other, wanted=True)
        await self.other.first
        self.assertEqual("read", self.other.told[0])

    async def test_room(self) -> None:
        """A side that wants to write is called for room, until it no longer wants to."""
        self.watch.watch_read(self.side, wanted=False)
        self.watch.watch_write(self.side, wanted=True)
        await self.side.first
        self.watch.watch_write(self.side, wanted=False)
        told = list(self.side.told)
        self.target.sendall(b"later")
        await self.other.first
        self.assertEqual(("write", told), (told[0], self.side.told))

    async def test_resting(self) -> None:
        """A side that waits for its end is not called for redirected bytes, but for passed bytes and a FIN."""
        self.pair.client.acknowledge()
        self.watch.watch_end(self.side)
        self.pair.client.open_window(1 << 20)
        self.client.sendall(b"redirected")
        self.assertEqual(b"redirected", await in_thread(read_exactly, self.target, 10))
        self.target.sendall(b"marker")
        await self.other.first
        self.watch.watch_read(self.other, wanted=False)
        self.assertEqual([], self.side.told)
        self.pair.client.open_window(0)
        self.client.sendall(b"passed")
        await self.side.first
        self.assertEqual(["read"], self.side.told)
        self.side.forget()
        self.client.shutdown(socket.SHUT_WR)
        await self.side.first
        self.assertEqual(["read"], self.side.told)

    async def test_a_full_ring(self) -> None:
        """After a full ring all sides are called."""
        self.watch.watch_read(self.other, wanted=False)
        self.patch(self.sockets.ring, "read", lambda: ([], True))
        self.pair.client.acknowledge()
        self.client.sendall(b"passed")  # rings
        await self.other.first
        self.assertEqual("read", self.other.told[0])

    async def test_reset(self) -> None:
        """A reset is reported to a side that reads, that waits for its end, and that waits for nothing."""
        self.watch.watch_read(self.other, wanted=False)
        reset(self.target)
        await self.other.first
        self.watch.watch_end(self.side)
        reset(self.client)
        await self.side.first
        self.assertEqual((["lost"], ["lost"]), (self.other.told, self.side.told))

    async def test_both_have_ended(self) -> None:
        """A connection that both sides have closed is not broken, and is not reported repeatedly."""
        self.watch.watch_read(self.side, wanted=False)
        self.side.sock.shutdown(socket.SHUT_WR)
        self.client.close()
        self.target.sendall(b"marker")
        await self.other.first
        self.assertEqual([], self.side.told)

    async def test_a_fault(self) -> None:
        """A relay that fails is logged and ended, and others continue."""
        self.side.fault = ArithmeticError("a fault")
        self.client.sendall(b"x")
        await self.side.first
        self.assertEqual(["read", "lost"], self.side.told[:2])
        self.watch.remove(self.side)
        self.target.sendall(b"x")
        await self.other.first
        self.assertEqual(len(self.side.told), len(self.flushLoggedErrors(ArithmeticError)))
