"""The BPF program that runs in the kernel for each segment that arrives on a socket of a tunnel. Pure.

It either I{redirects} the segment to the other socket of the tunnel, without waking the process, or I{passes} it to the
process, which reads it with C{recv}. These rules keep every byte in order, without loss and without duplicates:

* It redirects only while the process has sent on all bytes that were passed to it: C{passed == forwarded}.
* It redirects only while the direction's window has room: C{spent + cost <= limit}. The process sets the limit by the
  room in the other socket's send buffer, so that redirected bytes do not wait outside of that buffer for long.
* It cuts off bytes that it has seen before. TCP queues a retransmitted segment that also has new bytes whole, and lets
  the reader skip the old part; a BPF program does not learn where the new part begins. So the program keeps the next
  expected sequence number, and cuts off what lies before it.
* It passes segments of sockets that it does not know, or that have no other socket.
* It drops a segment without bytes, which is a bare FIN. TCP has processed the FIN before the program runs, so C{recv}
  reports it. If it were passed, it could queue behind bytes that are being redirected into its own socket; the kernel
  then takes the empty segment for a failed send and breaks the socket with EPIPE.

The process does not wait for sockets whose bytes are redirected, because each segment would wake it. Instead the
program I{notifies} the process when it has passed a segment: it writes the socket's slot to a ring buffer that the
process waits for. It notifies once, and again only after the process has acknowledged: C{notified == acknowledged}. The
process acknowledges when it begins to wait, and reads C{passed} after that; the program adds to C{passed} before it
reads C{acknowledged}. Both have a memory barrier between the two steps, so at least one of them sees what the other
did, and no passed byte goes unnoticed.

Each direction has a row of counters. The process alone writes C{limit}, C{forwarded} and C{acknowledged}; the kernel
alone writes the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from sniproxy.relay.kernel.assembly import (
    DOUBLE,
    FRAME,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    WORD,
    Instruction,
    add,
    add_constant,
    add_words,
    call,
    exit_program,
    fetch_and_add,
    jump_if_constant,
    jump_if_greater,
    jump_if_greater_constant,
    jump_unless,
    jump_unless_constant,
    jump_unless_greater_constant,
    labelled,
    load,
    load_map,
    move,
    move_constant,
    store,
    subtract,
    subtract_words,
    xor_constant,
)

REDIRECTED, PASSED, SPENT, LIMIT, FORWARDED, NOTIFIED, ACKNOWLEDGED, NEXT = range(8)
"""The columns of a row, 8 bytes each. REDIRECTED, PASSED, FORWARDED: bytes. SPENT, LIMIT: bytes and segment costs.
NOTIFIED, ACKNOWLEDGED: notifications. NEXT: the next expected sequence number in the lower half, and 1 in the upper
half once it is known."""

COLUMNS = 8
"""Columns of a row. A row fills a cache line."""

SEGMENT_COST_BYTES = 2048
"""What a segment costs in addition to its bytes: an upper estimate of the kernel's overhead for it."""

_LOOKUP, _COOKIE, _ADJUST, _REDIRECT, _OUTPUT = 1, 46, 50, 52, 130  # enum bpf_func_id of linux/bpf.h
_DROP, _PASS = 0, 1  # enum sk_action
_LENGTH, _SEQUENCE = 0, 48  # of struct __sk_buff: len, and cb[0], where TCP has the sequence number (struct tcp_skb_cb)

MAX_CUT_BYTES = 0xFFF
"""Bytes that one call of the helper can cut off, at most."""

MAX_CUTS = 129
"""Calls of the helper for one segment, at most: for 512 KiB, the largest segment that Linux makes."""


def instructions(slots: int, rows: int, sockets: int, ring: int) -> Iterator[Instruction]:
    """The program.

    @param slots: descriptor of the map from cookies to slots. @param rows: of the map from slots to counters.
    @param sockets: of the map from slots to sockets. A tunnel's sockets have an even slot and the odd one after it.
    @param ring: of the ring buffer.
    """
    yield move(R6, R1)  # keep the segment: calls overwrite R1
    yield load(WORD, R9, R6, _LENGTH)  # its bytes
    yield jump_if_constant(R9, 0, "drop")  # a bare FIN
    yield call(_COOKIE)  # the socket's cookie; R1 is still the segment
    yield store(DOUBLE, FRAME, -8, R0)  # map keys are passed in memory
    yield from load_map(R1, slots)
    yield move(R2, FRAME)
    yield add_constant(R2, -8)
    yield call(_LOOKUP)
    yield jump_if_constant(R0, 0, "pass")  # the tunnel has ended
    yield load(WORD, R7, R0, 0)  # the slot
    yield store(WORD, FRAME, -16, R7)
    yield from load_map(R1, rows)
    yield move(R2, FRAME)
    yield add_constant(R2, -16)
    yield call(_LOOKUP)
    yield jump_if_constant(R0, 0, "pass")  # cannot happen; the verifier demands the check
    yield move(R8, R0)  # the counters
    yield from _once()
    yield labelled("once", load(DOUBLE, R1, R8, 8 * PASSED))
    yield load(DOUBLE, R2, R8, 8 * FORWARDED)
    yield jump_unless(R1, R2, "count")  # the process still has earlier bytes
    yield load(DOUBLE, R1, R8, 8 * SPENT)
    yield add(R1, R9)
    yield add_constant(R1, SEGMENT_COST_BYTES)
    yield load(DOUBLE, R2, R8, 8 * LIMIT)
    yield jump_if_greater(R1, R2, "count")  # the window has no room for it
    yield store(DOUBLE, FRAME, -8, R1)  # spent, with this segment
    yield move(R1, R6)
    yield from load_map(R2, sockets)
    yield move(R3, R7)
    yield xor_constant(R3, 1)  # slot of the other socket
    yield move_constant(R4, 0)  # flags: send on it
    yield call(_REDIRECT)
    yield jump_unless_constant(R0, _PASS, "count")  # there is no other socket
    yield load(DOUBLE, R1, FRAME, -8)
    yield store(DOUBLE, R8, 8 * SPENT, R1)
    yield load(DOUBLE, R1, R8, 8 * REDIRECTED)
    yield add(R1, R9)
    yield store(DOUBLE, R8, 8 * REDIRECTED, R1)
    yield move_constant(R0, _PASS)
    yield exit_program()
    yield labelled("count", fetch_and_add(R8, 8 * PASSED, R9))  # a memory barrier before the next loads
    yield load(DOUBLE, R1, R8, 8 * NOTIFIED)
    yield load(DOUBLE, R2, R8, 8 * ACKNOWLEDGED)
    yield jump_unless(R1, R2, "pass")  # notified already, and not acknowledged
    yield add_constant(R1, 1)
    yield store(DOUBLE, R8, 8 * NOTIFIED, R1)  # before the record, so that the process sees it with the record
    yield from load_map(R1, ring)
    yield move(R2, FRAME)
    yield add_constant(R2, -16)  # the slot
    yield move_constant(R3, 4)  # bytes
    yield move_constant(R4, 0)  # flags: wake the process if the ring was empty
    yield call(_OUTPUT)
    yield labelled("pass", move_constant(R0, _PASS))
    yield exit_program()
    yield labelled("drop", move_constant(R0, _DROP))
    yield exit_program()


def _once() -> Iterator[Instruction]:
    """Cut off bytes that were seen before, then continue at C{once}. R6 is the segment, R8 its counters, R9 its length,
    afterwards without the bytes that were cut off.

    If the kernel has no memory for it, the segment is dropped and its bytes count as passed. The process waits for them
    until the tunnel's timeout, and no wrong byte is delivered.
    """
    yield move_constant(R0, 0)
    yield store(DOUBLE, FRAME, -24, R0)  # bytes to cut off
    yield load(WORD, R1, R6, _SEQUENCE)
    yield load(WORD, R2, R8, 8 * NEXT)
    yield load(WORD, R3, R8, 8 * NEXT + 4)
    yield jump_if_constant(R3, 0, "new")  # the first segment
    yield subtract_words(R2, R1)  # bytes that were seen before
    yield jump_if_constant(R2, 0, "new")  # none: the usual case
    yield jump_if_greater_constant(R2, 0x7FFFFFFF, "new")  # a gap: the process has read the bytes in it
    yield jump_if_greater(R9, R2, "in part")
    yield move_constant(R0, _DROP)  # no new byte
    yield exit_program()
    yield labelled("in part", store(DOUBLE, FRAME, -24, R2))
    yield add_words(R1, R2)
    yield subtract(R9, R2)
    yield labelled("new", add_words(R1, R9))
    yield store(WORD, R8, 8 * NEXT, R1)
    yield move_constant(R1, 1)
    yield store(WORD, R8, 8 * NEXT + 4, R1)
    for _ in range(MAX_CUTS):
        yield load(DOUBLE, R1, FRAME, -24)
        yield jump_unless_greater_constant(R1, MAX_CUT_BYTES, "rest")
        yield add_constant(R1, -MAX_CUT_BYTES)
        yield store(DOUBLE, FRAME, -24, R1)
        yield move_constant(R2, -MAX_CUT_BYTES)
        yield from _adjusted()
        yield jump_unless_constant(R0, 0, "broken")
    yield jump_if_constant(R0, 0, "broken")  # always taken: no segment has that many bytes
    yield labelled("rest", load(DOUBLE, R1, FRAME, -24))
    yield jump_if_constant(R1, 0, "once")
    yield move_constant(R2, 0)
    yield subtract(R2, R1)
    yield from _adjusted()
    yield jump_if_constant(R0, 0, "once")
    yield labelled("broken", fetch_and_add(R8, 8 * PASSED, R9))
    yield move_constant(R0, _DROP)
    yield exit_program()


def _adjusted() -> Iterator[Instruction]:
    """Grow the segment's head by R2 bytes, or shrink it if R2 is negative. R0 is 0, or an error."""
    yield move(R1, R6)
    yield move_constant(R3, 0)  # mode
    yield move_constant(R4, 0)  # flags
    yield call(_ADJUST)
