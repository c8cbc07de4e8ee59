"""The program, run by an interpreter in the test: its decisions and counters."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.kernel.assembly import assemble
from sniproxy.relay.kernel.program import (
    ACKNOWLEDGED,
    FORWARDED,
    LIMIT,
    MAX_CUT_BYTES,
    NEXT,
    NOTIFIED,
    PASSED,
    REDIRECTED,
    SEGMENT_COST_BYTES,
    SPENT,
    instructions,
)

SLOTS, ROWS, SOCKETS, RING = 11, 12, 13, 14
COOKIE, SLOT = 77, 6
_MASK = 2**64 - 1


class Machine:
    """Runs the program's bytes for a segment of the socket with the cookie.

    @ivar redirected_to: a slot, or none. @ivar rings: how often it has rung.
    @ivar cut: bytes cut off the segment's head. @ivar memory: there is some for that.
    @ivar sequence: of the next segment, unless it is given.
    """

    def __init__(self, row: Mapping[int, int], slots: Mapping[int, int], sockets: set[int]) -> None:
        self.row = [row.get(column, 0) for column in range(8)]
        self.cut = 0
        self.memory = True
        self.rings = 0
        self.sequence = 0xFFFFFFF0  # it is about to begin again at 0
        self.redirected_to: int | None = None
        self._slots, self._sockets = slots, sockets

    def run(self, length: int, sequence: int | None = None) -> int:
        at = self.sequence if sequence is None else sequence
        self.sequence = at + length & 0xFFFFFFFF
        self.cut = 0
        return self._run(length, at)

    def _run(self, length: int, sequence: int) -> int:
        code = assemble(instructions(SLOTS, ROWS, SOCKETS, RING))
        registers: list[object] = [0] * 10 + ["stack"]
        registers[1] = "segment"
        stack: dict[int, int] = {}
        at = 0
        while True:
            opcode, both, offset, constant = struct.unpack_from("<BBhi", code, at * 8)
            to, of = both & 15, both >> 4
            value, other = registers[to], registers[of]
            at += 1
            if opcode == 0x95:
                answer = registers[0]
                assert isinstance(answer, int)
                return answer
            if opcode == 0xBF:
                registers[to] = other
            elif opcode == 0xB7:
                registers[to] = constant
            elif opcode in (0x0F, 0x1F, 0x07, 0xA7) and isinstance(value, int):
                more = other if opcode in (0x0F, 0x1F) else constant
                assert isinstance(more, int)
                registers[to] = {0xA7: value ^ more, 0x1F: value - more}.get(opcode, value + more) & _MASK
            elif opcode in (0x0C, 0x1C):
                assert isinstance(value, int)
                assert isinstance(other, int)
                registers[to] = (value + other if opcode == 0x0C else value - other) & 0xFFFFFFFF
            elif opcode == 0x07:
                registers[to] = (value, constant)
            elif opcode == 0x18:
                registers[to] = ("map", constant)
                at += 1
            elif opcode in (0x61, 0x79):
                assert other != "segment" or (opcode, offset) in ((0x61, 0), (0x61, 48))
                asked = sequence if offset else length - self.cut
                found: dict[object, object] = {"segment": asked, "slot": SLOT, "stack": stack.get(offset)}
                registers[to] = self._column(opcode, offset) if other == "row" else found[other]
            elif opcode in (0x63, 0x7B):
                assert isinstance(other, int)
                if value == "row" and opcode == 0x63:
                    kept, shift = self.row[offset // 8], 8 * (offset % 8)
                    self.row[offset // 8] = kept & ~(0xFFFFFFFF << shift) | other << shift
                elif value == "row":
                    self.row[offset // 8] = other
                else:
                    stack[offset] = other
            elif opcode == 0xDB:
                assert (value, constant) == ("row", 1)
                assert isinstance(other, int)
                registers[of] = self.row[offset // 8]
                self.row[offset // 8] += other
            elif opcode == 0x85:
                registers[0] = self._call(constant, registers, stack)
                registers[1:6] = [None] * 5
            elif opcode in (0x15, 0x55, 0x5D, 0x2D, 0x25, 0xB5):
                right = other if opcode in (0x5D, 0x2D) else constant
                jump = {0x15: value == right, 0x55: value != right, 0x5D: value != right}.get(opcode)
                if jump is None:
                    assert isinstance(value, int)
                    assert isinstance(right, int)
                    jump = value <= right if opcode == 0xB5 else value > right
                at += offset if jump else 0
            else:
                raise AssertionError(hex(opcode))

    def _column(self, opcode: int, offset: int) -> int:
        whole = self.row[offset // 8]
        return whole >> 8 * (offset % 8) & 0xFFFFFFFF if opcode == 0x61 else whole

    def _call(self, helper: int, registers: list[object], stack: dict[int, int]) -> object:
        if helper == 46:
            assert registers[1] == "segment"
            return COOKIE
        if helper == 50:
            assert (registers[1], registers[3], registers[4]) == ("segment", 0, 0)
            less = registers[2]
            assert isinstance(less, int)
            less = -less & _MASK
            assert 0 < less <= MAX_CUT_BYTES
            self.cut += less
            return 0 if self.memory else -12 & _MASK
        if helper == 52:
            assert registers[1:3] == ["segment", ("map", SOCKETS)]
            assert registers[4] == 0
            slot = registers[3]
            assert isinstance(slot, int)
            if slot not in self._sockets:
                return 0
            self.redirected_to = slot
            return 1
        if helper == 130:
            assert registers[1] == ("map", RING)
            assert registers[3:5] == [4, 0]
            record = registers[2]
            assert isinstance(record, tuple)
            assert stack[record[1]] == SLOT
            self.rings += 1
            return 0
        assert helper == 1
        place = registers[2]
        assert isinstance(place, tuple)
        key = stack[place[1]]
        if registers[1] == ("map", SLOTS):
            return "slot" if key in self._slots else 0
        assert registers[1] == ("map", ROWS)
        assert key == SLOT
        return "row"


def machine(**row: int) -> Machine:
    columns = {"redirected": REDIRECTED, "passed": PASSED, "spent": SPENT, "limit": LIMIT, "forwarded": FORWARDED}
    return Machine({columns[name]: value for name, value in row.items()}, {COOKIE: SLOT}, {SLOT, SLOT + 1})


class ProgramTests(SynchronousTestCase):
    """The decision about one segment."""

    def test_redirected(self) -> None:
        """In an open window a segment is redirected, and counted with its cost."""
        run = machine(limit=20_000, redirected=5)
        self.assertEqual(1, run.run(100))
        self.assertEqual(SLOT + 1, run.redirected_to)
        self.assertEqual(([105, 0, 100 + SEGMENT_COST_BYTES, 20_000, 0, 0, 0], 0), (run.row[:7], run.rings))

    def test_the_window_is_used_up(self) -> None:
        """A segment that just fits into the window is redirected; with one byte more it is passed."""
        for length, to in ((100, SLOT + 1), (101, None)):
            run = machine(limit=SEGMENT_COST_BYTES + 100)
            run.run(length)
            self.assertEqual(to, run.redirected_to)
        self.assertEqual([0, 101, 0, SEGMENT_COST_BYTES + 100, 0, 1, 0], run.row[:7])

    def test_something_is_passed(self) -> None:
        """While the process has bytes to send on, segments are passed."""
        run = machine(limit=10_000, passed=7, forwarded=6)
        self.assertEqual(1, run.run(100))
        self.assertIsNone(run.redirected_to)
        self.assertEqual(107, run.row[PASSED])

    def test_rings_once(self) -> None:
        """A passed segment notifies, and again only after an acknowledgement."""
        run = machine()
        for _ in range(3):
            run.run(100)
        self.assertEqual((1, 1), (run.rings, run.row[NOTIFIED]))
        run.row[ACKNOWLEDGED] = run.row[NOTIFIED]
        for _ in range(3):
            run.run(100)
        self.assertEqual(([0, 600, 0, 0, 0, 2, 1], 2), (run.row[:7], run.rings))

    def test_no_other_end(self) -> None:
        """Without the other socket a segment is passed, not dropped."""
        run = Machine({LIMIT: 10_000}, {COOKIE: SLOT}, {SLOT})
        self.assertEqual(1, run.run(100))
        self.assertEqual(([0, 100, 0, 10_000, 0, 1, 0], 1), (run.row[:7], run.rings))

    def test_no_tunnel(self) -> None:
        """A segment of an ended tunnel is passed, and not counted."""
        run = Machine({LIMIT: 10_000}, {}, {SLOT, SLOT + 1})
        self.assertEqual(1, run.run(100))
        self.assertEqual(([0, 0, 0, 10_000, 0, 0, 0], None), (run.row[:7], run.redirected_to))

    def test_bare_end(self) -> None:
        """A segment without bytes is dropped, and not counted."""
        run = machine(limit=10_000)
        self.assertEqual(0, run.run(0))
        self.assertEqual(([0, 0, 0, 10_000, 0, 0, 0], None), (run.row[:7], run.redirected_to))

    def test_sent_again(self) -> None:
        """Bytes that were seen before are cut off, whether the rest is redirected or passed."""
        for column, limit in ((REDIRECTED, 1 << 30), (PASSED, 0)):
            for before in (1, MAX_CUT_BYTES - 1, MAX_CUT_BYTES, MAX_CUT_BYTES + 1, 65_483, 1 << 19):
                run = machine(limit=limit)
                run.run(1 << 19, 7)
                end = 7 + (1 << 19)
                self.assertEqual(1, run.run(before + 10, end - before))
                self.assertEqual((before, (1 << 19) + 10), (run.cut, run.row[column]))
                self.assertEqual(1 << 32 | end + 10, run.row[NEXT])

    def test_nothing_new(self) -> None:
        """A segment without new bytes is dropped."""
        run = machine(limit=1 << 20)
        run.run(100, 0)
        row = list(run.row)
        for length, sequence in ((100, 0), (40, 60), (1, 99)):
            self.assertEqual(0, run.run(length, sequence))
        self.assertEqual((row, 0), (run.row, run.cut))

    def test_further_on(self) -> None:
        """A gap, of bytes that the process has read, is accepted."""
        run = machine(limit=1 << 20)
        run.run(100, 0)
        self.assertEqual(1, run.run(50, 300))
        self.assertEqual((150, 0, 1 << 32 | 350), (run.row[REDIRECTED], run.cut, run.row[NEXT]))

    def test_no_memory(self) -> None:
        """A segment that cannot be cut, or is too large, is dropped and counted as passed."""
        for memory, before in ((False, 5), (False, 5000), (True, MAX_CUT_BYTES * 130)):
            run = machine(limit=1 << 30)
            run.run(1 << 20, 0)
            run.redirected_to, run.memory = None, memory
            self.assertEqual(0, run.run(before + 10, (1 << 20) - before))
            self.assertEqual((None, 10), (run.redirected_to, run.row[PASSED]))

    @given(st.lists(st.tuples(st.integers(1, 100_000), st.integers(0, 100_000)), min_size=1), st.integers(0, 2**32 - 1))
    def test_any_sequence(self, segments: list[tuple[int, int]], first: int) -> None:
        """Each byte counts once, however often it is retransmitted."""
        run = machine(limit=1 << 40)
        end = 0
        for length, again in segments:
            start = max(end - again, 0)
            run.run(length, first + start & 0xFFFFFFFF)
            end = max(end, start + length)
        self.assertEqual((end, 0), (run.row[REDIRECTED], run.row[PASSED]))

    @given(st.lists(st.integers(1, 100_000)), st.integers(0, 1 << 20))
    def test_any_segments(self, lengths: list[int], limit: int) -> None:
        """Every byte is redirected or passed, no byte is redirected after a passed one, and the limit holds."""
        run = machine(limit=limit)
        passing = False
        for length in lengths:
            run.redirected_to = None
            run.run(length)
            passing = passing or run.redirected_to is None
            self.assertEqual(passing, run.redirected_to is None)
        self.assertEqual(sum(lengths), run.row[REDIRECTED] + run.row[PASSED])
        self.assertLessEqual(run.row[SPENT], limit)
