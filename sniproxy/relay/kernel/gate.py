"""The gate: what the kernel knows of our tunnels. Four maps, and the program that runs for their sockets.

``sockets``  by slot: the sockets themselves; closing one takes it out
``slots``    by a socket's cookie, which is its number for life: its slot
``rows``     by slot: the counters of what comes from that socket (L{sniproxy.relay.kernel.program}), in shared memory
``ring``     slots of sockets that have something for us (L{sniproxy.relay.kernel.ring})
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
    COLUMNS,
    FORWARDED,
    HEARD,
    LIMIT,
    NEXT,
    PASSED,
    REDIRECTED,
    RUNG,
    SPENT,
    instructions,
)
from sniproxy.relay.kernel.ring import Ring, size_for

MAX_PAIRS = 16_384
"""Tunnels that the kernel may carry at once. More are carried by us. It is 3.5 MiB of the kernel's memory."""

REST_S = 2.0
"""Seconds before a slot is used again. A processor that has just looked the old one up is long done with it then."""

_SO_COOKIE = 57


@attrs.frozen
class Row:
    """The counters of what comes from one socket.

    @ivar slot: the socket's. @ivar inside: the program runs for it. Otherwise nothing is counted, and nothing rings.
    """

    slot: int
    _cells: memoryview
    inside: bool = True

    @property
    def redirected(self) -> int:
        """Bytes that the kernel has put, or is just putting, into the other socket."""
        return self._cells[self.slot * COLUMNS + REDIRECTED]

    @property
    def passed(self) -> int:
        """Bytes that are for us to read, at once or in a moment."""
        return self._cells[self.slot * COLUMNS + PASSED]

    @property
    def spent(self) -> int:
        """What the kernel has used of the windows so far."""
        return self._cells[self.slot * COLUMNS + SPENT]

    @property
    def next(self) -> int | None:
        """The sequence number that comes next, as TCP counts. None: nothing has come yet."""
        cell = self._cells[self.slot * COLUMNS + NEXT]
        return cell & 0xFFFFFFFF if cell >> 32 else None

    def open(self, budget: int) -> None:
        """Let so much more be spent; 0: nothing, from now on."""
        self._cells[self.slot * COLUMNS + LIMIT] = self.spent + budget if budget else 0

    def forwarded(self, total: int) -> None:
        """So many of the passed bytes have been sent on."""
        self._cells[self.slot * COLUMNS + FORWARDED] = total

    def hear(self) -> None:
        """From now on ring again."""
        self._cells[self.slot * COLUMNS + HEARD] = self._cells[self.slot * COLUMNS + RUNG]

    def clear(self) -> None:
        """All is 0: nothing is redirected."""
        for column in range(COLUMNS):
            self._cells[self.slot * COLUMNS + column] = 0


@attrs.frozen
class Pair:
    """One tunnel. @ivar client: what comes from the client. @ivar target: what comes from the target."""

    client: Row
    target: Row
    cookies: tuple[bytes, bytes]


class Gate:
    """Loads the program, and lets sockets in.

    @ivar pairs: tunnels at once, at most. @ivar ring: names the slots that have something for us.
    @param seconds: a clock.
    @raise OSError: the kernel does not let us, or cannot.
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

    def join(self, client: socket.socket, target: socket.socket) -> Pair | None:
        """Let the two sockets of a tunnel in, with both windows closed: all that comes is passed.

        @return: None: it stays an ordinary tunnel: there are too many, these are no connections of the right kind, or
            bytes wait in them already.
        """
        if not self._free or self._free[0][0] > self._seconds() or not (_fits(client) and _fits(target)):
            return None
        if _unread(client) or _unread(target):
            # The kernel would take a segment whole of which we have read a part, and so bring that part again.
            return None
        _, number = self._free.popleft()
        cookies = _cookie(client), _cookie(target)
        pair = Pair(Row(2 * number, self._cells), Row(2 * number + 1, self._cells), cookies)
        try:
            for row, cookie in zip((pair.client, pair.target), cookies, strict=True):
                row.clear()
                bpf.update(self._slots, cookie, struct.pack("<I", row.slot))
            self._let_in(pair.target, target)
        except OSError:
            self.leave(pair)
            return None
        try:
            self._let_in(pair.client, client)
        except OSError:
            # It has ended before, say. What comes from the target passes then, for there is no other one, and the
            # client is read as ever. The target stays in: taken out, it would lose bytes that wait in it.
            return attrs.evolve(pair, client=attrs.evolve(pair.client, inside=False))
        return pair

    def leave(self, pair: Pair) -> None:
        """The tunnel has ended, and its sockets will be closed; what they still get passes."""
        for cookie in pair.cookies:
            try:
                bpf.delete(self._slots, cookie)
            except OSError:  # it was not there yet
                pass
        self._free.append((self._seconds() + REST_S, pair.client.slot // 2))

    def close(self) -> None:
        """Give all back; no tunnel is left."""
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

    def _let_in(self, row: Row, sock: socket.socket) -> None:
        bpf.update(self._sockets, struct.pack("<I", row.slot), struct.pack("<I", sock.fileno()))


def _fits(sock: socket.socket) -> bool:
    """A plain TCP socket: TLS that we speak ourselves, and unix sockets, are not for the kernel."""
    return type(sock) is socket.socket and sock.family in (socket.AF_INET, socket.AF_INET6)


def _unread(sock: socket.socket) -> int:
    waiting = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.FIONREAD, waiting)
    return waiting[0]


def _cookie(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
