"""The reactor of the self-test."""

from __future__ import annotations

import socket

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.descriptor import SocketDescriptor
from sniproxy.relay.kernel.loop import Loop


class Told(SocketDescriptor):
    """Records its calls."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.told: list[str] = []

    def doRead(self) -> None:
        self.told.append("read")

    def doWrite(self) -> None:
        self.told.append("write")

    def connectionLost(self, reason: Failure) -> None:
        self.told.append("lost")


class LoopTests(SynchronousTestCase):
    """Loop."""

    def test_turn(self) -> None:
        """A round calls ready readers and writers, and due calls; removed ones are not called."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        loop, told = Loop(), Told(ours)
        loop.addReader(told)
        loop.addWriter(told)
        loop.callLater(0, told.told.append, "due")
        loop.run_once()
        theirs.sendall(b"x")
        loop.removeWriter(told)
        loop.run_once()
        loop.removeReader(told)
        loop.run_once()
        self.assertEqual(["write", "due", "read"], told.told)

    def test_hung_up(self) -> None:
        """A writer on a closed connection is called."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        theirs.close()
        loop, told = Loop(), Told(ours)
        loop.addWriter(told)
        loop.run_once()
        self.assertIn("lost", told.told)
