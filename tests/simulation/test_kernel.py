"""Tests for the simulated kernel: it behaves as Linux does where the proxy could notice a difference."""

from __future__ import annotations

import errno
import os
import select
import socket
from functools import partial
from random import Random
from typing import Any
from unittest import SkipTest

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.faults import Fault, Faults
from tests.simulation.kernel import FIRST_DESCRIPTOR, End, Kernel, Listening
from tests.simulation.sockets import SimulatedEpoll, SimulatedSocket

ADDRESS = "10.0.0.1", 4443


class KernelCase(SynchronousTestCase):
    """A kernel on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.kernel = self.make()

    def make(self, *faults: Fault) -> Kernel:
        later: Any = self.clock.callLater
        kernel = Kernel(later, self.clock.seconds, Faults(faults, self.clock.seconds), "test")
        SimulatedSocket.kernel = kernel
        return kernel

    def pair(self) -> tuple[SimulatedSocket, End]:
        """A connected socket of the proxy, and its peer's end."""
        one, other = self.kernel.pair("pair", ADDRESS, ADDRESS)
        self.kernel.settle(one, 0)
        return SimulatedSocket(fileno=self.kernel.open(one)), other

    def settle(self) -> None:
        """Let all that travels arrive."""
        for _ in range(2000):
            self.clock.advance(0.05)

    def number_of(self, call: Any, *arguments: Any) -> int | None:
        try:
            call(*arguments)
        except OSError as error:
            return error.errno
        return None


class ConnectionTests(KernelCase):
    """Connections."""

    def test_bytes(self) -> None:
        """Bytes arrive in order, behind them the end, and the buffers are bounded."""
        sock, peer = self.pair()
        data = Random(1).randbytes(1_000_000)
        sent, got = 0, b""
        for _ in range(5000):
            try:
                sent += sock.send(data[sent:])
            except BlockingIOError:
                self.assertLessEqual(len(peer.inn.sent), peer.inn.room)
            self.clock.advance(0.01)
            while peer.events() & select.EPOLLIN and got != data:
                got += peer.recv(5000)
        self.assertEqual(data, got)
        sock.shutdown(socket.SHUT_WR)
        self.settle()
        self.assertEqual(b"", peer.recv(1))
        self.assertEqual(errno.EPIPE, self.number_of(sock.send, b"x"))

    def test_unread_bytes_reset(self) -> None:
        """A close with unread bytes is a reset: behind what arrived before comes the error, then the end."""
        sock, peer = self.pair()
        peer.send(b"unread")
        sock.send(b"last")
        self.settle()
        sock.close()
        self.settle()
        self.assertEqual(b"last", peer.recv(10))
        self.assertEqual(errno.ECONNRESET, self.number_of(peer.recv, 10))
        self.assertEqual(b"", peer.recv(10))
        self.assertEqual(errno.EPIPE, self.number_of(peer.send, b"x"))

    def test_same_as_linux(self) -> None:
        """A real connection shows the same errors and events as the simulated one, for resets behind bytes and ends."""
        if not hasattr(select, "epoll"):
            raise SkipTest("epoll is Linux's")
        for ends in (False, True):
            sock, peer = self.pair()
            simulated = self._reset_behind(sock, lambda peer=peer: _abort(peer), peer.send, peer.shutdown, ends)
            with socket.create_server(("127.0.0.1", 0)) as server:
                real = socket.create_connection(server.getsockname())
                other, _ = server.accept()
            self.addCleanup(real.close)
            real.setblocking(False)

            def abort(other: socket.socket = other) -> None:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                other.close()

            linux = self._reset_behind(real, abort, other.send, lambda o=other: o.shutdown(socket.SHUT_WR), ends)
            self.assertEqual(linux, simulated, f"ends: {ends}")

    def _reset_behind(self, sock: socket.socket, abort: Any, send: Any, end: Any, ends: bool) -> list[object]:
        send(b"bytes")
        if ends:
            end()
        self.settle()
        _arrived(sock)
        abort()
        self.settle()
        _arrived(sock, select.POLLHUP)
        seen: list[object] = [_events(sock)]
        for call in (lambda: sock.recv(100), lambda: sock.recv(100), lambda: sock.send(b"x"), lambda: sock.recv(100)):
            try:
                seen.append(call())
            except OSError as error:
                seen.append(error.errno)
        return [*seen, _events(sock)]

    def test_vanished(self) -> None:
        """A peer that vanishes is noticed by keep-alive, or by what it does not acknowledge."""
        sock, peer = self.pair()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.vanish()
        for _ in range(30):
            self.clock.advance(5)
        self.assertEqual(errno.ETIMEDOUT, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        other, peer = self.pair()
        other.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
        peer.vanish()
        other.send(b"x")
        for _ in range(6):
            self.clock.advance(5)
        self.assertEqual(errno.ETIMEDOUT, self.number_of(other.recv, 1))


class DescriptorTests(KernelCase):
    """Descriptors and listening sockets."""

    def test_lowest_number(self) -> None:
        """A descriptor is the lowest free number, and there is a limit."""
        first, _ = self.pair()
        second, _ = self.pair()
        self.assertEqual([FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + 1], [first.fileno(), second.fileno()])
        first.close()
        self.kernel.limit = 2
        third, _ = self.pair()
        self.assertEqual(FIRST_DESCRIPTOR, third.fileno())
        self.assertEqual(errno.EMFILE, self.number_of(SimulatedSocket))

    def test_backlog(self) -> None:
        """Clients wait in the backlog, repeat their SYN when it is full, and get a reset when it is closed."""
        listening = self.kernel.listening[ADDRESS] = Listening(self.kernel, ADDRESS, 1)
        sock = SimulatedSocket(fileno=self.kernel.open(listening))
        refused: list[int] = []
        clients = [self.kernel.pair(f"client {n}", ("192.0.2.1", n), ADDRESS)[0] for n in range(2)]
        for number, client in enumerate(clients):
            self.kernel.connect(client, partial(refused.append, number))
        self.assertEqual([True, False], [client.established for client in clients])
        accepted, address = sock._accept()
        self.assertEqual(("192.0.2.1", 0), address)
        self.clock.advance(1.0)
        self.assertTrue(clients[1].established)
        sock.close()
        self.settle()
        self.assertEqual([0, errno.ECONNRESET], [client.error for client in clients])
        self.kernel.connect(self.kernel.pair("late", ("192.0.2.1", 9), ADDRESS)[0], lambda: refused.append(9))
        self.assertEqual([9], refused)
        self.kernel.close(accepted)

    def test_faults(self) -> None:
        """Calls fail while the plan says so, and not later."""
        self.kernel = self.make(
            Fault("no_sockets", 0, 5, 1.0), Fault("eagain_reads", 0, 5, 1.0), Fault("short_writes", 0, 5, 1.0)
        )
        self.assertIn(self.number_of(SimulatedSocket), (errno.EMFILE, errno.ENFILE, errno.ENOBUFS))
        sock, peer = self.pair()
        peer.send(b"bytes")
        self.clock.advance(1)
        self.assertEqual(errno.EAGAIN, self.number_of(sock.recv, 1))
        self.assertLess(sock.send(b"bytes"), 5)
        self.clock.advance(5)
        self.assertEqual(b"bytes", sock.recv(9))
        self.assertEqual(5, sock.send(b"bytes"))

    def test_end_watch(self) -> None:
        """The set for peers that leave reports an end once, and a loss always."""
        sock, peer = self.pair()
        watch = SimulatedEpoll()
        watch.register(sock.fileno(), select.EPOLLRDHUP | select.EPOLLET)
        peer.send(b"bytes")
        self.settle()
        self.assertEqual([], watch.poll(0, 9))
        peer.shutdown()
        self.settle()
        self.assertEqual([(sock.fileno(), select.EPOLLRDHUP)], watch.poll(0, 9))
        self.assertEqual(([], 0), (watch.poll(0, 9), watch.events()))
        watch.modify(sock.fileno(), select.EPOLLET)
        _abort(peer)
        self.settle()
        self.assertEqual([(sock.fileno(), select.EPOLLERR | select.EPOLLHUP)], watch.poll(0, 9))
        watch.close()
        self.assertNotIn(watch, self.kernel.descriptors.values())


def _abort(end: End) -> None:
    end.linger_reset = True
    end.close()


def _events(sock: socket.socket) -> int:
    """What epoll(7) or the simulated kernel reports of a socket."""
    if isinstance(sock, SimulatedSocket):
        found: int = sock.what.events()
        return found
    with select.epoll() as poll:
        poll.register(sock, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP)
        events = poll.poll(0)
    return events[0][1] if events else 0


def _arrived(sock: socket.socket, wanted: int = select.POLLIN) -> None:
    """Wait for what a real peer has sent."""
    if not isinstance(sock, SimulatedSocket):
        poll = select.poll()
        poll.register(sock, wanted)
        assert poll.poll(5000), os.strerror(errno.ETIMEDOUT)
