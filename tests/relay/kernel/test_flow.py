"""One direction of a kernel relay: socket measurements, windows, and when held bytes may be sent."""

from __future__ import annotations

import socket

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from sniproxy.relay.kernel.flow import MIN_WINDOW_BYTES, Flow, KernelSide, bytes_written, send_room
from sniproxy.relay.kernel.sockmap import SocketPair
from tests.relay.kernel.support import sockmap
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, in_thread, read_exactly


class Nobody:
    """A relay that must not be called."""

    def pump(self, flow: Flow) -> None:
        raise AssertionError("nothing is pumped")

    def lost(self, side: KernelSide, error: OSError) -> None:
        raise AssertionError("nothing is lost")


class MeasureTests(SocketTestCase):
    """Measurements of sockets."""

    async def test_written(self) -> None:
        """All accepted bytes count, whether the peer has acknowledged them or not."""
        theirs, ours = connected(65536)
        before = bytes_written(ours)
        while True:
            try:
                ours.send(bytes(65536))
            except BlockingIOError:
                break
        taken = bytes_written(ours) - before
        self.assertGreater(taken, 65536)
        self.assertEqual(taken, len(await in_thread(read_exactly, theirs, taken)))
        while bytes_written(ours) - before != taken:  # an acknowledgement can come between the two measures
            await deferLater(reactor, 0)
        theirs.close()
        ours.close()

    async def test_room(self) -> None:
        """A socket whose peer does not read runs out of room."""
        theirs, ours = connected(65536)
        self.assertGreater(send_room(ours), MIN_WINDOW_BYTES)
        while True:
            try:
                ours.send(bytes(65536))
            except BlockingIOError:
                break
        self.assertLess(send_room(ours), MIN_WINDOW_BYTES)
        theirs.close()
        ours.close()


class FlowTests(SocketTestCase):
    """A flow from a client to a target."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        sockmap()
        await super().setUp()
        self.client, ours = connected()
        self.target, other = connected()
        pair = sockmap().add(ours, other)
        assert pair is not None
        self.joined: SocketPair = pair
        self.flow = Flow(
            KernelSide(ours, "client", Nobody()), KernelSide(other, "target", Nobody()), pair.client, b"head"
        )
        for sock in (self.client, self.target, ours, other):
            self.addCleanup(sock.close)
        self.addCleanup(sockmap().remove, pair)

    def soon(self) -> Deferred[object]:
        return deferLater(reactor, 0)

    async def filled(self) -> int:
        while True:
            try:
                return self.flow.fill()
            except BlockingIOError:
                await self.soon()

    async def test_counts(self) -> None:
        """The head, redirected bytes and sent bytes count as moved; the final count is the socket's."""
        flow = self.flow
        self.assertTrue(flow.all_written())
        flow.flush()
        flow.open_window()
        self.client.sendall(b"redirected")
        await in_thread(read_exactly, self.target, 14)
        flow.row.open_window(0)
        self.client.sendall(b"passed")
        self.assertEqual(6, await self.filled())
        self.assertFalse(flow.has_unread)
        while not flow.all_written():
            await self.soon()
        flow.flush()
        self.assertEqual(b"passed", await in_thread(read_exactly, self.target, 6))
        self.assertEqual((20, 10, 6), (flow.moved, flow.row.redirected, flow.row.passed))
        flow.freeze()
        flow.row.clear()
        self.assertEqual(20, flow.moved)

    async def test_not_before_the_kernel_has_written(self) -> None:
        """A flow is not all written until the destination has written redirected bytes; a FIN does not hide bytes."""
        flow = self.flow
        flow.flush()
        flow.row._cells[flow.row.slot * 8] = 3  # the kernel says that it is writing these
        self.assertFalse(flow.all_written())
        flow.row._cells[flow.row.slot * 8 + 1] = 5  # and that it has passed these
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(0, await self.filled())
        self.assertTrue(flow.has_unread)
        flow.freeze()
        self.assertEqual(4, flow.moved)

    async def test_what_is_held_is_kept(self) -> None:
        """Held bytes survive another flow's read into the shared buffer."""
        flow = self.flow
        flow.flush()
        flow.row._cells[flow.row.slot * 8] = 3
        self.client.sendall(b"mine")
        await self.filled()
        self.target.sendall(b"others")
        other = Flow(flow.target, flow.source, self.joined.target, b"")
        while not other.held:
            try:
                other.fill()
            except BlockingIOError:
                await self.soon()
        self.assertEqual(b"mine", bytes(flow.held))

    def test_the_old_window_goes_on(self) -> None:
        """Until the destination has written redirected bytes, the old window stays."""
        flow = self.flow
        flow.flush()
        self.assertTrue(flow.open_window())
        cells, first = flow.row._cells, flow.row.slot * 8
        before = cells[first + 3]
        cells[first], cells[first + 2] = 3, 2051  # the kernel says that it is writing these
        self.assertTrue(flow.open_window())
        self.assertEqual(before, cells[first + 3])
        cells[first] = 0
        self.assertTrue(flow.open_window())
        self.assertEqual(before + 2051, cells[first + 3])

    def test_outside(self) -> None:
        """A socket outside the map gets no notifications, so its flow has no window."""
        flow = self.flow
        flow.flush()
        flow.row = attrs.evolve(flow.row, attached=False)
        self.assertFalse(flow.open_window())

    def test_no_room_no_window(self) -> None:
        """Without room at the destination no window is opened."""
        flow = self.flow
        flow.target.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.assertFalse(flow.open_window())
        self.assertEqual(0, flow.row._cells[flow.row.slot * 8 + 3])
