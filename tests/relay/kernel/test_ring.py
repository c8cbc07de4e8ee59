"""The ring buffer, with a real program, and with records written by hand."""

from __future__ import annotations

import mmap
import os
import select
import struct

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.kernel import bpf
from sniproxy.relay.kernel.ring import RECORD, Ring, size_for
from sniproxy.relay.kernel.sockmap import SocketMap
from tests.relay.kernel.support import sockmap
from tests.support.sockets import connected, links, read_exactly

SIZE = mmap.PAGESIZE


class Written(Ring):
    """A ring whose records the test writes, in memory with the kernel's layout."""

    def __init__(self) -> None:
        self._size = SIZE
        self.memory = bytearray(mmap.PAGESIZE + 2 * SIZE)
        self._consumer = memoryview(bytearray(8)).cast("Q")
        self._producer = memoryview(self.memory)[:8].cast("Q")
        self._records = memoryview(self.memory)[mmap.PAGESIZE :].cast("I")

    def write(self, slot: int, flags: int = 0) -> None:
        at = self._producer[0]
        struct.pack_into("=III", self.memory, mmap.PAGESIZE + at % SIZE, 4 | flags, 0, slot)
        self._producer[0] = at + RECORD


class RingTests(SynchronousTestCase):
    """read."""

    def test_in_order(self) -> None:
        """Records are read once and in order, also when the ring wraps around."""
        ring = Written()
        for turn in range(3):
            slots = list(range(turn, turn + SIZE // RECORD * 2 // 3))
            for slot in slots:
                ring.write(slot)
            self.assertEqual((slots, False), ring.read())
            self.assertEqual(([], False), ring.read())

    def test_busy(self) -> None:
        """An unfinished record is not read, nor any after it."""
        ring = Written()
        ring.write(1)
        ring.write(2, flags=1 << 31)
        ring.write(3)
        self.assertEqual(([1], False), ring.read())
        struct.pack_into("=I", ring.memory, mmap.PAGESIZE + RECORD, 4)
        self.assertEqual(([2, 3], False), ring.read())

    def test_full(self) -> None:
        """It tells when the ring was full."""
        ring = Written()
        most = SIZE // RECORD - 1
        for count, full in ((most, True), (most - 1, False)):
            for slot in range(count):
                ring.write(slot)
            self.assertEqual((list(range(count)), full), ring.read())

    def test_size(self) -> None:
        """The ring has two records for each slot, and a power of two of bytes."""
        self.assertEqual((mmap.PAGESIZE, 1 << 20), (size_for(2), size_for(1 << 15)))
        self.assertEqual(1 << 21, size_for((1 << 15) + 1))

    def test_the_kernel_rings(self) -> None:
        """A passed segment notifies once until it is acknowledged; the ring is readable until it is read."""
        sockmap()
        mine = SocketMap(2)
        self.addCleanup(mine.close)
        (client, ours), (target, other) = connected(), connected()
        for sock in (client, ours, target, other):
            self.addCleanup(sock.close)
            sock.setblocking(True)
        pair = mine.add(ours, other)
        assert pair is not None
        for _ in range(2):
            client.sendall(b"passed")
            self.assertEqual(b"passed", read_exactly(ours, 6))
        self.assertEqual([mine.ring], select.select([mine.ring], [], [], 9)[0])
        self.assertEqual(([pair.client.slot], False), mine.ring.read())
        self.assertEqual([], select.select([mine.ring], [], [], 0)[0])
        pair.client.acknowledge()
        target.sendall(b"answer")
        self.assertEqual(b"answer", read_exactly(other, 6))
        client.sendall(b"passed")
        self.assertEqual(b"passed", read_exactly(ours, 6))
        self.assertEqual(([pair.target.slot, pair.client.slot], False), mine.ring.read())

    def test_refused(self) -> None:
        """A map of another size is refused, and nothing is left open."""
        sockmap()
        descriptor = bpf.create_map(bpf.RING, 0, 0, SIZE)
        self.addCleanup(os.close, descriptor)
        before = links()
        self.assertRaises(OSError, Ring, descriptor, 4 * SIZE)
        self.assertEqual(before, links())
        Ring(descriptor, SIZE).close()
        self.assertEqual(before, links())
