"""The assembler, compared with encodings of RFC 9669."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.kernel.assembly import (
    DOUBLE,
    FRAME,
    R0,
    R1,
    R2,
    WORD,
    add,
    add_constant,
    add_words,
    assemble,
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


class AssembleTests(SynchronousTestCase):
    """assemble."""

    def test_instructions(self) -> None:
        """Opcode, registers, offset and constant are encoded at their places."""
        for instruction, code in (
            (move(R1, R2), "bf21000000000000"),
            (move_constant(R0, 1), "b700000001000000"),
            (add(R1, R2), "0f21000000000000"),
            (add_constant(R2, -8), "07020000f8ffffff"),
            (subtract(R1, R2), "1f21000000000000"),
            (add_words(R1, R2), "0c21000000000000"),
            (subtract_words(R1, R2), "1c21000000000000"),
            (xor_constant(R1, 1), "a701000001000000"),
            (load(WORD, R0, R1, 4), "6110040000000000"),
            (load(DOUBLE, R0, R1, 8), "7910080000000000"),
            (store(WORD, FRAME, -16, R1), "631af0ff00000000"),
            (store(DOUBLE, FRAME, -8, R0), "7b0af8ff00000000"),
            (fetch_and_add(R1, 8, R0), "db01080001000000"),
            (call(46), "850000002e000000"),
            (exit_program(), "9500000000000000"),
        ):
            self.assertEqual(code, assemble([instruction]).hex())
        self.assertEqual("18110000070000000000000000000000", assemble(load_map(R1, 7)).hex())

    def test_jumps(self) -> None:
        """A jump's offset counts from the next instruction, forwards and backwards."""
        code = assemble(
            [
                labelled("top", jump_if_constant(R0, 0, "end")),
                jump_unless_constant(R0, 1, "end"),
                jump_unless(R1, R2, "top"),
                jump_if_greater(R1, R2, "end"),
                jump_if_greater_constant(R1, 5, "end"),
                jump_unless_greater_constant(R1, 5, "end"),
                labelled("end", exit_program()),
            ]
        )
        expected = "150005000000000055000400010000005d21fdff000000002d21020000000000"
        expected += "2501010005000000b5010000050000009500000000000000"
        self.assertEqual(expected, code.hex())

    def test_unknown_place(self) -> None:
        """A jump to an unknown label is an error."""
        self.assertRaises(KeyError, assemble, [jump_unless(R1, R2, "nowhere")])
