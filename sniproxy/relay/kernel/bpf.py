"""The system call C{bpf(2)}, by ctypes: maps, a program, and what is in the maps. Linux only."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

MACHINE = "x86_64"
"""The only one on which the program is used. We read in memory what the kernel writes, without a barrier: Python has
none. Elsewhere reads may come in another order than they are written down (see L{sniproxy.relay.kernel.ring})."""

_NUMBER = 321
"""The call's, on that machine; there is no function for it in libc."""

_CREATE, _LOOKUP, _UPDATE, _DELETE, _LOAD, _ATTACH = 0, 1, 2, 3, 5, 8  # enum bpf_cmd of linux/bpf.h
HASH, ARRAY, SOCKETS, RING = 1, 2, 15, 27  # enum bpf_map_type
_SK_SKB = 14  # enum bpf_prog_type: a program on the segments of sockets in a map
_VERDICT = 38  # enum bpf_attach_type: BPF_SK_SKB_VERDICT
GROWING, MAPPED = 1 << 0, 1 << 10  # BPF_F_NO_PREALLOC, BPF_F_MMAPABLE
_ATTRIBUTE = 120
_LOG = 1 << 20  # bytes for what the verifier says: it does not take a program of which it cannot say all


def _call(command: int, attribute: bytes) -> int:
    """@raise OSError: the kernel's."""
    if platform.machine() != MACHINE or platform.system() != "Linux":
        raise OSError(f"bpf(2) is not supported on {platform.system()} {platform.machine()}")
    block = ctypes.create_string_buffer(attribute, _ATTRIBUTE)
    result: int = _libc().syscall(_NUMBER, command, block, _ATTRIBUTE)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def create_map(kind: int, key: int, value: int, entries: int, flags: int = 0) -> int:
    """@param key: bytes. @param value: bytes. @return: a descriptor. @raise OSError: the kernel's."""
    return _call(_CREATE, struct.pack("<IIIII", kind, key, value, entries, flags))


def update(descriptor: int, key: bytes, value: bytes) -> None:
    """Put an entry into a map. @raise OSError: the kernel's."""
    place, content = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    addresses = ctypes.addressof(place), ctypes.addressof(content)
    _call(_UPDATE, struct.pack("<IIQQQ", descriptor, 0, *addresses, 0))


def delete(descriptor: int, key: bytes) -> None:
    """Take an entry out of a map. @raise OSError: the kernel's; it is not there."""
    place = ctypes.create_string_buffer(key, len(key))
    _call(_DELETE, struct.pack("<IIQ", descriptor, 0, ctypes.addressof(place)))


def load_program(code: bytes) -> int:
    """Load a program for the segments of sockets.

    @return: a descriptor.
    @raise OSError: the kernel's. When its verifier does not take the program, with the last line that it says.
    """
    program, terms, said = (
        ctypes.create_string_buffer(code, len(code)),
        ctypes.create_string_buffer(b"Apache-2.0"),  # this project's
        ctypes.create_string_buffer(_LOG),
    )
    attribute = struct.pack(
        "<IIQQIIQ",
        _SK_SKB,
        len(code) // 8,
        ctypes.addressof(program),
        ctypes.addressof(terms),
        1,
        _LOG,
        ctypes.addressof(said),
    )
    try:
        return _call(_LOAD, attribute)
    except OSError as error:
        lines = [line for line in said.value.decode("ascii", "replace").splitlines() if line.strip()]
        why = f"{error.strerror}: {lines[-2:]}" if lines else error.strerror
        raise OSError(error.errno, why) from error


def attach(sockets: int, program: int) -> None:
    """Let a program run for each segment of the sockets in a map. @raise OSError: the kernel's."""
    _call(_ATTACH, struct.pack("<IIII", sockets, program, _VERDICT, 0))
