"""Tests for sniproxy.relay.vanished."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from sniproxy.net.sockopts import KEEPALIVE_IDLE
from sniproxy.relay.vanished import (
    BATCH,
    INTERVAL_S,
    PROBES,
    USER_TIMEOUT_MS,
    VanishedPeers,
    check_peer,
    end_time_limit,
)
from sniproxy.util.timerwheel import TICK_S
from tests.support.sockets import connected

_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # SO_ATTACH_FILTER, SO_DETACH_FILTER


class FakeSocket:
    """A socket of TCP whose peer answers, or does not."""

    family = socket.AF_INET

    def __init__(self, retransmits: int = 0, probes: int = 0, timeout: int = 0) -> None:
        self.retransmits, self.probes, self.timeout = retransmits, probes, timeout
        self.looks = 0

    def fileno(self) -> int:
        return 9

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if option == socket.TCP_INFO:
            self.looks += 1
            return bytes((1, 0, self.retransmits, self.probes, 0, 0, 0, 0))[:size]
        return 1 if option == socket.SO_KEEPALIVE else self.timeout

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        self.timeout = value


def deaf(sock: socket.socket) -> None:
    """From now on nothing reaches this socket: its peer gets no acknowledgement."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


def retransmits(sock: socket.socket) -> int:
    found: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    return found[2]


def user_timeout(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


class BoundSilenceTests(TestCase):
    """bound_silence: one socket."""

    def test_two_minutes(self) -> None:
        """The time is the one that keep-alive takes."""
        self.assertEqual(120_000, USER_TIMEOUT_MS)

    def test_when(self) -> None:
        """Retransmissions and several window probes without an answer set the time; answers clear it."""
        for retransmitted, probes, timeout in ((0, 0, 0), (1, 0, 120_000), (0, PROBES, 120_000), (0, PROBES - 1, 0)):
            for before in (0, 120_000):
                sock: Any = FakeSocket(retransmitted, probes, before)
                check_peer(sock)
                self.assertEqual(timeout, sock.timeout, (retransmitted, probes, before))

    def test_kernel(self) -> None:
        """The kernel tells of a peer that acknowledges nothing, and of one that does again."""
        theirs, ours = connected()
        with theirs, ours:
            check_peer(ours)
            self.assertEqual(0, user_timeout(ours))
            deaf(theirs)
            ours.send(b"x")
            while not retransmits(ours):  # 0.2 s on loopback
                pass
            check_peer(ours)
            self.assertEqual(USER_TIMEOUT_MS, user_timeout(ours))
            theirs.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
            self.assertEqual(b"x", theirs.recv(1))
            while retransmits(ours):
                pass
            check_peer(ours)
            self.assertEqual(0, user_timeout(ours))

    def test_paused_reader(self) -> None:
        """A full window is no silence: a peer that reads nothing answers."""
        theirs, ours = connected()
        with theirs, ours:
            ours.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while True:
                    ours.send(bytes(65_536))
            check_peer(ours)
            self.assertEqual(0, user_timeout(ours))

    def test_keep_alive(self) -> None:
        """A socket without keep-alive gets it, with the proxy's times."""
        theirs, ours = connected()
        with theirs, ours:
            self.assertEqual(0, ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            check_peer(ours)
            self.assertEqual(1, ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            self.assertEqual(KEEPALIVE_IDLE, ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))

    def test_others(self) -> None:
        """Unix sockets, closed ones and those whose connection has ended are left alone."""
        a, b = socket.socketpair()
        with a, b:
            check_peer(a)
        check_peer(a)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            check_peer(sock)

    def test_end_time_limit(self) -> None:
        """A limit is cleared; unix sockets and closed ones are left alone."""
        theirs, ours = connected()
        with theirs, ours:
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
            end_time_limit(ours)
            self.assertEqual(0, user_timeout(ours))
        end_time_limit(ours)
        a, b = socket.socketpair()
        with a, b:
            end_time_limit(a)


class VanishedPeersTests(TestCase):
    """VanishedPeers: all tunnels, in turn."""

    def test_looks(self) -> None:
        """Each socket is looked at once an interval, both of a tunnel, from start to stop."""
        clock, tunnel = Clock(), (FakeSocket(), FakeSocket())
        watch = VanishedPeers(clock, lambda: [tunnel])  # type: ignore[list-item]
        watch.start()
        watch.start()
        for looks in (1, 2, 3):
            clock.advance(INTERVAL_S + TICK_S)
            self.assertEqual([looks, looks], [sock.looks for sock in tunnel])
        watch.stop()
        watch.stop()
        self.assertEqual([], clock.getDelayedCalls())
        watch.start()
        clock.advance(INTERVAL_S + TICK_S)
        self.assertEqual(4, tunnel[0].looks)
        watch.stop()

    def test_batches(self) -> None:
        """Many tunnels are looked at a batch at a time."""
        clock, tunnels = Clock(), [(FakeSocket(),) for _ in range(2 * BATCH + 1)]
        watch = VanishedPeers(clock, lambda: tunnels)  # type: ignore[return-value,arg-type]
        watch.start()
        clock.advance(INTERVAL_S)
        for seen in (BATCH, 2 * BATCH, 2 * BATCH + 1):
            self.assertEqual(seen, sum(sock.looks for (sock,) in tunnels))
            clock.advance(TICK_S)
        watch.stop()
