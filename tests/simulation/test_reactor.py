"""Tests for the simulated reactor: calls in order, descriptors as Twisted's epoll reactor treats them."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.descriptor import SocketDescriptor
from tests.simulation.faults import Faults
from tests.simulation.kernel import End, Kernel
from tests.simulation.reactor import SimulatedReactor, Stuck
from tests.simulation.sockets import SimulatedSocket


class Seen(SocketDescriptor):
    """Tells what the reactor calls. @param reads: it empties its socket."""

    def __init__(self, sock: SimulatedSocket, seen: list[str], reads: bool = True) -> None:
        super().__init__(sock)
        self._seen = seen
        self._reads = reads

    def doRead(self) -> None:
        self._seen.append(f"read {self.sock.recv(100)!r}" if self._reads else "read")

    def doWrite(self) -> None:
        self._seen.append("write")

    def connectionLost(self, reason: Failure) -> None:
        self._seen.append("lost")


class SimulatedReactorTests(SynchronousTestCase):
    """L{SimulatedReactor}."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor(Random(1))
        self.reactor.kernel = Kernel(self.reactor.later, self.reactor.seconds, Faults((), self.reactor.seconds), "test")
        SimulatedSocket.kernel = self.reactor.kernel
        self.seen: list[str] = []

    def pair(self) -> tuple[SimulatedSocket, End]:
        kernel = self.reactor.kernel
        one, other = kernel.pair("pair", ("10.0.0.1", 1), ("10.0.0.1", 2))
        kernel.settle(one, 0)
        return SimulatedSocket(fileno=kernel.open(one)), other

    def run_for(self, seconds: float) -> None:
        self.reactor.run(self.reactor.seconds() + seconds, lambda: False)

    def test_calls(self) -> None:
        """Calls are made at their time, in order, unless they are cancelled. The clock steps from one to the next."""
        began = self.reactor.seconds()
        at: list[tuple[str, float]] = []

        def note(name: str) -> None:
            at.append((name, self.reactor.seconds() - began))

        self.reactor.callLater(2.0, note, "second")
        first = self.reactor.callLater(1.0, note, "first")
        never = self.reactor.callLater(1.5, note, "never")
        never.cancel()
        self.assertRaises(AlreadyCancelled, never.cancel)
        self.run_for(5.0)
        self.assertEqual([("first", 1.0), ("second", 2.0)], at)
        self.assertRaises(AlreadyCalled, first.cancel)
        self.assertEqual(5.0, self.reactor.seconds() - began)
        self.assertEqual([], self.reactor.pending_calls())

    def test_descriptors(self) -> None:
        """A reader gets bytes, a writer room. A loss that nothing reads is reported by C{connectionLost}."""
        sock, peer = self.pair()
        one = Seen(sock, self.seen)
        self.reactor.addReader(one)
        peer.send(b"bytes")
        self.run_for(1.0)
        self.assertEqual(["read b'bytes'"], self.seen)
        self.reactor.removeReader(one)
        self.reactor.addWriter(one)
        peer.reset()
        self.reactor.later(0.5, lambda: self.reactor.removeWriter(one))
        self.assertRaises(Stuck, self.run_for, 0.2)  # a writer that stays is always ready
        self.reactor.removeWriter(one)
        self.run_for(1.0)
        self.seen.clear()
        self.reactor.addWriter(one)
        self.run_for(1.0)
        self.assertEqual(["lost"], self.seen)

    def test_exception(self) -> None:
        """An exception in a descriptor is logged, and its connection is lost."""
        sock, peer = self.pair()
        one: Any = Seen(sock, self.seen)
        sock.close()
        self.assertRaises(OSError, self.reactor.addReader, one)
        sock, peer = self.pair()
        broken: Any = Seen(sock, self.seen)
        broken.sock = None
        self.reactor.addReader(broken)
        peer.send(b"x")
        self.run_for(1.0)
        self.assertEqual(["lost"], self.seen)
        self.assertEqual(1, len(self.flushLoggedErrors(AttributeError)))

    def test_closed_descriptor(self) -> None:
        """A descriptor that is closed while it is in the reactor is an error, as it would be in a real program."""
        sock, _ = self.pair()
        self.reactor.addReader(Seen(sock, self.seen))
        sock.close()
        self.assertRaises(Stuck, self.run_for, 1.0)

    def test_loop(self) -> None:
        """A reader that does not read makes a loop, which is found."""
        sock, peer = self.pair()
        self.reactor.addReader(Seen(sock, self.seen, reads=False))
        peer.send(b"x")
        self.assertRaises(Stuck, self.run_for, 1.0)
