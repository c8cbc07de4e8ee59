"""Clients that leave before their tunnel is open."""

from __future__ import annotations

import errno
import os
import select
import socket
from unittest.mock import patch

from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor
from sniproxy.relay.leaving import CLOSED, ClientWatch, EndWatch, end_watch_of
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, links, opened_since, reset


class LeavingTests(SocketTestCase):
    """ClientWatch."""

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
        end_watch_of(reactor).keep_open()
        self.addCleanup(end_watch_of(reactor).allow_close)
        found = self.watch()
        found.stop()
        found.stop()
        again = self.watch()
        again.stop()
        self.far.close()
        await self.rounds()
        self.assertEqual([], self.reasons)
        self.watch()
        await self.told(CLOSED)

    async def test_no_room(self) -> None:
        """Where the system cannot watch one more socket, the client is not watched."""

        def full(fd: int, events: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with patch.object(select, "epoll") as epoll:
            epoll.return_value.fileno.return_value = self.far.fileno()
            epoll.return_value.register = full
            self.watch().stop()
        self.assertTrue(epoll.return_value.close.called)
        self.assertEqual([], self.reasons)


class Peer(SocketDescriptor):
    """Keeps what it is told, and fails if the test says so."""

    def __init__(self, sock: socket.socket, fails: tuple[str, ...] = ()) -> None:
        super().__init__(sock)
        self.fails = fails
        self.told: list[object] = []

    def peer_left(self, broken: bool) -> None:
        self.told.append(broken)
        if "peer_left" in self.fails:
            raise KeyError

    def connectionLost(self, reason: Failure) -> None:
        self.told.append(reason.type)
        if "connectionLost" in self.fails:
            raise IndexError


class EndWatchTests(SocketTestCase):
    """The set of sockets that are not read."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.ends = EndWatch(reactor)

    def peer(self, *fails: str) -> tuple[socket.socket, Peer]:
        far, ours = connected()
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        peer = Peer(ours, fails)
        self.ends.watch(peer, fin=True)
        self.addCleanup(self.ends.unwatch, peer)
        return far, peer

    async def told(self, peer: Peer, *what: object) -> None:
        while len(peer.told) < len(what):
            await deferLater(reactor, 0)
        self.assertEqual([*what], peer.told)

    async def test_once(self) -> None:
        """An end is reported once, however long the socket is watched, and again after it is watched anew."""
        far, peer = self.peer()
        far.send(b"unread")
        far.shutdown(socket.SHUT_WR)
        await self.told(peer, False)
        for _ in range(5):
            self.ends.doRead()
        self.ends.watch(peer, fin=True)
        await self.told(peer, False, False)
        reset(far)
        await self.told(peer, False, False, True)

    async def test_loss(self) -> None:
        """Unless a FIN is asked for, only a loss is reported, also one that was there before."""
        far, peer = self.peer()
        self.ends.watch(peer)
        far.shutdown(socket.SHUT_WR)
        for _ in range(5):
            await deferLater(reactor, 0)
        self.assertEqual([], peer.told)
        reset(far)
        await self.told(peer, True)
        self.ends.watch(peer)
        await self.told(peer, True, True)

    async def test_fault(self) -> None:
        """An exception, even in how a socket is ended, reaches neither the others nor the reactor."""
        (far, peer), (other_far, other), (third_far, third) = self.peer("peer_left"), self.peer(), self.peer()
        peer.fails += ("connectionLost",)
        for sock in (far, other_far, third_far):
            sock.shutdown(socket.SHUT_WR)
        await self.told(peer, False, KeyError)
        await self.told(other, False)
        await self.told(third, False)
        self.assertEqual([KeyError, IndexError], [each.type for each in self.flushLoggedErrors()])

    async def test_unwatched_in_the_round(self) -> None:
        """A socket that an earlier event of a round has ended gets no event of this round."""
        (far, peer), (other_far, other) = self.peer(), self.peer()
        for one, another in ((peer, other), (other, peer)):
            one.peer_left = lambda broken, one=one, another=another: (one.told.append(1), self.ends.unwatch(another))  # type: ignore
        far.shutdown(socket.SHUT_WR)
        other_far.shutdown(socket.SHUT_WR)
        self.ends.doRead()
        self.assertEqual([1], peer.told + other.told)

    async def test_descriptor(self) -> None:
        """The set is open while something is in it or somebody holds it."""
        before = links()
        self.ends.keep_open()
        self.assertNotEqual(before, links())
        self.ends.allow_close()
        self.assertEqual(opened_since(before), {})
        _, peer = self.peer()
        self.ends.unwatch(peer)
        self.ends.unwatch(peer)
        self.assertEqual(-1, self.ends.fileno())

    async def test_not_in_the_reactor(self) -> None:
        """Where the reactor cannot take the set, nothing is left open."""

        def full(reader: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        before = links()
        self.patch(reactor, "addReader", full)
        self.assertRaises(OSError, self.ends.keep_open)
        self.assertEqual(opened_since(before), {})

    async def test_reactor_ends(self) -> None:
        """When the reactor stops, all sockets are told."""
        _, peer = self.peer()
        self.ends.connectionLost(Failure(ConnectionError()))
        self.assertEqual([ConnectionError], peer.told)
