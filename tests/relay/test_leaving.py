"""Clients that leave before their tunnel is open."""

from __future__ import annotations

import socket
from unittest.mock import patch

from twisted.internet.task import deferLater

from sniproxy.relay import poller
from sniproxy.relay.leaving import CLOSED, ClientWatch
from sniproxy.relay.poller import ReactorPoller, edge_poller_of
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, reset


class LeavingCase(SocketTestCase):
    """Helpers."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.far, self.ours = connected()
        self.addCleanup(self.far.close)
        self.addCleanup(self.ours.close)
        self.reasons: list[str] = []

    def watch(self, half_close: bool = False) -> ClientWatch:
        found = ClientWatch(reactor, self.ours, half_close, self.reasons.append)
        self.addCleanup(found.stop)
        return found

    async def told(self, reason: str) -> None:
        while not self.reasons:
            await deferLater(reactor, 0)
        self.assertEqual([reason], self.reasons)

    async def rounds(self) -> None:
        """What the kernel has to say comes in these rounds of the reactor."""
        for _ in range(5):
            await deferLater(reactor, 0)


class LeavingTests(LeavingCase):
    """By the relays' set."""

    if not poller.available:
        skip = "this system has no epoll"

    async def test_end(self) -> None:
        """A FIN is reported, also one that was there before."""
        self.watch()
        self.far.close()
        await self.told(CLOSED)
        self.reasons.clear()
        self.watch()
        self.assertEqual([], self.reasons)
        await self.told(CLOSED)

    async def test_reset(self) -> None:
        """A reset is reported with the system's text."""
        self.watch(half_close=True)
        self.far.send(b"early data")
        reset(self.far)
        await self.told("Connection reset by peer")

    async def test_unread(self) -> None:
        """Bytes are no end, and stay unread; a FIN behind them is one."""
        found = self.watch()
        self.far.send(b"early data")
        await self.rounds()
        self.assertEqual([], self.reasons)
        self.far.shutdown(socket.SHUT_WR)
        await self.told(CLOSED)
        found.stop()
        self.assertEqual(b"early data", self.ours.recv(100))

    async def test_half_close(self) -> None:
        """A client that may half-close has not left while its bytes are unread; a later reset is reported."""
        self.watch(half_close=True)
        self.far.send(b"a request")
        self.far.shutdown(socket.SHUT_WR)
        await self.rounds()
        self.assertEqual([], self.reasons)
        reset(self.far)
        await self.told("Connection reset by peer")

    async def test_half_close_of_nothing(self) -> None:
        """A client that ends its side without unread bytes has left."""
        self.watch(half_close=True)
        self.far.shutdown(socket.SHUT_WR)
        await self.told(CLOSED)

    async def test_unix(self) -> None:
        """The peer of a unix socket that closes has left, whatever it sent."""
        far, ours = socket.socketpair()
        self.addCleanup(ours.close)
        found = ClientWatch(reactor, ours, True, self.reasons.append)
        self.addCleanup(found.stop)
        far.send(b"x")
        far.close()
        await self.told(CLOSED)

    async def test_stopped(self) -> None:
        """Nothing is reported after the stop, and the socket can be watched by others."""
        found = self.watch()
        found.stop()
        found.stop()
        again = self.watch()
        again.stop()
        self.far.close()
        await self.rounds()
        self.assertEqual([], self.reasons)

    async def test_no_room(self) -> None:
        """Where the system cannot watch one more socket, the client is not watched."""
        with patch.object(poller.EdgePoller, "watch_end", side_effect=OSError(28, "No space left on device")):
            self.watch().stop()
        self.assertEqual([], self.reasons)


class WithoutEpollTests(LeavingCase):
    """By the reactor itself, which does not see a FIN behind unread bytes."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.patch(poller, "poller_of", ReactorPoller)

    async def test_end(self) -> None:
        """A FIN that no byte precedes is reported."""
        self.watch()
        self.far.close()
        await self.told(CLOSED)

    async def test_unread(self) -> None:
        """Unread bytes end the watch: the reactor would report them in each round."""
        found = self.watch()
        self.far.send(b"early data")
        await self.rounds()
        self.assertNotIn(found, reactor.getReaders())
        self.assertEqual([], self.reasons)


class SetTests(SocketTestCase):
    """The set that the watch uses."""

    async def test_closes(self) -> None:
        """The set is closed when the last client is released."""
        far, ours = connected()
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        ClientWatch(reactor, ours, False, lambda why: None).stop()
        self.assertEqual(-1, edge_poller_of(reactor).fileno())

    if not poller.available:
        skip = "this system has no epoll"
