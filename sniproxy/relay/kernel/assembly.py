"""A tiny assembler for BPF: instructions in, the bytes that C{bpf(2)} loads out. Pure.

An instruction has 8 bytes: opcode, destination and source register, a jump's or memory's offset, and a constant
(RFC 9669, section 3). Only what the relay's program uses is here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import attrs

R0, R1, R2, R3, R4 = range(5)
"""R0 is what a helper or the program gives back; R1 to R5 are a helper's arguments, and lost after its call."""

R6, R7, R8, R9, FRAME = range(6, 11)
"""R6 to R9 live through calls; the frame pointer is the upper end of 512 bytes of stack."""

WORD, DOUBLE = 0x00, 0x18
"""Sizes in memory: 4 and 8 bytes."""

_MAP_BY_DESCRIPTOR = 1
_ADD_AND_FETCH = 0x00 | 0x01


@attrs.frozen
class Instruction:
    """@ivar label: where a jump leads to. None: it is none. @ivar name: of this place. None: nobody jumps here."""

    opcode: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    constant: int = 0
    label: str | None = None
    name: str | None = None


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
    """destination += source, of their lower 4 bytes; the upper ones are 0 then."""
    return Instruction(0x0C, destination, source)


def subtract_words(destination: int, source: int) -> Instruction:
    """destination -= source, of their lower 4 bytes; the upper ones are 0 then."""
    return Instruction(0x1C, destination, source)


def load(size: int, destination: int, base: int, offset: int) -> Instruction:
    """destination = memory[base + offset]"""
    return Instruction(0x61 | size, destination, base, offset)


def store(size: int, base: int, offset: int, source: int) -> Instruction:
    """memory[base + offset] = source"""
    return Instruction(0x63 | size, base, source, offset)


def fetch_and_add(base: int, offset: int, register: int) -> Instruction:
    """memory[base + offset] += register, of 8 bytes; register = what was there before. It is a full memory barrier."""
    return Instruction(0xDB, base, register, offset, _ADD_AND_FETCH)


def load_map(destination: int, descriptor: int) -> tuple[Instruction, Instruction]:
    """destination = the map of this descriptor: one instruction of the double length."""
    return Instruction(0x18, destination, _MAP_BY_DESCRIPTOR, constant=descriptor), Instruction(0)


def call(helper: int) -> Instruction:
    """R0 = helper(R1, R2, ...)"""
    return Instruction(0x85, constant=helper)


def leave() -> Instruction:
    """The program's end; R0 is its answer."""
    return Instruction(0x95)


def jump_if_constant(left: int, constant: int, label: str) -> Instruction:
    """if left == constant: goto label"""
    return Instruction(0x15, left, constant=constant, label=label)


def jump_unless_constant(left: int, constant: int, label: str) -> Instruction:
    """if left != constant: goto label"""
    return Instruction(0x55, left, constant=constant, label=label)


def jump_unless(left: int, right: int, label: str) -> Instruction:
    """if left != right: goto label"""
    return Instruction(0x5D, left, right, label=label)


def jump_if_more(left: int, right: int, label: str) -> Instruction:
    """if left > right, unsigned: goto label"""
    return Instruction(0x2D, left, right, label=label)


def jump_if_more_than(left: int, constant: int, label: str) -> Instruction:
    """if left > constant, unsigned: goto label"""
    return Instruction(0x25, left, constant=constant, label=label)


def jump_unless_more_than(left: int, constant: int, label: str) -> Instruction:
    """if left <= constant, unsigned: goto label"""
    return Instruction(0xB5, left, constant=constant, label=label)


def named(name: str, instruction: Instruction) -> Instruction:
    """The same instruction, as a place to jump to."""
    return attrs.evolve(instruction, name=name)


def assemble(instructions: Iterable[Instruction]) -> bytes:
    """The program's bytes. @raise KeyError: a jump leads to a name that is not there."""
    code = list(instructions)
    places: Mapping[str, int] = {each.name: number for number, each in enumerate(code) if each.name is not None}
    pieces = []
    for number, each in enumerate(code):
        offset = each.offset if each.label is None else places[each.label] - number - 1
        pieces.append(struct.pack("<BBhi", each.opcode, each.source << 4 | each.destination, offset, each.constant))
    return b"".join(pieces)
