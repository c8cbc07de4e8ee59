"""The ring buffer (C{BPF_MAP_TYPE_RINGBUF}) in which the program names sockets that have bytes for the process.

Both share its memory: one page with the consumer's position, one page with the producer's position, then the records,
which are mapped twice in a row so that no record is split. A record has a header of 8 bytes and is padded to a
multiple of 8 (Documentation/bpf/ringbuf.rst of Linux).

The process reads the producer's position before the records, and a header before the data after it. Others use barriers
for that (C{smp_load_acquire}); here they are plain loads, which stay in order on x86-64. No other machine is supported
(C{bpf.MACHINE}).
"""

from __future__ import annotations

import mmap

RECORD = 16
"""Bytes of a record: the header, a slot of 4 bytes, and padding."""

_BUSY = 1 << 31
"""Flag in a header: the program has not finished the record (BPF_RINGBUF_BUSY_BIT)."""


def size_for(slots: int) -> int:
    """Bytes of a ring with two records for each slot. The kernel requires a power of two, and whole pages."""
    return max(mmap.PAGESIZE, 1 << (2 * slots * RECORD - 1).bit_length())


class Ring:
    """The consumer of the ring. Its descriptor polls as readable while the ring has records.

    @param descriptor: the map's; the caller closes it. @param size: of the map, in bytes.
    @raise OSError: the kernel's error.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._consumer_page = mmap.mmap(descriptor, mmap.PAGESIZE)
        try:
            # The kernel refuses to map the producer's part for writing.
            self._producer_pages = mmap.mmap(
                descriptor, mmap.PAGESIZE + 2 * size, prot=mmap.PROT_READ, offset=mmap.PAGESIZE
            )
        except BaseException:
            self._consumer_page.close()
            raise
        self._consumer = memoryview(self._consumer_page).cast("Q")
        self._producer = memoryview(self._producer_pages)[:8].cast("Q")
        self._records = memoryview(self._producer_pages)[mmap.PAGESIZE :].cast("I")

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> tuple[list[int], bool]:
        """@return: the slots in the ring, and whether it was full, so that other slots may be missing."""
        position, end = self._consumer[0], self._producer[0]
        full = end - position >= self._size - RECORD
        slots = []
        while position != end:
            index = position % self._size // 4
            if self._records[index] & _BUSY:
                break
            slots.append(self._records[index + 2])
            position += RECORD
        self._consumer[0] = position
        return slots, full

    def close(self) -> None:
        """Unmap the memory."""
        for view in (self._consumer, self._producer, self._records):
            view.release()
        self._consumer_page.close()
        self._producer_pages.close()
