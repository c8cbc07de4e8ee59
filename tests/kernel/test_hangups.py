"""Connections that break while nobody reads them."""

from __future__ import annotations

import socket

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.kernel.hangups import Hangups
from sniproxy.net.descriptor import SocketDescriptor
from tests.net.support import SocketTestCase, connected, reset


class Listening(SocketDescriptor):
    """Tells when it is told."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure) -> None:
        self.lost.callback(None)


class HangupsTests(SocketTestCase):
    """Hangups on the real reactor."""

    async def test_reset(self) -> None:
        """Of those given, the one whose connection is reset is told, once; then nothing is left in the reactor."""
        hangups = Hangups(reactor)
        self.addCleanup(hangups.close)
        (theirs, ours), (others, other) = connected(), connected()
        for sock in (ours, others, other):
            self.addCleanup(sock.close)
        broken, whole = Listening(ours), Listening(other)
        for side in (broken, broken, whole):
            hangups.add(side)
        others.sendall(b"x")
        reset(theirs)
        await broken.lost
        self.assertFalse(whole.lost.called)
        hangups.remove(whole)
        hangups.remove(whole)

    async def test_both_have_ended(self) -> None:
        """A connection that both sides have ended in order is not broken."""
        hangups = Hangups(reactor)
        self.addCleanup(hangups.close)
        (theirs, ours), (last, marker) = connected(), connected()
        for sock in (ours, marker):
            self.addCleanup(sock.close)
        ended, after = Listening(ours), Listening(marker)
        hangups.add(ended)
        ours.shutdown(socket.SHUT_WR)
        theirs.close()
        hangups.add(after)
        reset(last)
        await after.lost
        self.assertFalse(ended.lost.called)
        hangups.remove(ended)
