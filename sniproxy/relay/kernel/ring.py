"""The ring by which the kernel's program names the sockets that have something for us: C{BPF_MAP_TYPE_RINGBUF}.

It is memory that both share: a page with how far we have read, a page with how far the program has written, and the
records, which are mapped twice in a row so that none is ever in two pieces. A record has a header of 8 bytes, and is
filled up to a multiple of 8 (Documentation/bpf/ringbuf.rst of Linux).

How far it has written is read before the records, and a header before what is behind it: by plain loads, where others
have barriers (C{smp_load_acquire}). On x86-64 loads stay in order; no other machine is let in (C{bpf.MACHINE}).
"""

from __future__ import annotations

import mmap

RECORD = 16
"""Bytes of a record: the header, and a socket's slot in 4 bytes."""

_BUSY = 1 << 31
"""In a header: the program is just writing it (BPF_RINGBUF_BUSY_BIT)."""


def size_for(slots: int) -> int:
    """Bytes of a ring in which each of so many slots may stand twice; the kernel takes powers of two, of pages."""
    return max(mmap.PAGESIZE, 1 << (2 * slots * RECORD - 1).bit_length())


class Ring:
    """Our end of it. To epoll it is readable while something is in it.

    @param descriptor: of the map; whoever made it closes it. @param size: bytes, of the map.
    @raise OSError: the kernel's.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._ours = mmap.mmap(descriptor, mmap.PAGESIZE)
        try:
            # Of the kernel's part nothing may be mapped for writing.
            self._theirs = mmap.mmap(descriptor, mmap.PAGESIZE + 2 * size, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)
        except BaseException:
            self._ours.close()
            raise
        self._read = memoryview(self._ours).cast("Q")
        self._written = memoryview(self._theirs)[:8].cast("Q")
        self._records = memoryview(self._theirs)[mmap.PAGESIZE :].cast("I")

    def fileno(self) -> int:
        return self._descriptor

    def take(self) -> tuple[list[int], bool]:
        """@return: the slots that are named; whether it was full, so that there may be others."""
        at, written = self._read[0], self._written[0]
        full = written - at >= self._size - RECORD
        slots = []
        while at != written:
            place = at % self._size // 4
            if self._records[place] & _BUSY:
                break
            slots.append(self._records[place + 2])
            at += RECORD
        self._read[0] = at
        return slots, full

    def close(self) -> None:
        """Give the memory back."""
        for view in (self._read, self._written, self._records):
            view.release()
        self._ours.close()
        self._theirs.close()
