"""A small assembler for BPF: turns instructions into the bytes that C{bpf(2)} loads. Pure.

An instruction has 8 bytes: opcode, destination and source register, offset of a jump or of memory, and constant
(RFC 9669, section 3). It has only the instructions that the relay's program uses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import attrs

R0, R1, R2, R3, R4 = range(5)
"""R0 has the result of a helper or of the program. R1 to R5 have a helper's arguments; a call overwrites them."""

R6, R7, R8, R9, FRAME = range(6, 11)
"""Calls preserve R6 to R9. The frame pointer is the upper end of 512 bytes of stack."""

WORD, DOUBLE = 0x00, 0x18
"""Sizes of memory accesses: 4 and 8 bytes."""

_MAP_BY_DESCRIPTOR = 1
_ADD_AND_FETCH = 0x00 | 0x01


@attrs.frozen
class Instruction:
    """@ivar jump_to: the label that a jump goes to; else None. @ivar label: of this instruction; None: it has none."""

    opcode: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    constant: int = 0
    jump_to: str | None = None
    label: str | None = None


def move(destination: int, source: int) -> Instruction:
    """destination = source"""
    return Instruction(0xBF, destination, source)


def move_constant(destination: int, constant: int) -> Instruction:
    """destination = constant"""
    return Instruction(0xB7, destination, constant=constant)


def add(destination: int, source: int) -> Instruction:
    """destination += source"""
    return Instruction(0x0F, destination, source)


def add_constant(destination: int, constant: int) -> Instruction:
    """destination += constant"""
    return Instruction(0x07, destination, constant=constant)


def xor_constant(destination: int, constant: int) -> Instruction:
    """destination ^= constant"""
    return Instruction(0xA7, destination, constant=constant)


def subtract(destination: int, source: int) -> Instruction:
    """destination -= source"""
    return Instruction(0x1F, destination, source)


def add_words(destination: int, source: int) -> Instruction:
    """destination += source, 32 bits. The upper 32 bits of the result are 0."""
    return Instruction(0x0C, destination, source)


def subtract_words(destination: int, source: int) -> Instruction:
    """destination -= source, 32 bits. The upper 32 bits of the result are 0."""
    return Instruction(0x1C, destination, source)


def load(size: int, destination: int, base: int, offset: int) -> Instruction:
    """destination = memory[base + offset]"""
    return Instruction(0x61 | size, destination, base, offset)


def store(size: int, base: int, offset: int, source: int) -> Instruction:
    """memory[base + offset] = source"""
    return Instruction(0x63 | size, base, source, offset)


def fetch_and_add(base: int, offset: int, register: int) -> Instruction:
    """memory[base + offset] += register, 64 bits; register = the value before. A full memory barrier."""
    return Instruction(0xDB, base, register, offset, _ADD_AND_FETCH)


def load_map(destination: int, descriptor: int) -> tuple[Instruction, Instruction]:
    """destination = the map of this descriptor. One instruction of double length."""
    return Instruction(0x18, destination, _MAP_BY_DESCRIPTOR, constant=descriptor), Instruction(0)


def call(helper: int) -> Instruction:
    """R0 = helper(R1, R2, ...)"""
    return Instruction(0x85, constant=helper)


def exit_program() -> Instruction:
    """End the program. R0 is its result."""
    return Instruction(0x95)


def jump_if_constant(left: int, constant: int, label: str) -> Instruction:
    """if left == constant: goto label"""
    return Instruction(0x15, left, constant=constant, jump_to=label)


def jump_unless_constant(left: int, constant: int, label: str) -> Instruction:
    """if left != constant: goto label"""
    return Instruction(0x55, left, constant=constant, jump_to=label)


def jump_unless(left: int, right: int, label: str) -> Instruction:
    """if left != right: goto label"""
    return Instruction(0x5D, left, right, jump_to=label)


def jump_if_greater(left: int, right: int, label: str) -> Instruction:
    """if left > right, unsigned: goto label"""
    return Instruction(0x2D, left, right, jump_to=label)


def jump_if_greater_constant(left: int, constant: int, label: str) -> Instruction:
    """if left > constant, unsigned: goto label"""
    return Instruction(0x25, left, constant=constant, jump_to=label)


def jump_unless_greater_constant(left: int, constant: int, label: str) -> Instruction:
    """if left <= constant, unsigned: goto label"""
    return Instruction(0xB5, left, constant=constant, jump_to=label)


def labelled(label: str, instruction: Instruction) -> Instruction:
    """The same instruction with a label, so that a jump can go to it."""
    return attrs.evolve(instruction, label=label)


def assemble(instructions: Iterable[Instruction]) -> bytes:
    """The program's bytes. @raise KeyError: a jump goes to a label that does not exist."""
    code = list(instructions)
    places: Mapping[str, int] = {each.label: number for number, each in enumerate(code) if each.label is not None}
    pieces = []
    for number, each in enumerate(code):
        offset = each.offset if each.jump_to is None else places[each.jump_to] - number - 1
        pieces.append(struct.pack("<BBhi", each.opcode, each.source << 4 | each.destination, offset, each.constant))
    return b"".join(pieces)
