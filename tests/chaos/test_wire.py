"""Carries packets, and knows which have data."""

from __future__ import annotations

import os
import socket
import time
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.line import DOWN, UP, Cut, Direction, Quality
from tests.chaos.wire import carry, has_data
from tests.support.sockets import TIMEOUT_S

PERFECT = Quality(loss=0, duplicated=0, reordered=0, delay_s=0.001, jitter_s=0, bytes_per_s=0)


def packet(data: bytes, protocol: int = 6, options: int = 0, tcp_options: int = 0) -> bytes:
    """An IPv4 packet with TCP. Options: in words of 4 bytes."""
    header = bytes((0x45 + options, 0)) + bytes(7) + bytes((protocol,)) + bytes(10 + 4 * options)
    return header + bytes(12) + bytes(((5 + tcp_options) << 4,)) + bytes(7 + 4 * tcp_options) + data


class WireTests(SynchronousTestCase):
    """The process between two namespaces, with sockets in place of devices."""

    def test_has_data(self) -> None:
        """TCP with data has data, however long its headers are; an acknowledgement and other protocols have none."""
        for options in (0, 3):
            for tcp_options in (0, 5):
                self.assertTrue(has_data(packet(b"1", options=options, tcp_options=tcp_options)))
                self.assertFalse(has_data(packet(b"", options=options, tcp_options=tcp_options)))
        self.assertFalse(has_data(packet(b"1", protocol=17)))
        self.assertFalse(has_data(packet(b"")[:30]))

    def carried(self, cuts: list[Cut], up: list[bytes], down: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        pairs = [socket.socketpair(type=socket.SOCK_DGRAM) for _ in range(2)]
        for pair in pairs:
            for sock in pair:
                self.addCleanup(sock.close)
                sock.settimeout(TIMEOUT_S)
            pair[1].setblocking(False)
        (clients, here), (proxies, there) = pairs
        ways = {
            here.fileno(): (there.fileno(), Direction.of(UP, PERFECT, cuts, 1)),
            there.fileno(): (here.fileno(), Direction.of(DOWN, PERFECT, cuts, 1)),
        }
        reads, writes = os.pipe()
        self.addCleanup(os.close, reads)
        thread = Thread(target=carry, args=(ways, time.monotonic(), reads))
        thread.start()
        for sock, packets in ((clients, up), (proxies, down)):
            for one in [*packets, packet(b"last")[:40]]:
                sock.send(one)
        found = []
        for sock in (proxies, clients):
            came = []
            while (one := sock.recv(2000)) != packet(b"last")[:40]:
                came.append(one)
            found.append(came)
        os.close(writes)
        thread.join(TIMEOUT_S)
        self.assertFalse(thread.is_alive())
        return found[0], found[1]

    def test_carry(self) -> None:
        """Packets of IPv4 pass in both directions, in order and unchanged; others do not."""
        up = [packet(bytes((number,)) * number) for number in range(1, 6)]
        down = [packet(b"down"), packet(bytes(1400))]
        self.assertEqual((up, down), self.carried([], [b"\x60IPv6", *up], down))

    def test_cut(self) -> None:
        """A cut takes what it should."""
        cut = Cut(0, 1000, UP, data_only=True)
        self.assertEqual(([], [packet(b"down")]), self.carried([cut], [packet(b"up")], [packet(b"down")]))
