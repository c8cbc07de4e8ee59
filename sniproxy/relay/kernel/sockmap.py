"""The BPF maps of the kernel relay, and the program that runs for the sockets in them.

``sockets``  by slot: the sockets; closing a socket removes it
``slots``    by a socket's cookie, a number that is unique while the system runs: the socket's slot
``rows``     by slot, in shared memory: counters of the socket's incoming bytes (L{sniproxy.relay.kernel.program})
``ring``     slots of sockets that have bytes for the process (L{sniproxy.relay.kernel.ring})
"""

from __future__ import annotations

import array
import fcntl
import math
import mmap
import os
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Callable

import attrs

from sniproxy.relay.kernel import bpf
from sniproxy.relay.kernel.assembly import assemble
from sniproxy.relay.kernel.program import (
    ACKNOWLEDGED,
    COLUMNS,
    FORWARDED,
    LIMIT,
    NEXT,
    NOTIFIED,
    PASSED,
    REDIRECTED,
    SPENT,
    instructions,
)
from sniproxy.relay.kernel.ring import Ring, size_for

MAX_PAIRS = 16_384
"""Tunnels of the kernel relay at once. Others use the user-space relay. The maps take 3.5 MiB of kernel memory."""

SLOT_REUSE_DELAY_S = 2.0
"""Seconds before a slot is reused, so that a program run that has looked up the old slot has ended."""

_SO_COOKIE = 57


@attrs.frozen
class Counters:
    """Counters of the bytes that arrive on one socket.

    @ivar slot: the socket's. @ivar attached: whether the program runs for it. If not, it counts and notifies nothing.
    """

    slot: int
    _cells: memoryview
    attached: bool = True

    @property
    def redirected(self) -> int:
        """Bytes that the kernel has redirected to the other socket. It may still be writing the last of them."""
        return self._cells[self.slot * COLUMNS + REDIRECTED]

    @property
    def passed(self) -> int:
        """Bytes that the kernel has passed to the process. The last of them may not be readable yet."""
        return self._cells[self.slot * COLUMNS + PASSED]

    @property
    def spent(self) -> int:
        """Bytes and segment costs that the kernel has used of all windows."""
        return self._cells[self.slot * COLUMNS + SPENT]

    @property
    def next_sequence(self) -> int | None:
        """The TCP sequence number that is expected next. None before the first segment."""
        cell = self._cells[self.slot * COLUMNS + NEXT]
        return cell & 0xFFFFFFFF if cell >> 32 else None

    def open_window(self, budget: int) -> None:
        """Let the kernel spend up to C{budget} more. 0 stops redirection."""
        self._cells[self.slot * COLUMNS + LIMIT] = self.spent + budget if budget else 0

    def set_forwarded(self, total: int) -> None:
        """Set how many of the passed bytes the process has sent on."""
        self._cells[self.slot * COLUMNS + FORWARDED] = total

    def acknowledge(self) -> None:
        """Let the program notify the process again."""
        self._cells[self.slot * COLUMNS + ACKNOWLEDGED] = self._cells[self.slot * COLUMNS + NOTIFIED]

    def clear(self) -> None:
        """Set all counters to 0, so that nothing is redirected."""
        for column in range(COLUMNS):
            self._cells[self.slot * COLUMNS + column] = 0


@attrs.frozen
class SocketPair:
    """The sockets of one tunnel. @ivar client: counters of the client's bytes. @ivar target: of the target's bytes."""

    client: Counters
    target: Counters
    cookies: tuple[bytes, bytes]


class SocketMap:
    """Loads the program, and adds pairs of sockets.

    @ivar pairs: tunnels at once, at most. @ivar ring: the slots of sockets that have bytes for the process.
    @param seconds: a clock.
    @raise OSError: the kernel refuses, or does not support it.
    """

    def __init__(self, pairs: int = MAX_PAIRS, seconds: Callable[[], float] = time.monotonic) -> None:
        self.pairs = pairs
        self._seconds = seconds
        self._descriptors: list[int] = []
        self._free = deque((-math.inf, number) for number in range(pairs))
        try:
            self._sockets = self._map(bpf.SOCKETS, 4, 4, 2 * pairs)
            self._slots = self._map(bpf.HASH, 8, 4, 2 * pairs, bpf.GROWING)
            rows = self._map(bpf.ARRAY, 4, 8 * COLUMNS, 2 * pairs, bpf.MAPPED)
            length = size_for(2 * pairs)
            ring = self._map(bpf.RING, 0, 0, length)
            program = bpf.load_program(assemble(instructions(self._slots, rows, self._sockets, ring)))
            self._descriptors.append(program)
            bpf.attach(self._sockets, program)
            size = -(-2 * pairs * 8 * COLUMNS // mmap.PAGESIZE) * mmap.PAGESIZE
            self._memory = mmap.mmap(rows, size)
            self.ring = Ring(ring, length)
        except BaseException:
            self._close_descriptors()
            raise
        self._cells = memoryview(self._memory).cast("Q")

    def add(self, client: socket.socket, target: socket.socket) -> SocketPair | None:
        """Add the two sockets of a tunnel, with closed windows: the kernel passes all bytes until a window is opened.

        @return: None if the tunnel must use another relay: all slots are in use, a socket is not plain TCP, or it has
            unread bytes.
        """
        if not self._free or self._free[0][0] > self._seconds() or not (_fits(client) and _fits(target)):
            return None
        if _unread(client) or _unread(target):
            # The kernel would redirect a partly read segment whole, and so send the part that was read twice.
            return None
        _, number = self._free.popleft()
        cookies = _cookie(client), _cookie(target)
        pair = SocketPair(Counters(2 * number, self._cells), Counters(2 * number + 1, self._cells), cookies)
        try:
            for row, cookie in zip((pair.client, pair.target), cookies, strict=True):
                row.clear()
                bpf.update(self._slots, cookie, struct.pack("<I", row.slot))
            self._insert(pair.target, target)
        except OSError:
            self.remove(pair)
            return None
        try:
            self._insert(pair.client, client)
        except OSError:
            # The client may have closed, for example. Without it the kernel passes all bytes of the target, and the
            # process reads the client. The target stays: removing it would lose unread bytes.
            return attrs.evolve(pair, client=attrs.evolve(pair.client, attached=False))
        return pair

    def remove(self, pair: SocketPair) -> None:
        """Release the slots of a tunnel that has ended. The kernel passes what its sockets still receive."""
        for cookie in pair.cookies:
            try:
                bpf.delete(self._slots, cookie)
            except OSError:  # it was not added yet
                pass
        self._free.append((self._seconds() + SLOT_REUSE_DELAY_S, pair.client.slot // 2))

    def close(self) -> None:
        """Free the maps and the program. Call this after the last tunnel has ended."""
        self._cells.release()
        self._memory.close()
        self.ring.close()
        self._close_descriptors()

    def _map(self, kind: int, key: int, value: int, entries: int, flags: int = 0) -> int:
        descriptor = bpf.create_map(kind, key, value, entries, flags)
        self._descriptors.append(descriptor)
        return descriptor

    def _close_descriptors(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _insert(self, row: Counters, sock: socket.socket) -> None:
        bpf.update(self._sockets, struct.pack("<I", row.slot), struct.pack("<I", sock.fileno()))


def _fits(sock: socket.socket) -> bool:
    """Whether it is a plain TCP socket. The kernel relay takes no unix sockets, and no TLS that the proxy ends."""
    return type(sock) is socket.socket and sock.family in (socket.AF_INET, socket.AF_INET6)


def _unread(sock: socket.socket) -> int:
    waiting = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.FIONREAD, waiting)
    return waiting[0]


def _cookie(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
