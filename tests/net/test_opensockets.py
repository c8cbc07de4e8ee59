"""Tests for sniproxy.net.opensockets."""

from __future__ import annotations

import errno
import select
import socket
from unittest import TestCase

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from sniproxy.net.closer import LingeringCloser
from sniproxy.net.opensockets import MAX_SOCKETS, AttemptSockets, Connecting, DialSockets
from sniproxy.net.overlapping import MIN_ATTEMPT_S
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase


class OpenSocketsTests(TestCase):
    """Sockets of one dial."""

    def setUp(self) -> None:
        self.held = 0
        self.dial = DialSockets(self.hold)

    def hold(self, change: int) -> None:
        self.held += change

    def test_beyond_the_first(self) -> None:
        """All sockets but the first count, over all targets."""
        one: AttemptSockets[int] = AttemptSockets(self.dial)
        other: AttemptSockets[int] = AttemptSockets(self.dial)
        for number, held in enumerate((0, 1, 2)):
            one.add(number, 0.0)
            self.assertEqual(held, self.held)
        other.add(9, 0.0)
        self.assertEqual((3, 3, 1), (self.held, len(one), len(other)))
        for number in one:
            one.discard(number)
            one.discard(number)
        self.assertEqual((0, 1), (self.held, self.dial.count))
        other.discard(9)
        self.assertEqual((0, 0), (self.held, self.dial.count))

    def test_full(self) -> None:
        """At the limit, a target without a socket may open one: the oldest socket is closed after its minimum time."""
        one: AttemptSockets[int] = AttemptSockets(self.dial)
        for number in range(MAX_SOCKETS):
            self.assertFalse(one.full)
            one.add(number, number / 10)
        self.assertTrue(one.full)
        self.assertFalse(AttemptSockets(self.dial).full)
        self.assertIsNone(one.oldest(MIN_ATTEMPT_S - 0.01))
        self.assertEqual(0, one.oldest(MIN_ATTEMPT_S))
        self.assertIn(0, one)


class ConnectingTests(SocketTestCase):
    """Connecting: one socket from connect_ex to its outcome."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.outcome: list[object] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        self.closer = LingeringCloser(reactor)
        self.addCleanup(self.closer.settled)

    def connecting(self, address: tuple[str, int]) -> tuple[Connecting, int]:
        sock = socket.socket()
        sock.setblocking(False)
        self.addCleanup(sock.close)
        number = sock.connect_ex(address)
        one = Connecting(reactor, self.closer, sock, self.outcome.append, self.outcome.append, "192.0.2.1:1")
        return one, number

    def test_connected(self) -> None:
        """A socket that connects at once, or when the reactor reports it, goes to the caller, open."""
        for number in (0, errno.EINPROGRESS):
            one, _ = self.connecting(self.listening.getsockname())
            one.begin(number)
            if number:
                self.assertEqual([], self.outcome)
                self.assertIn(one, reactor.getWriters())
                select.select([], [one.sock], [], TIMEOUT_S)
                one.doWrite()
            self.assertEqual([one.sock], self.outcome)
            self.outcome.clear()
            self.assertNotIn(one, reactor.getWriters())

    def test_refused(self) -> None:
        """A refused socket is closed, and the system's error goes to the caller; a hang-up is the same."""
        one, _ = self.connecting(("127.0.0.1", 1))
        one.begin(errno.ECONNREFUSED)
        other, _ = self.connecting(("127.0.0.1", 1))
        reactor.addWriter(other)
        other.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([errno.ECONNREFUSED] * 2, self.outcome)
        self.assertEqual(2, len(self.closer))
        self.assertNotIn(other, reactor.getWriters())

    def test_give_up(self) -> None:
        """A socket that is given up is closed, without an outcome."""
        one, _ = self.connecting(self.listening.getsockname())
        one.begin(errno.EINPROGRESS)
        one.give_up()
        self.assertEqual(([], 1), (self.outcome, len(self.closer)))
        self.assertNotIn(one, reactor.getWriters())
