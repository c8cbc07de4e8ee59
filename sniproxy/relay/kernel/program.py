"""The program that runs in the kernel for each segment that arrives on a socket of a tunnel. Pure.

It decides whom a segment goes to: either straight into the other socket of the tunnel (it is I{redirected}, and no
process is asked), or up to our own process (it is I{passed}), which reads it with C{recv} as ever. The rules, by which
no byte is lost, comes twice or overtakes another:

* A segment is redirected only while our process has sent on all that was passed to it: C{passed == forwarded}.
* It is redirected only while the direction's window has room: C{spent + cost <= limit}. Our process sets the limit by
  the room in the other socket's send buffer, so what is redirected never waits outside of it for long.
* What has been there before is cut off. TCP queues a segment whole of which it has the first part already (it was sent
  again, together with more), and leaves it to who reads to skip that part; who gets segments here is not told. So the
  program keeps the sequence number that comes next, and cuts off what lies before it.
* Whatever is unknown or has no other end is passed.
* A segment without bytes, which is a bare FIN, is dropped. TCP has seen to it before the program runs, and C{recv}
  tells the end all the same. Passed, it may have to queue behind what is being redirected into its own socket; and when
  the kernel then finds it empty, it takes that for a failed send and breaks the socket, with EPIPE.

Our process does not wait for the sockets whose bytes are redirected: else it would be woken for each of them. The
program I{rings} instead when it has passed a segment: it names the socket in a ring that our process waits for. It
rings once, and not again before our process has I{heard} that: C{rung == heard}. Our process writes so when it begins
to rest, and looks at C{passed} after that; the program adds to C{passed} before it looks at C{heard}. Between the two
steps of either is a memory barrier, so one of both sees what the other did, and nothing is passed to a sleeper.

Each direction has a row of counters. Our process alone writes C{limit}, C{forwarded} and C{heard}, the kernel alone the
others.
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
    fetch_and_add,
    jump_if_constant,
    jump_if_more,
    jump_if_more_than,
    jump_unless,
    jump_unless_constant,
    jump_unless_more_than,
    leave,
    load,
    load_map,
    move,
    move_constant,
    named,
    store,
    subtract,
    subtract_words,
    xor_constant,
)

REDIRECTED, PASSED, SPENT, LIMIT, FORWARDED, RUNG, HEARD, NEXT = range(8)
"""The columns of a row, 8 bytes each: bytes, bytes, cost, cost, bytes, how often, how often; and the sequence number
that comes next, in the lower half, with 1 in the upper half once it is known."""

COLUMNS = 8
"""Of a row, so that a row is a cache line."""

COST = 2048
"""What a segment costs beside its bytes: the kernel's own records of it, which small ones have many of. Generous."""

_LOOKUP, _COOKIE, _ADJUST, _REDIRECT, _OUTPUT = 1, 46, 50, 52, 130  # enum bpf_func_id of linux/bpf.h
_DROP, _PASS = 0, 1  # enum sk_action
_LENGTH, _SEQUENCE = 0, 48  # of struct __sk_buff: len, and cb[0], where TCP has the sequence number (struct tcp_skb_cb)

AT_ONCE = 0xFFF
"""Bytes that the helper cuts off in one call, at most."""

CUTS = 129
"""Calls of it, at most: for 512 KiB, the largest segment that Linux makes."""


def instructions(slots: int, rows: int, sockets: int, ring: int) -> Iterator[Instruction]:
    """The program.

    @param slots: descriptor of the map from a socket's cookie to its slot. @param rows: of the counters by slot.
    @param sockets: of the sockets by slot; two sockets of a tunnel have an even slot and the odd one after it.
    @param ring: in which slots are named.
    """
    yield move(R6, R1)  # keep the segment: calls take R1
    yield load(WORD, R9, R6, _LENGTH)  # its bytes
    yield jump_if_constant(R9, 0, "drop")  # a bare FIN
    yield call(_COOKIE)  # whose is it? R1 is the segment still; a cookie is a socket's number for life
    yield store(DOUBLE, FRAME, -8, R0)  # keys of maps are in memory
    yield from load_map(R1, slots)
    yield move(R2, FRAME)
    yield add_constant(R2, -8)
    yield call(_LOOKUP)
    yield jump_if_constant(R0, 0, "pass")  # no tunnel's any more
    yield load(WORD, R7, R0, 0)  # the slot
    yield store(WORD, FRAME, -16, R7)
    yield from load_map(R1, rows)
    yield move(R2, FRAME)
    yield add_constant(R2, -16)
    yield call(_LOOKUP)
    yield jump_if_constant(R0, 0, "pass")  # cannot be; the verifier wants it asked
    yield move(R8, R0)  # the counters
    yield from _once()
    yield named("once", load(DOUBLE, R1, R8, 8 * PASSED))
    yield load(DOUBLE, R2, R8, 8 * FORWARDED)
    yield jump_unless(R1, R2, "count")  # something is on its way through our process: behind it
    yield load(DOUBLE, R1, R8, 8 * SPENT)
    yield add(R1, R9)
    yield add_constant(R1, COST)
    yield load(DOUBLE, R2, R8, 8 * LIMIT)
    yield jump_if_more(R1, R2, "count")  # the window has no room for it
    yield store(DOUBLE, FRAME, -8, R1)  # what will have been spent
    yield move(R1, R6)
    yield from load_map(R2, sockets)
    yield move(R3, R7)
    yield xor_constant(R3, 1)  # the other one's slot
    yield move_constant(R4, 0)  # into its send side
    yield call(_REDIRECT)
    yield jump_unless_constant(R0, _PASS, "count")  # there is no other one
    yield load(DOUBLE, R1, FRAME, -8)
    yield store(DOUBLE, R8, 8 * SPENT, R1)
    yield load(DOUBLE, R1, R8, 8 * REDIRECTED)
    yield add(R1, R9)
    yield store(DOUBLE, R8, 8 * REDIRECTED, R1)
    yield move_constant(R0, _PASS)
    yield leave()
    yield named("count", fetch_and_add(R8, 8 * PASSED, R9))  # a barrier: what is loaded next is not older
    yield load(DOUBLE, R1, R8, 8 * RUNG)
    yield load(DOUBLE, R2, R8, 8 * HEARD)
    yield jump_unless(R1, R2, "pass")  # our process has been told, and has not rested since
    yield add_constant(R1, 1)
    yield store(DOUBLE, R8, 8 * RUNG, R1)  # before it is in the ring: who has read that finds it written
    yield from load_map(R1, ring)
    yield move(R2, FRAME)
    yield add_constant(R2, -16)  # the slot
    yield move_constant(R3, 4)  # bytes
    yield move_constant(R4, 0)  # wake who waits for the ring, unless it has more to read already
    yield call(_OUTPUT)
    yield named("pass", move_constant(R0, _PASS))
    yield leave()
    yield named("drop", move_constant(R0, _DROP))
    yield leave()


def _once() -> Iterator[Instruction]:
    """Cut off what has been there before, and go on at C{once}. R6: the segment. R8: its counters. R9: its bytes; then:
    without these.

    When the kernel has no memory for it, the bytes are counted as passed and dropped: our process waits for them, and
    ends the tunnel when its time is up; nobody gets wrong ones.
    """
    yield move_constant(R0, 0)
    yield store(DOUBLE, FRAME, -24, R0)  # bytes to cut off
    yield load(WORD, R1, R6, _SEQUENCE)
    yield load(WORD, R2, R8, 8 * NEXT)
    yield load(WORD, R3, R8, 8 * NEXT + 4)
    yield jump_if_constant(R3, 0, "new")  # the first one
    yield subtract_words(R2, R1)  # how many of its bytes have been there
    yield jump_if_constant(R2, 0, "new")  # none, as mostly
    yield jump_if_more_than(R2, 0x7FFFFFFF, "new")  # it is further on: our process has read what lies between
    yield jump_if_more(R9, R2, "in part")
    yield move_constant(R0, _DROP)  # all of them
    yield leave()
    yield named("in part", store(DOUBLE, FRAME, -24, R2))
    yield add_words(R1, R2)
    yield subtract(R9, R2)
    yield named("new", add_words(R1, R9))
    yield store(WORD, R8, 8 * NEXT, R1)
    yield move_constant(R1, 1)
    yield store(WORD, R8, 8 * NEXT + 4, R1)
    for _ in range(CUTS):
        yield load(DOUBLE, R1, FRAME, -24)
        yield jump_unless_more_than(R1, AT_ONCE, "rest")
        yield add_constant(R1, -AT_ONCE)
        yield store(DOUBLE, FRAME, -24, R1)
        yield move_constant(R2, -AT_ONCE)
        yield from _adjusted()
        yield jump_unless_constant(R0, 0, "broken")
    yield jump_if_constant(R0, 0, "broken")  # it is: this is more than any segment has
    yield named("rest", load(DOUBLE, R1, FRAME, -24))
    yield jump_if_constant(R1, 0, "once")
    yield move_constant(R2, 0)
    yield subtract(R2, R1)
    yield from _adjusted()
    yield jump_if_constant(R0, 0, "once")
    yield named("broken", fetch_and_add(R8, 8 * PASSED, R9))
    yield move_constant(R0, _DROP)
    yield leave()


def _adjusted() -> Iterator[Instruction]:
    """The segment gets R2 bytes more at its head; fewer, when it is negative. R0: 0, or an error."""
    yield move(R1, R6)
    yield move_constant(R3, 0)  # mode
    yield move_constant(R4, 0)  # flags
    yield call(_ADJUST)
